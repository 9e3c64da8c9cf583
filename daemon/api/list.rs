//! Pages and streams: what all services answer alike.

use std::pin::Pin;

use engine::RunError;
use futures_util::{Stream, StreamExt as _};
use prost::Message;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use twox_hash::XxHash3_64;

use super::error::{from_run, invalid};

/// The largest page of a list.
const LARGEST_PAGE: u32 = 500;

/// The page of a list that says nothing else.
const USUAL_PAGE: u32 = 50;

/// How many items a page has that was asked for with this size.
pub(super) fn page_size(asked: u32) -> usize {
    let size = if asked == 0 { USUAL_PAGE } else { asked.min(LARGEST_PAGE) };
    size as usize
}

/// A list with all that narrows it: what a page token belongs to.
///
/// A token names the place where the next page begins, which means nothing, or another thing, in any other list. So it
/// begins with a tag over the list, what was asked of it and the place, and is refused where that does not fit. Nothing
/// is kept of a token, and none goes out of date.
pub(super) struct Listing(Vec<u8>);

impl Listing {
    /// A list by its name and by what was asked of it, from which size, token and times are to be left out. The times
    /// because people name them as "two days ago", which is another one with every page.
    pub(super) fn new(name: &str, asked: &impl Message) -> Self {
        Self([name.as_bytes(), &[0], &asked.encode_length_delimited_to_vec()].concat())
    }

    /// The token of the page that begins at a place; empty when no page follows.
    pub(super) fn token(&self, place: &str) -> String {
        if place.is_empty() { String::new() } else { format!("{:016x}.{place}", self.tag(place)) }
    }

    /// The place that a token names; empty for the first page.
    pub(super) fn place<'t>(&self, token: &'t str) -> Result<&'t str, Status> {
        if token.is_empty() {
            return Ok(token);
        }
        token
            .split_once('.')
            .filter(|(tag, place)| u64::from_str_radix(tag, 16) == Ok(self.tag(place)))
            .map(|(_, place)| place)
            .ok_or_else(|| Self::refusal(token))
    }

    /// What is said of a token that is not one of this list.
    pub(super) fn refusal(token: &str) -> Status {
        let shown: String = token.chars().take(200).collect();
        let text = format!(
            "{shown:?} is no page token of this list: it goes with the same list and the same filter only"
        );
        invalid("INVALID_PAGE_TOKEN", text)
    }

    fn tag(&self, place: &str) -> u64 {
        XxHash3_64::oneshot(&[self.0.as_slice(), place.as_bytes()].concat())
    }
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
