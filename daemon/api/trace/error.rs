//! How errors about traces look on the wire.

use insight::InsightError;
use insight::signal::RuleSet;
use tonic::{Code, Status};

use crate::api::error::{invalid, shutting_down, status, store_failed, whole};

/// Which list has the ids of a rule set.
fn list_of(rules: RuleSet) -> &'static str {
    match rules {
        RuleSet::V1 => "`spindle trace signals` lists the signals",
        RuleSet::Compat => {
            "`spindle trace signals --rules compat` lists the signals of the rule set compat, to which such ids belong"
        }
    }
}

pub(super) fn from_insight(error: InsightError) -> Status {
    let text = whole(&error);
    match error {
        InsightError::NoSession(_) => status(
            Code::NotFound,
            "SESSION_NOT_FOUND",
            text,
            "`spindle trace sessions` lists the sessions, `spindle trace stats` what is watched",
        ),
        InsightError::NoSignal { rules, .. } => {
            status(Code::NotFound, "SIGNAL_NOT_FOUND", text, list_of(rules))
        }
        InsightError::ShortSignal { rules, .. } => {
            status(Code::InvalidArgument, "INVALID_ID", text, list_of(rules))
        }
        InsightError::Ambiguous { .. } => {
            status(Code::InvalidArgument, "AMBIGUOUS_ID", text, "type more of the id")
        }
        InsightError::InvalidToken(_) => invalid("INVALID_PAGE_TOKEN", text),
        InsightError::Expired { .. } => {
            status(Code::OutOfRange, "SEQ_EXPIRED", text, "begin with the oldest change that is kept")
        }
        InsightError::Ahead { .. } => status(
            Code::OutOfRange,
            "SEQ_UNKNOWN",
            text,
            "the store was restored or is another one; begin anew",
        ),
        InsightError::NoHome { .. } => status(
            Code::NotFound,
            "INVALID_PATH",
            text,
            "name the directory that holds sessions, trace_spine, archived_sessions or rollout_trace",
        ),
        InsightError::Homeless { .. } | InsightError::Nothing { .. } => status(
            Code::NotFound,
            "INVALID_PATH",
            text,
            "name a Codex home, or what lies in one below sessions, archived_sessions, trace_spine or rollout_trace: a \
             rollout, the directory of a thread or bundle, or one with many; `spindle trace verify` takes any file",
        ),
        InsightError::Gone(_) => status(Code::FailedPrecondition, "EVIDENCE_GONE", text, ""),
        InsightError::Read { .. } => status(Code::FailedPrecondition, "READ_FAILED", text, ""),
        InsightError::Store(error) => store_failed(&error),
        InsightError::Closed => shutting_down(),
    }
}
