//! What can go wrong, in words for people and reasons for programs.

use std::io;
use std::path::PathBuf;

use spindle_client::client::TooLarge;
use spindle_client::reconnect::is_cut;
use spindle_client::{ConnectError, PathsError};
use thiserror::Error;
use tonic::{Code, Status};
use tonic_types::{ErrorInfo, StatusExt as _};

use crate::exit::Exit;
use crate::show::text::clean;

/// Whatever ends a command without success.
#[derive(Debug, Error)]
pub(crate) enum CtlError {
    /// Where the daemon is cannot be determined.
    #[error(transparent)]
    Paths(#[from] PathsError),
    /// There is no connection to it.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// It refused, or went away.
    #[error("cannot {what}: {}", words(.status))]
    Call {
        /// What was asked, as it follows "cannot".
        what: String,
        /// The answer.
        status: Box<Status>,
    },
    /// The request does not fit the wire.
    #[error("cannot {what}: {source}")]
    TooLarge {
        /// What was asked, as it follows "cannot".
        what: &'static str,
        /// How large it is.
        source: TooLarge,
    },
    /// Arguments that clap lets pass and that make no sense.
    #[error("{message}")]
    Usage {
        /// What is wrong with which argument.
        message: String,
        /// What to write instead.
        hint: &'static str,
    },
    /// Something was looked at and is not there.
    #[error("{message}")]
    Missing {
        /// What is missing.
        message: String,
        /// How to get it.
        hint: &'static str,
    },
    /// A file of the user's.
    #[error("cannot {what} {path:?}: {source}")]
    File {
        /// Such as "read".
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another program of Spindle's.
    #[error("cannot run {program:?}: {source}")]
    Program {
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The daemon was asked to end and has not.
    #[error("the daemon (process {pid}) was told to stop and still runs after {seconds} s")]
    WillNotStop {
        /// Its process.
        pid: i32,
        /// How long it was waited for.
        seconds: u64,
    },
    /// Standard output.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
    /// The daemon was away for longer than we wait; the run is in its store.
    #[error("the daemon went away while run {run} was waited for, and did not come back")]
    Lost {
        /// The run.
        run: String,
    },
    /// Ctrl-C while waiting; the run goes on.
    #[error("no longer waiting; the run goes on")]
    Detached {
        /// The run.
        run: String,
    },
}

/// Turns the answer to a call into an error that says what was asked, in words
/// that follow "cannot". What was asked may repeat what was typed, whatever that was.
pub(crate) fn calling(what: impl Into<String>) -> impl FnOnce(Status) -> CtlError {
    move |status| CtlError::Call { what: clean(&what.into()), status: Box::new(status) }
}

impl CtlError {
    /// The code with which the program ends.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Connect(ConnectError::NoDaemon { .. } | ConnectError::Silent { .. }) => Exit::NO_DAEMON,
            Self::Call { status, .. } => status_exit(status),
            Self::Usage { .. } | Self::TooLarge { .. } => Exit::USAGE,
            Self::Missing { .. } => Exit::NOT_FOUND,
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::BROKEN_PIPE,
            Self::Lost { .. } => Exit::NO_OUTCOME,
            Self::Detached { .. } => Exit::INTERRUPTED,
            Self::Paths(_)
            | Self::Connect(_)
            | Self::File { .. }
            | Self::Program { .. }
            | Self::WillNotStop { .. }
            | Self::Output(_) => Exit::FAILED,
        }
    }

    /// A stable word for programs: the daemon's own reason where it gave one.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Connect(ConnectError::NoDaemon { .. }) | Self::Lost { .. } => "NO_DAEMON".to_owned(),
            Self::Connect(ConnectError::Silent { .. }) => "DAEMON_SILENT".to_owned(),
            Self::Connect(ConnectError::Denied { .. }) => "PERMISSION_DENIED".to_owned(),
            Self::Connect(_) => "CANNOT_CONNECT".to_owned(),
            Self::Call { status, .. } => status_reason(status),
            Self::TooLarge { .. } => "REQUEST_TOO_LARGE".to_owned(),
            Self::Usage { .. } => "USAGE".to_owned(),
            Self::Missing { .. } => "NOT_FOUND".to_owned(),
            Self::Paths(_) => "BAD_PATHS".to_owned(),
            Self::File { .. } | Self::Output(_) => "FILE_FAILED".to_owned(),
            Self::Program { .. } => "PROGRAM_FAILED".to_owned(),
            Self::WillNotStop { .. } => "WILL_NOT_STOP".to_owned(),
            Self::Detached { .. } => "INTERRUPTED".to_owned(),
        }
    }

    /// What to do next, where that is known.
    pub(crate) fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Connect(ConnectError::NoDaemon { .. }) => "start it with `spindle daemon start`",
            Self::Connect(ConnectError::Denied { .. }) => {
                "a daemon serves only the user who started it; see SPINDLE_SOCKET and `spindle daemon status`"
            }
            Self::Connect(ConnectError::Silent { .. }) => "look at `spindle daemon logs`",
            Self::Connect(_) => "is SPINDLE_SOCKET (or --socket) the daemon's own socket?",
            Self::Paths(PathsError::SocketTooLong { .. }) => {
                "choose a shorter path, or leave SPINDLE_SOCKET unset and let Spindle find one"
            }
            Self::Paths(_) => "set SPINDLE_STATE_DIR to a directory of your own",
            Self::Call { status, .. } => return status_hint(status),
            Self::TooLarge { .. } => "put what is large into a file and pass its path",
            Self::Usage { hint, .. } | Self::Missing { hint, .. } => hint,
            Self::Program { .. } => "`spindled` belongs beside `spindle`, or in the PATH",
            Self::WillNotStop { .. } => {
                "look at `spindle daemon logs`; SIGTERM once more stops its runs first"
            }
            Self::Lost { run } => {
                return Some(format!(
                    "`spindle daemon start`, then wait again with `spindle run wait {run}`"
                ));
            }
            Self::Detached { run } => {
                return Some(format!("wait for it again with `spindle run wait {run}`"));
            }
            Self::File { .. } | Self::Output(_) => return None,
        };
        Some(text.to_owned())
    }
}

