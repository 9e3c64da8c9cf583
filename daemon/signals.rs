//! Signals as requests to the daemon.

use std::io;

use futures_util::{Stream, StreamExt as _};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook_tokio::Signals;

/// What somebody asks of the daemon by a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    /// To end; processes of runs go on.
    Terminate,
    /// To end, and to stop the processes of all runs first: the second such signal, or a later one.
    TerminateAgain,
    /// To read its configuration again.
    Reload,
}

/// All requests from now on. Must be called within the runtime.
pub(crate) fn requests() -> io::Result<impl Stream<Item = Request> + Unpin + Send> {
    Ok(understood(Signals::new([SIGTERM, SIGINT, SIGHUP])?))
}

fn understood(signals: impl Stream<Item = i32> + Unpin + Send) -> impl Stream<Item = Request> + Unpin + Send {
    let mut asked_to_end = false;
    signals.map(move |signal| match signal {
        SIGHUP => Request::Reload,
        _ if asked_to_end => Request::TerminateAgain,
        _ => {
            asked_to_end = true;
            Request::Terminate
        }
    })
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    #[tokio::test]
    async fn the_second_signal_to_end_asks_for_more_than_the_first() {
        let requests = understood(stream::iter([SIGHUP, SIGINT, SIGHUP, SIGTERM, SIGTERM]));
        let requests: Vec<Request> = requests.collect().await;
        let expected = [
            Request::Reload,
            Request::Terminate,
            Request::Reload,
            Request::TerminateAgain,
            Request::TerminateAgain,
        ];
        assert_eq!(requests, expected);
    }
}
