//! What a run's processes wrote, across restarts of the daemon.

use std::time::Duration;

use tokio::time::sleep;
use tonic::{Status, Streaming};

use crate::client::Client;
use crate::reconnect::Reconnect;
use crate::v1::{GetRunRequest, LogChunk, ReadLogRequest, RunDetail};
use crate::watch::is_terminal;

/// How often a run between two processes is looked at, after a cut.
const NEXT_PROCESS: Duration = Duration::from_millis(250);

/// Reads a log in chunks and goes on after a cut at the byte where it was cut.
///
/// The daemon leads a reader that follows a whole run from step to step. After
/// a cut the reader names the step that it was in, to get the rest of it, and
/// from there on finds the next process by itself.
#[derive(Debug)]
pub struct LogReader {
    client: Client,
    request: ReadLogRequest,
    stream: Option<Streaming<LogChunk>>,
    reconnect: Reconnect,
    /// Follows the run, not just one process.
    whole_run: bool,
    /// Set after a cut: the step and the attempt being read to their end.
    led_by_us: bool,
    /// The attempt that the last bytes are from; 0 before the first.
    attempt: u32,
}

impl LogReader {
    /// Reads what `request` asks for. Nothing is sent before the first call of
    /// [`next`](Self::next).
    pub fn new(client: Client, request: ReadLogRequest, reconnect: Reconnect) -> Self {
        let whole_run = request.follow && request.step.is_empty() && request.attempt == 0;
        Self { client, request, stream: None, reconnect, whole_run, led_by_us: false, attempt: 0 }
    }

    /// The next bytes; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<LogChunk>, Status> {
        loop {
            match self.receive().await {
                Ok(Some(chunk)) => {
                    self.remember(&chunk);
                    return Ok(Some(chunk));
                }
                Ok(None) => {
                    self.stream = None;
                    if !self.led_by_us || !self.next_process().await? {
                        return Ok(None);
                    }
                }
                Err(status) => {
                    self.stream = None;
                    self.reconnect.after(status).await?;
                    self.lead();
                }
            }
        }
    }

    async fn receive(&mut self) -> Result<Option<LogChunk>, Status> {
        if self.stream.is_none() {
            let answer = self.client.runs().read_log(self.request.clone()).await?;
            self.reconnect.answered();
            self.stream = Some(answer.into_inner());
        }
        match &mut self.stream {
            Some(stream) => stream.message().await,
            None => Ok(None),
        }
    }

    fn remember(&mut self, chunk: &LogChunk) {
        self.request.offset = chunk.offset + chunk.data.len() as u64;
        self.request.last_bytes = None;
        self.attempt = chunk.attempt;
        // Without a name a read that is repeated could land in another step.
        if !chunk.step.is_empty() && (self.whole_run || self.request.step.is_empty()) {
            self.request.step.clone_from(&chunk.step);
        }
    }

    /// After a cut: the attempt is named too, for another may have begun.
    fn lead(&mut self) {
        if self.whole_run && !self.led_by_us && !self.request.step.is_empty() {
            self.request.attempt = self.attempt;
            self.led_by_us = true;
        }
    }

    /// Moves on to the process that follows the one just read. False when the
    /// run has ended and none does.
    async fn next_process(&mut self) -> Result<bool, Status> {
        loop {
            let run = self.run().await?;
            if let Some((step, attempt)) = successor(&run, &self.request.step, self.request.attempt) {
                self.request.step = step;
                self.request.attempt = attempt;
                self.request.offset = 0;
                return Ok(true);
            }
            if run.run.is_none_or(|run| is_terminal(run.state())) {
                return Ok(false);
            }
            sleep(NEXT_PROCESS).await;
        }
    }

    async fn run(&mut self) -> Result<RunDetail, Status> {
        loop {
            match self.client.runs().get_run(GetRunRequest { run: self.request.run.clone() }).await {
                Ok(answer) => {
                    self.reconnect.answered();
                    return Ok(answer.into_inner());
                }
                Err(status) => self.reconnect.after(status).await?,
            }
        }
    }
}

/// The process after the given one: the next attempt of the same step, else
/// the first attempt of the next step that is a process.
fn successor(run: &RunDetail, step: &str, attempt: u32) -> Option<(String, u32)> {
    let position = run.steps.iter().position(|candidate| candidate.name == step);
    let again = position
        .into_iter()
        .flat_map(|index| &run.steps[index].attempts)
        .find(|candidate| candidate.number > attempt)
        .map(|next| (step.to_owned(), next.number));
    // A step that a checkpoint has dropped is older than all that are left.
    let following = position.map_or(0, |index| index + 1);
    again.or_else(|| {
        run.steps[following..]
            .iter()
            .filter(|candidate| candidate.kind == "process")
            .find_map(|candidate| Some((candidate.name.clone(), candidate.attempts.first()?.number)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::{Attempt, Step};

    fn step(name: &str, kind: &str, attempts: u32) -> Step {
        let attempts = (1..=attempts).map(|number| Attempt { number, ..Attempt::default() }).collect();
        Step { name: name.into(), kind: kind.into(), attempts, ..Step::default() }
    }

    #[test]
    fn the_next_attempt_comes_before_the_next_step() {
        let steps = vec![step("one", "process", 2), step("read", "step", 1), step("two", "process", 1)];
        let run = RunDetail { steps, ..RunDetail::default() };
        assert_eq!(successor(&run, "one", 1), Some(("one".into(), 2)));
        assert_eq!(successor(&run, "one", 2), Some(("two".into(), 1)));
        assert_eq!(successor(&run, "two", 1), None);
    }

    #[test]
    fn after_a_dropped_step_comes_the_oldest_left() {
        let run = RunDetail { steps: vec![step("nine", "process", 1)], ..RunDetail::default() };
        assert_eq!(successor(&run, "one", 1), Some(("nine".into(), 1)));
    }
}