/// The reason of a daemon's answer: its `ErrorInfo`, else its gRPC code.
pub(crate) fn status_reason(status: &Status) -> String {
    if is_gone(status) {
        return "NO_DAEMON".to_owned();
    }
    if is_late(status) {
        return "DAEMON_SILENT".to_owned();
    }
    info(status).map_or_else(|| format!("{:?}", status.code()), |info| info.reason)
}

fn info(status: &Status) -> Option<ErrorInfo> {
    status.get_details_error_info().filter(|info| info.domain == "spindle")
}

/// The daemon ended before it answered.
pub(crate) fn is_gone(status: &Status) -> bool {
    is_cut(status) && info(status).is_none()
}

/// Our deadline passed without an answer.
fn is_late(status: &Status) -> bool {
    matches!(status.code(), Code::Cancelled | Code::DeadlineExceeded) && info(status).is_none()
}

fn words(status: &Status) -> String {
    if is_gone(status) {
        return "the daemon went away and did not come back".to_owned();
    }
    if is_late(status) {
        return "the daemon did not answer in time".to_owned();
    }
    match status.code() {
        Code::Unimplemented if status.message().is_empty() => "the daemon does not know this call".to_owned(),
        code if status.message().is_empty() => code.description().to_owned(),
        _ => clean(status.message()),
    }
}

fn status_exit(status: &Status) -> Exit {
    if is_gone(status) || is_late(status) {
        return Exit::NO_DAEMON;
    }
    match status_reason(status).as_str() {
        "NO_SUCH_STEP" | "NO_SUCH_ITERATION" | "NO_LOOP" => return Exit::NOT_FOUND,
        "LEASE_HELD" | "LOCK_HELD" | "WRONG_STATE" | "REQUEST_ID_REUSED" | "NAME_TAKEN"
        | "ALREADY_DECIDED" | "HOLDER_ALIVE" => return Exit::CONFLICT,
        "AMBIGUOUS_ID" => return Exit::USAGE,
        "PAUSED" | "DOCTOR_FAILED" | "VERSION_MISMATCH" | "NOT_A_REPOSITORY" | "NOT_INITIALISED"
        | "INVALID_CONFIG" | "STORE_FAILED" => return Exit::FAILED,
        _ => {}
    }
    match status.code() {
        Code::NotFound => Exit::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted | Code::FailedPrecondition => Exit::CONFLICT,
        Code::InvalidArgument => Exit::USAGE,
        _ => Exit::FAILED,
    }
}

