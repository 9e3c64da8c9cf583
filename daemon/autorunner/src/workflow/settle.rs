//! Setting right what a loop leaves in the repository when it ends otherwise than between two iterations.

use std::fs;
use std::io;
use std::path::Path;

use engine::{Failure, FailureKind};
use jiff::Timestamp;

use super::keeping;
use super::record::Record;
use super::scribe::report_cleaning;
use crate::lock::{self, Assessment};
use crate::log;
use crate::repo::Layout;
use crate::state::{self, State, Status};

/// The exit code for an iteration that was stopped, as a shell has it for SIGINT.
const STOPPED: i32 = 130;

/// How a loop ended, as far as it matters to what it left open.
#[derive(Debug, Clone)]
pub(super) struct Ending {
    code: i32,
    note: String,
}

impl Ending {
    /// After a result of the run.
    pub(super) fn of(result: Result<(), &Failure>) -> Self {
        let (code, note) = match result {
            Ok(()) => (state::LOST, "the loop ended without this iteration".to_owned()),
            Err(failure) => match failure.kind {
                FailureKind::Killed => (state::KILLED, format!("killed: {}", failure.message)),
                FailureKind::Canceled => (STOPPED, format!("stopped: {}", failure.message)),
                _ => (state::LOST, format!("the loop ended: {failure}")),
            },
        };
        Self { code, note }
    }
}

/// Closes what is open: the block of the log, the state, what Codex left, and (once nothing of the loop lives) its
/// lock. Does nothing to files that belong to another loop by now, and nothing twice. Blocks.
pub(super) fn put_right(
    layout: &Layout,
    directory: &Path,
    ending: &Ending,
    now: Timestamp,
) -> io::Result<()> {
    let keepers = keeping::pids(directory);
    let mine = match lock::remove_stale(&layout.lock()) {
        Ok(Assessment::Held { holder, .. }) => holder.is_some_and(|holder| keepers.contains(&holder.pid)),
        Ok(Assessment::Free | Assessment::Stale { .. }) => true,
        Err(error) => {
            tracing::warn!(%error, "could not look at the lock of a loop that has ended");
            true
        }
    };
    let record = Record::load(directory)?;
    if let Some(open) = record.as_ref().filter(|record| record.end.is_none()) {
        report_cleaning(&open.snapshot);
        let closed = log::recover(layout, open.run_id, open.log_offset, ending.code, &ending.note, now);
        closed.map_err(io::Error::other)?;
    }
    if mine {
        tell_state(layout, record.as_ref(), ending, now).map_err(io::Error::other)?;
    }
    Ok(())
}

/// Makes `state.json` say how the last iteration ended, and that nobody runs the next one.
fn tell_state(
    layout: &Layout,
    record: Option<&Record>,
    ending: &Ending,
    now: Timestamp,
) -> Result<(), state::StateError> {
    if !layout.dir().is_dir() {
        return Ok(());
    }
    let before = State::load(&layout.state())?;
    let mut state = before.clone();
    if state.status == Status::Running {
        let of_mine = record.filter(|record| state.last_run_id == Some(record.run_id));
        let end = of_mine.and_then(|record| record.end.as_ref());
        state.finish(end.map_or(ending.code, |end| end.exit_code), now);
    }
    state.runner_pid = None;
    if state != before {
        state.store(&layout.state())?;
    }
    Ok(())
}

/// Forgets what the keepers have said: a wish to stop has been fulfilled when the loop has ended, and must not
/// stop it again when it is resumed.
pub(super) fn empty_mailboxes(directory: &Path) {
    for mailbox in keeping::mailboxes(directory) {
        for path in [mailbox.status_path(), mailbox.stop_path()] {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(path = %path.display(), %error, "could not empty the mailbox of a keeper");
                }
                _ => {}
            }
        }
    }
}
