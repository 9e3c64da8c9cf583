//! Pages and streams: what all services answer alike.

use std::pin::Pin;

use engine::RunError;
use futures_util::{Stream, StreamExt as _};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::error::from_run;

/// The largest page of a list.
const LARGEST_PAGE: u32 = 500;

/// The page of a list that says nothing else.
const USUAL_PAGE: u32 = 50;

/// How many items a page has that was asked for with this size.
pub(super) fn page_size(asked: u32) -> usize {
    let size = if asked == 0 { USUAL_PAGE } else { asked.min(LARGEST_PAGE) };
    size as usize
}

/// An answer that comes in parts.
pub(super) type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Ends a stream when the daemon does, and with an error: a client could not tell the end of a log from
/// its middle otherwise.
pub(super) fn until_stopped<T: Send + 'static>(
    stopping: &CancellationToken,
    stream: impl Stream<Item = Result<T, Status>> + Send + 'static,
) -> Streamed<T> {
    let asked = stopping.clone();
    let cut_off = futures_util::stream::once(async move { asked.is_cancelled() })
        .filter_map(|stopping| std::future::ready(stopping.then(|| Err(from_run(RunError::Closed)))));
    Box::pin(stream.take_until(stopping.clone().cancelled_owned()).chain(cut_off))
}