fn status_hint(status: &Status) -> Option<String> {
    if is_gone(status) {
        return Some("see `spindle daemon status`; `spindle daemon start` starts it".to_owned());
    }
    if is_late(status) {
        return Some("look at `spindle daemon logs`".to_owned());
    }
    let info = info(status)?;
    if let Some(hint) = info.metadata.get("hint") {
        return Some(clean(hint));
    }
    let hint = match info.reason.as_str() {
        "RUN_NOT_FOUND" => "`spindle run ls --all` lists all runs",
        "APPROVAL_NOT_FOUND" => "`spindle approval ls` lists those that wait",
        "SCHEDULE_NOT_FOUND" => "`spindle schedule ls` lists them all",
        "LEASE_NOT_FOUND" => "`spindle lease ls` lists them all",
        "AMBIGUOUS_ID" => "type more characters of the id",
        "INVALID_ID" => {
            "an id looks like 01934f2a-7b3c-7d1e-8f00-0123456789ab; the first characters are enough"
        }
        "LEASE_HELD" | "LOCK_HELD" => "`spindle lease ls` shows who holds what",
        "HOLDER_ALIVE" => "cancel the holder, or use --force to kill it",
        "NAME_TAKEN" => "choose another name, or use --replace",
        "PAUSED" => "`spindle daemon resume` lets runs start again",
        "VERSION_MISMATCH" => "`spindle daemon restart` starts the daemon that belongs to this `spindle`",
        "NO_SUCH_STEP" => "`spindle run show ID` lists the steps of a run",
        "NO_SUCH_ITERATION" => "`spindle auto status` shows the number of the last iteration",
        "NO_LOOP" => "start one with `spindle auto run`",
        "NOT_INITIALISED" => "prepare the repository with `spindle auto init`",
        "NOT_A_REPOSITORY" => {
            "name a git repository with --repo, or make one with `spindle auto init --git-init`"
        }
        "DOCTOR_FAILED" | "INVALID_CONFIG" => "`spindle auto doctor` lists what is wrong and how to mend it",
        "WRONG_STATE" => "`spindle run show ID` tells the state of a run",
        "REQUEST_ID_REUSED" => "use a new --request-id for a new run",
        "TOKEN_EXPIRED" | "TOKEN_FOREIGN" => "begin again, without --after, or at a later --from",
        "STORE_FAILED" => "free some space where the state directory lies: the daemon then goes on by itself",
        _ => return None,
    };
    Some(hint.to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic_types::ErrorDetails;

    use super::*;

    fn answer(code: Code, reason: &str) -> CtlError {
        let details = ErrorDetails::with_error_info(reason, "spindle", HashMap::new());
        calling("show run 0193")(Status::with_error_details(code, "no run fits \u{1b}[31m0193", details))
    }

    #[test]
    fn the_reason_decides_before_the_code() {
        assert_eq!(answer(Code::NotFound, "RUN_NOT_FOUND").exit(), Exit::NOT_FOUND);
        assert_eq!(answer(Code::FailedPrecondition, "LEASE_HELD").exit(), Exit::CONFLICT);
        assert_eq!(answer(Code::FailedPrecondition, "DOCTOR_FAILED").exit(), Exit::FAILED);
        assert_eq!(answer(Code::NotFound, "NO_SUCH_STEP").exit(), Exit::NOT_FOUND);
        assert_eq!(answer(Code::InvalidArgument, "INVALID_ID").exit(), Exit::USAGE);
        assert_eq!(answer(Code::Unavailable, "STORE_FAILED").exit(), Exit::FAILED);
    }

    #[test]
    fn an_error_says_what_was_asked_and_what_to_do_without_control_characters() {
        let error = answer(Code::NotFound, "RUN_NOT_FOUND");
        assert_eq!(error.to_string(), "cannot show run 0193: no run fits [31m0193");
        assert_eq!(error.hint().as_deref(), Some("`spindle run ls --all` lists all runs"));
        assert_eq!(error.reason(), "RUN_NOT_FOUND");
    }

    #[test]
    fn a_run_that_was_lost_sight_of_has_no_outcome() {
        let error = CtlError::Lost { run: "0193".into() };
        assert_eq!(error.exit(), Exit::NO_OUTCOME);
        assert!(error.hint().is_some_and(|hint| hint.contains("spindle run wait 0193")));
    }

    #[test]
    fn a_daemon_that_went_away_is_no_daemon() {
        let error = calling("list runs")(Status::unavailable("transport"));
        assert_eq!((error.exit(), error.reason().as_str()), (Exit::NO_DAEMON, "NO_DAEMON"));
    }
}
