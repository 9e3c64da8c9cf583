//! Keeping the machine awake while runs are at work.
//!
//! A tool of the system holds the inhibition for as long as a program that it runs: `cat`, which ends with
//! its standard input. So the inhibition ends with the daemon too, however that ends.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};
use tokio::sync::watch;

/// How long the tool may take to end.
const END_LIMIT: Duration = Duration::from_secs(2);

#[cfg(target_os = "macos")]
const TOOL: &[&str] = &["caffeinate", "-i", "cat"];
#[cfg(not(target_os = "macos"))]
const TOOL: &[&str] =
    &["systemd-inhibit", "--what=sleep", "--who=spindled", "--why=runs are at work", "--mode=block", "cat"];

/// Keeps the machine awake while `at_work` says so. Does not return.
pub(crate) async fn keep_awake(at_work: watch::Receiver<bool>) {
    keep_awake_by(TOOL, at_work).await;
    std::future::pending::<()>().await;
}

/// Returns when nobody says any more whether runs are at work, or when the tool is missing.
async fn keep_awake_by(tool: &[&str], mut at_work: watch::Receiver<bool>) {
    while at_work.wait_for(|at_work| *at_work).await.is_ok() {
        let mut holder = match hold(tool) {
            Ok(holder) => holder,
            Err(error) => {
                tracing::warn!(tool = tool[0], %error, "the machine may go to sleep during runs: the tool cannot be run");
                return;
            }
        };
        tracing::debug!("keeping the machine awake");
        let lost = tokio::select! {
            () = rest(&mut at_work) => None,
            reason = last_words(&mut holder) => Some(reason),
        };
        if let Some(reason) = lost {
            tracing::warn!(
                tool = tool[0],
                reason,
                "the machine may go to sleep during runs: the tool has ended"
            );
            // It would end again at once.
            rest(&mut at_work).await;
        }
        release(holder).await;
        // Its last word may have been that runs are at work.
        if at_work.has_changed().is_err() {
            return;
        }
    }
}

fn hold(tool: &[&str]) -> std::io::Result<Child> {
    Command::new(tool[0])
        .args(&tool[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
}

/// Waits until no run is at work, or nobody is there any more to say so.
async fn rest(at_work: &mut watch::Receiver<bool>) {
    let _ = at_work.wait_for(|at_work| !*at_work).await;
}

/// What the tool says, when it has ended by itself.
async fn last_words(holder: &mut Child) -> String {
    // Read, not waited for, until the end: `wait` would close the input that keeps the tool alive.
    let mut words = String::new();
    if let Some(errors) = &mut holder.stderr {
        let _ = errors.take(4096).read_to_string(&mut words).await;
    }
    words.trim().to_owned()
}

async fn release(mut holder: Child) {
    // Waiting closes its standard input first.
    if tokio::time::timeout(END_LIMIT, holder.wait()).await.is_err() {
        let _ = holder.kill().await;
    }
    tracing::debug!("the machine may go to sleep");
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// A tool that is there as long as the file is.
    fn script(file: &Path) -> String {
        format!("touch '{0}'; cat; rm '{0}'", file.display())
    }

    async fn until(condition: impl Fn() -> bool) {
        let met = async {
            while !condition() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), met).await.expect("the condition is met in time");
    }

    #[tokio::test]
    async fn the_machine_is_kept_awake_only_while_runs_are_at_work() {
        let directory = tempfile::tempdir().unwrap();
        let held = directory.path().join("held");
        let (at_work, receiver) = watch::channel(false);
        let script = script(&held);
        let tool = ["sh", "-c", &script];
        let keeping = keep_awake_by(&tool, receiver);
        let story = async {
            for _ in 0..2 {
                at_work.send(true).unwrap();
                until(|| held.exists()).await;
                at_work.send(false).unwrap();
                until(|| !held.exists()).await;
            }
            at_work.send(true).unwrap();
            until(|| held.exists()).await;
            drop(at_work);
        };
        tokio::join!(keeping, story);
        assert!(!held.exists());
    }

    #[tokio::test]
    async fn a_tool_that_is_missing_is_given_up() {
        let (_at_work, receiver) = watch::channel(true);
        keep_awake_by(&["no-such-tool-for-spindle"], receiver).await;
    }

    #[tokio::test]
    async fn a_tool_that_ends_by_itself_is_tried_again_for_the_next_runs_only() {
        let directory = tempfile::tempdir().unwrap();
        let count = directory.path().join("count");
        let (at_work, receiver) = watch::channel(true);
        let script = format!("echo started >>'{}'; echo refused >&2; exit 1", count.display());
        let tool = ["sh", "-c", &script];
        let starts = || std::fs::read_to_string(&count).unwrap_or_default().lines().count();
        let mut keeping = std::pin::pin!(keep_awake_by(&tool, receiver));
        for round in 1..=3 {
            tokio::select! {
                () = &mut keeping => panic!("a tool that was refused once may be allowed later"),
                () = until(|| starts() == round) => {}
            }
            at_work.send(false).unwrap();
            // Polled until it has nothing to do, it has seen that the runs are over.
            assert!(futures_util::poll!(&mut keeping).is_pending());
            at_work.send(true).unwrap();
        }
    }
}
