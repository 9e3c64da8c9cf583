//! placeholder: the daemon at work.

use std::pin::Pin;

use futures_util::{Stream, StreamExt as _};
use spindle_client::Paths;

use crate::config::{Config, Source};
use crate::listen::Listener;
use crate::logging::Log;
use crate::notify::Starter;
use crate::signals::Request;

#[derive(Debug, thiserror::Error)]
#[error("not there yet")]
pub(crate) struct ServeError;

pub(crate) struct Start {
    pub(crate) config: Config,
    pub(crate) source: Source,
    pub(crate) paths: Paths,
    pub(crate) listener: Listener,
    pub(crate) log: Log,
    pub(crate) requests: Pin<Box<dyn Stream<Item = Request> + Send>>,
    pub(crate) starter: Starter,
}

pub(crate) async fn serve(mut start: Start) -> Result<(), ServeError> {
    let (_incoming, _file) = start.listener.into_incoming();
    start.starter.ready("serving");
    while let Some(request) = start.requests.next().await {
        tracing::info!(?request, "asked");
        if request != Request::Reload {
            break;
        }
    }
    start.starter.stopping();
    Ok(())
}
