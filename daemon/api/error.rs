//! How errors of the domain look on the wire: a code, a machine-readable reason, and advice.

use std::collections::HashMap;
use std::error::Error;

use engine::schedule::{HostError, ScheduleError};
use engine::store::StoreError;
use engine::{Failure, RunError, StartError, WatchError};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// The domain of all reasons.
const DOMAIN: &str = "spindle";

/// A status with a reason from the list in `run.proto`, and what to do about it.
pub(crate) fn status(code: Code, reason: &str, message: impl Into<String>, hint: &str) -> Status {
    status_with(code, reason, message, hint, HashMap::new())
}

fn status_with(
    code: Code,
    reason: &str,
    message: impl Into<String>,
    hint: &str,
    mut metadata: HashMap<String, String>,
) -> Status {
    if !hint.is_empty() {
        metadata.insert("hint".to_owned(), hint.to_owned());
    }
    Status::with_error_details(code, message, ErrorDetails::with_error_info(reason, DOMAIN, metadata))
}

/// The daemon is going down. Without details: a client takes it as a cut, and comes back.
pub(super) fn shutting_down() -> Status {
    Status::unavailable("the daemon is shutting down")
}

/// An argument that makes no sense.
pub(super) fn invalid(reason: &str, message: impl Into<String>) -> Status {
    status(Code::InvalidArgument, reason, message, "")
}

/// The error and what is behind it, in one line.
pub(super) fn whole(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        // Transparent variants say the same twice.
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

pub(super) fn store_failed(error: &StoreError) -> Status {
    if matches!(error, StoreError::Closed) {
        return shutting_down();
    }
    let hint =
        "processes go on with their shims; free some space on the disk, and the daemon goes on by itself";
    status(Code::Unavailable, "STORE_FAILED", whole(error), hint)
}

/// A failure that a workflow found in a spec.
pub(super) fn refused(failure: &Failure) -> Status {
    let hint = failure.hint.clone().unwrap_or_default();
    status(Code::InvalidArgument, "INVALID_SPEC", failure.message.clone(), &hint)
}

pub(super) fn from_run(error: RunError) -> Status {
    let text = whole(&error);
    match error {
        RunError::NotFound(_) => {
            status(Code::NotFound, "RUN_NOT_FOUND", text, "`spindle run ls` lists the runs")
        }
        RunError::Ambiguous { candidates, .. } => {
            let ids: Vec<_> = candidates.iter().map(ToString::to_string).collect();
            let metadata = HashMap::from([("candidates".to_owned(), ids.join(","))]);
            status_with(Code::InvalidArgument, "AMBIGUOUS_ID", text, "type more of the id", metadata)
        }
        RunError::InvalidId(_) => invalid("INVALID_ID", text),
        RunError::Refused(_) | RunError::Over { .. } => {
            status(Code::FailedPrecondition, "WRONG_STATE", text, "")
        }
        RunError::LeaseHeld { holder, .. } => {
            let metadata = HashMap::from([("holder".to_owned(), holder.to_string())]);
            let hint = "wait for that run, or cancel it: `spindle lease show` says more";
            status_with(Code::FailedPrecondition, "LEASE_HELD", text, hint, metadata)
        }
        RunError::NoApproval(_) => {
            status(Code::NotFound, "APPROVAL_NOT_FOUND", text, "`spindle approval ls` lists those that wait")
        }
        RunError::NoLease(_) => {
            status(Code::NotFound, "LEASE_NOT_FOUND", text, "`spindle lease ls` lists the leases")
        }
        RunError::BadRow(_) => {
            status(Code::DataLoss, "STORE_FAILED", text, "`spindle daemon verify` lists all that is damaged")
        }
        RunError::Store(error) => store_failed(&error),
        RunError::Closed => shutting_down(),
    }
}

pub(super) fn from_start(error: StartError) -> Status {
    let text = whole(&error);
    match error {
        StartError::UnknownWorkflow { .. } => invalid("UNKNOWN_WORKFLOW", text),
        StartError::Refused(failure) => refused(&failure),
        StartError::RequestIdReused { run, .. } => {
            let metadata = HashMap::from([("run".to_owned(), run.to_string())]);
            let hint = "choose another request id";
            status_with(Code::AlreadyExists, "REQUEST_ID_REUSED", text, hint, metadata)
        }
        StartError::LeaseHeld { holder, .. } => {
            let metadata = HashMap::from([("holder".to_owned(), holder.to_string())]);
            let hint = "`spindle run show` shows that run; it can be canceled";
            status_with(Code::FailedPrecondition, "LEASE_HELD", text, hint, metadata)
        }
        StartError::NoPredecessor(_) => status(Code::NotFound, "RUN_NOT_FOUND", text, ""),
        StartError::Store(error) => store_failed(&error),
    }
}

pub(super) fn from_watch(error: WatchError) -> Status {
    let text = whole(&error);
    match error {
        WatchError::Expired { oldest, .. } => {
            let metadata = HashMap::from([("oldest".to_owned(), oldest.to_string())]);
            status_with(
                Code::OutOfRange,
                "TOKEN_EXPIRED",
                text,
                "begin with the oldest event that is kept",
                metadata,
            )
        }
        WatchError::Foreign { store } => {
            let metadata = HashMap::from([("store".to_owned(), store.to_string())]);
            let hint = "the store was restored or is another one; begin anew";
            status_with(Code::OutOfRange, "TOKEN_FOREIGN", text, hint, metadata)
        }
        WatchError::Store(error) => store_failed(&error),
        WatchError::Closed => shutting_down(),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "what `map_err` calls takes the error itself")]
pub(super) fn from_schedule(error: ScheduleError) -> Status {
    let text = whole(&error);
    match error {
        ScheduleError::NotFound { .. } => {
            status(Code::NotFound, "SCHEDULE_NOT_FOUND", text, "`spindle schedule ls` lists the schedules")
        }
        ScheduleError::Ambiguous { .. } => {
            status(Code::InvalidArgument, "AMBIGUOUS_ID", text, "type more of the id, or the name")
        }
        ScheduleError::NameTaken { .. } => {
            status(Code::AlreadyExists, "NAME_TAKEN", text, "choose another name, or use --replace")
        }
        ScheduleError::Trigger(_) => invalid("INVALID_TRIGGER", text),
        ScheduleError::InvalidName(_) => invalid("INVALID_NAME", text),
        ScheduleError::Stopped => shutting_down(),
        ScheduleError::Host(HostError::Refused(_)) => invalid("INVALID_SPEC", text),
        ScheduleError::Host(HostError::Unavailable(_)) => {
            status(Code::Unavailable, "STORE_FAILED", text, "try again")
        }
        ScheduleError::Unreadable(_) => {
            let hint = "it was written by a newer version, or is damaged; it can be removed";
            status(Code::DataLoss, "SCHEDULE_UNREADABLE", text, hint)
        }
        // The enum may grow; what is new there is at least shown.
        _ => status(Code::Unknown, "SCHEDULE_FAILED", text, ""),
    }
}
