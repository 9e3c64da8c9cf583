//! Events, across restarts of the daemon.

use tonic::{Status, Streaming};

use crate::client::Client;
use crate::reconnect::Reconnect;
use crate::v1::{Event, GetRunRequest, RunState, WatchEventsRequest};

/// The type of a run's last event.
const RUN_FINISHED: &str = "run.finished";

/// A stream of events that goes on after a cut where it was cut: none is
/// missing, none comes twice.
#[derive(Debug)]
pub struct EventWatch {
    client: Client,
    request: WatchEventsRequest,
    stream: Option<Streaming<Event>>,
    reconnect: Reconnect,
    finished: bool,
}

impl EventWatch {
    /// Watches what `request` asks for. Nothing is sent before the first call
    /// of [`next`](Self::next).
    pub fn new(client: Client, request: WatchEventsRequest, reconnect: Reconnect) -> Self {
        Self { client, request, stream: None, reconnect, finished: false }
    }

    /// The next event. `None` when the run watched has ended (with
    /// `until_finished`); otherwise it waits, for ever if need be.
    pub async fn next(&mut self) -> Result<Option<Event>, Status> {
        while !self.finished {
            match self.receive().await {
                Ok(Some(event)) => {
                    self.remember(&event);
                    return Ok(Some(event));
                }
                Ok(None) => self.stream_ended().await?,
                Err(status) => {
                    self.stream = None;
                    self.reconnect.after(status).await?;
                }
            }
        }
        Ok(None)
    }

    async fn receive(&mut self) -> Result<Option<Event>, Status> {
        if self.stream.is_none() {
            self.anchor().await?;
            let answer = self.client.runs().watch_events(self.request.clone()).await?;
            self.reconnect.answered();
            self.stream = Some(answer.into_inner());
        }
        match &mut self.stream {
            Some(stream) => stream.message().await,
            None => Ok(None),
        }
    }

    /// "From now on" is given a number at once: a cut before the first event
    /// would otherwise move it.
    async fn anchor(&mut self) -> Result<(), Status> {
        if self.request.after.is_empty() && self.request.from_seq.is_none() {
            self.request.from_seq = Some(self.client.info().await?.last_seq + 1);
        }
        Ok(())
    }

    fn remember(&mut self, event: &Event) {
        self.finished = self.request.until_finished && event.r#type == RUN_FINISHED;
        if !event.token.is_empty() {
            self.request.after.clone_from(&event.token);
            self.request.from_seq = None;
        }
    }

    /// The daemon ended the stream in good order: because the run has ended,
    /// or because the daemon itself does.
    async fn stream_ended(&mut self) -> Result<(), Status> {
        self.stream = None;
        if !self.request.until_finished || !self.run_has_ended().await? {
            return self.reconnect.after(Status::unavailable("the daemon ended the stream")).await;
        }
        self.finished = true;
        Ok(())
    }

    async fn run_has_ended(&mut self) -> Result<bool, Status> {
        loop {
            let request = GetRunRequest { run: self.request.run.clone() };
            match self.client.runs().get_run(request).await {
                Ok(answer) => {
                    return Ok(answer.into_inner().run.is_none_or(|run| is_terminal(run.state())));
                }
                Err(status) => self.reconnect.after(status).await?,
            }
        }
    }
}

/// Whether a run in this state has ended.
pub fn is_terminal(state: RunState) -> bool {
    match state {
        RunState::Succeeded | RunState::Failed | RunState::Canceled | RunState::Interrupted => true,
        RunState::Unspecified | RunState::Queued | RunState::Running | RunState::Waiting => false,
    }
}
