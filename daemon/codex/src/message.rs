//! The text of a failed turn, which is all there is to tell one failure from another.
//!
//! The stream has no error codes, and the texts are not stable: releases differ in wording and even
//! in the apostrophe. So what is looked for is short, and folded to one form first.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::OutcomeKind;
use crate::reset;

/// What stands before every failure of the stream, and also before what the service said in it.
const DISCONNECTED: &str = "stream disconnected before completion";

/// Why a turn failed. `at` is when the message arrived.
pub(crate) fn failure(message: &str, at: Timestamp, zone: &TimeZone) -> OutcomeKind {
    let plain = plain_punctuation(message);
    let text = plain.to_lowercase();
    let says = |needles: &[&str]| needles.iter().any(|needle| text.contains(needle));
    let wait = reset::wait_of(&plain);
    // The specific before the general: "try again" stands in several of them.
    if says(&["usage limit", "usage_limit"]) {
        return OutcomeKind::UsageLimit { resets_at: reset::reset_time(&plain, at, zone) };
    }
    if says(&["quota exceeded", "insufficient_quota"]) {
        return OutcomeKind::QuotaExceeded;
    }
    if says(&["context window", "context_length_exceeded"]) {
        return OutcomeKind::ContextFull;
    }
    if let Some(kind) = status_of(&text).and_then(|status| of_status(status, wait)) {
        return kind;
    }
    if wait.is_some() || says(&["rate limit", "rate_limit"]) {
        return OutcomeKind::RateLimited { retry_after: wait };
    }
    if says(&["connection failed", "error sending request", "connection refused", "dns error"]) {
        return OutcomeKind::Network;
    }
    if text.starts_with(DISCONNECTED) {
        let cut =
            ["stream closed before", "transport error", "network error", "idle timeout", "error decoding"];
        // Anything else behind the colon is what the service itself reported.
        return if says(&cut) || text.trim_end() == DISCONNECTED {
            OutcomeKind::CutStream
        } else {
            OutcomeKind::ServerError
        };
    }
    if says(&["high demand", "server_error", "overloaded"]) {
        return OutcomeKind::ServerError;
    }
    // A request that the service calls invalid fails with the body of the answer as the message.
    if text.trim_start().starts_with('{') || says(&["invalid_request_error", "missing environment variable"])
    {
        return OutcomeKind::Refused { status: None };
    }
    OutcomeKind::ModelError
}

/// The HTTP status in "unexpected status 401 Unauthorized" and "last status: 429 Too Many Requests".
fn status_of(text: &str) -> Option<u16> {
    ["unexpected status ", "last status: "].into_iter().find_map(|before| {
        let (_, after) = text.split_once(before)?;
        after.get(..3)?.parse().ok()
    })
}

fn of_status(status: u16, wait: Option<jiff::SignedDuration>) -> Option<OutcomeKind> {
    match status {
        429 => Some(OutcomeKind::RateLimited { retry_after: wait }),
        408 | 500..=599 => Some(OutcomeKind::ServerError),
        400..=499 => Some(OutcomeKind::Refused { status: Some(status) }),
        _ => None,
    }
}

/// A text with plain apostrophes and plain spaces.
pub(crate) fn plain_punctuation(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\u{2018}' | '\u{2019}' | '\u{02bc}' => '\'',
            '\u{a0}' | '\u{202f}' | '\u{2009}' => ' ',
            other => other,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use jiff::SignedDuration;

    use super::*;

    fn kind(message: &str) -> OutcomeKind {
        failure(message, "2026-11-20T22:00:00Z".parse().unwrap(), &TimeZone::UTC)
    }

    #[test]
    fn the_apostrophe_makes_no_difference() {
        let expected = OutcomeKind::UsageLimit { resets_at: Some("2026-11-20T22:39:00Z".parse().unwrap()) };
        for you_have in ["You've", "You\u{2019}ve"] {
            let text = format!("{you_have} hit your usage limit. Upgrade or try again at 10:39\u{202f}PM.");
            assert_eq!(kind(&text), expected);
        }
    }

    #[test]
    fn a_usage_limit_without_a_time_is_one_all_the_same() {
        assert_eq!(kind("You've hit your usage limit."), OutcomeKind::UsageLimit { resets_at: None });
    }

    #[test]
    fn what_the_service_says_inside_a_cut_stream_is_understood() {
        let wait = SignedDuration::from_millis(500);
        assert_eq!(
            kind("stream disconnected before completion: Please try again in 0.5s."),
            OutcomeKind::RateLimited { retry_after: Some(wait) }
        );
        assert_eq!(
            kind(
                "stream disconnected before completion: error sending request for url (http://h/v1/responses)"
            ),
            OutcomeKind::Network
        );
        assert_eq!(
            kind("stream disconnected before completion: The server had an error, try again in a while"),
            OutcomeKind::ServerError
        );
        assert_eq!(kind("stream disconnected before completion"), OutcomeKind::CutStream);
    }

    #[test]
    fn http_statuses_are_told_apart() {
        assert_eq!(kind("unexpected status 401 Unauthorized: "), OutcomeKind::Refused { status: Some(401) });
        assert_eq!(kind("unexpected status 503 Service Unavailable: x"), OutcomeKind::ServerError);
        assert_eq!(
            kind("exceeded retry limit, last status: 429 Too Many Requests"),
            OutcomeKind::RateLimited { retry_after: None }
        );
    }

    #[test]
    fn an_unknown_text_is_a_model_error() {
        assert_eq!(kind("something new"), OutcomeKind::ModelError);
        assert_eq!(kind(""), OutcomeKind::ModelError);
    }
}
