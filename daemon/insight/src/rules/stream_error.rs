//! `stream_error`: the connection to the model broke.

use trace::What;

use crate::rules::words::lower;
use crate::rules::{Finding, Moment, Scope, descriptor};

descriptor! {
    /// The connection to the model broke.
    STREAM_ERROR = "stream_error", Friction, 0.9, Moment;
    trigger: "A `stream_error` event.",
    threshold: "Each one.",
    grading: "0.4 for an automatic reconnect, of which Codex tells each time and which mostly helps.",
    evidence: "`message`, `info`, `reconnect`.",
}

pub(super) fn feed(moment: &Moment<'_>, scope: &mut Scope<'_>) {
    let What::StreamError { message, info } = moment.fact.what else { return };
    let reconnect = lower(message).trim_start().starts_with("reconnecting");
    let mut finding = Finding::at(moment.fact)
        .describe(&format!("The connection to the model broke: {message}"))
        .with("message", message)
        .with("info", info)
        .with("reconnect", reconnect);
    if reconnect {
        finding = finding.severity(0.4);
    }
    scope.raise(&STREAM_ERROR, finding);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use crate::rules::story::Story;

    #[test]
    fn a_reconnect_is_less_severe_than_a_stream_that_stays_broken() {
        let mut story = Story::begun("fix it");
        story.stream_error("Reconnecting... 1/5").stream_error("stream disconnected before completion");
        let found = story.found("stream_error");
        assert_eq!(found.len(), 2);
        assert!(found[0].severity < found[1].severity);
    }
}
