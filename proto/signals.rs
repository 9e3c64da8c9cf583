//! Changes of signals, across restarts of the daemon.

use tonic::{Status, Streaming};

use crate::client::Client;
use crate::reconnect::Reconnect;
use crate::v1::{GetTraceStatsRequest, SignalChange, WatchSignalsRequest};

/// A stream of changes that goes on after a cut where it was cut: none is missing, none comes twice.
#[derive(Debug)]
pub struct SignalWatch {
    client: Client,
    request: WatchSignalsRequest,
    stream: Option<Streaming<SignalChange>>,
    reconnect: Reconnect,
}

impl SignalWatch {
    /// Watches what `request` asks for. Nothing is sent before the first call of [`next`](Self::next).
    pub fn new(client: Client, request: WatchSignalsRequest, reconnect: Reconnect) -> Self {
        Self { client, request, stream: None, reconnect }
    }

    /// The next change; waits for it, for ever if need be.
    pub async fn next(&mut self) -> Result<SignalChange, Status> {
        loop {
            match self.receive().await {
                Ok(Some(change)) => {
                    self.request.from = Some(change.number + 1);
                    return Ok(change);
                }
                Ok(None) => {
                    self.stream = None;
                    self.reconnect.after(Status::unavailable("the daemon ended the stream")).await?;
                }
                Err(status) => {
                    self.stream = None;
                    self.reconnect.after(status).await?;
                }
            }
        }
    }

    async fn receive(&mut self) -> Result<Option<SignalChange>, Status> {
        if self.stream.is_none() {
            self.anchor().await?;
            let answer = self.client.signals().watch_signals(self.request.clone()).await?;
            self.reconnect.answered();
            self.stream = Some(answer.into_inner());
        }
        match &mut self.stream {
            Some(stream) => stream.message().await,
            None => Ok(None),
        }
    }

    /// "From now on" is given a number at once: a cut before the first change would otherwise move it.
    async fn anchor(&mut self) -> Result<(), Status> {
        if self.request.from.is_none() {
            let stats = self.client.traces().get_trace_stats(GetTraceStatsRequest {}).await?;
            self.request.from = Some(stats.into_inner().last_change + 1);
        }
        Ok(())
    }
}
