//! Approvals.

use trace::SessionId;
use trace::record::ApprovalKind;
use trace::session::Approval;

use super::part::StampMessage;
use super::{PageItem, WORD, clip, clipped, word};

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ApprovalMessage {
    #[prost(uint32, tag = "1")]
    pub ordinal: u32,
    #[prost(uint32, tag = "2")]
    pub epoch: u32,
    /// Whether it is about a patch.
    #[prost(bool, tag = "3")]
    pub patch: bool,
    #[prost(string, tag = "4")]
    pub call_id: String,
    #[prost(string, tag = "5")]
    pub turn_id: String,
    #[prost(message, optional, tag = "6")]
    pub requested: Option<StampMessage>,
    #[prost(string, optional, tag = "7")]
    pub reason: Option<String>,
    #[prost(message, optional, tag = "8")]
    pub decided: Option<StampMessage>,
    #[prost(string, optional, tag = "9")]
    pub decision: Option<String>,
    #[prost(bool, optional, tag = "10")]
    pub approved: Option<bool>,
    #[prost(string, optional, tag = "11")]
    pub submission_id: Option<String>,
}

impl PageItem for Approval {
    type Message = ApprovalMessage;

    fn into_message(self) -> ApprovalMessage {
        let Self {
            ordinal,
            epoch,
            kind,
            call_id,
            turn_id,
            requested,
            reason,
            decided,
            decision,
            approved,
            submission_id,
        } = self;
        ApprovalMessage {
            ordinal,
            epoch,
            patch: kind == ApprovalKind::Patch,
            call_id: clip(call_id, WORD),
            turn_id: clip(turn_id, WORD),
            requested: requested.map(Into::into),
            reason: clipped(reason),
            decided: decided.map(Into::into),
            decision: word(decision),
            approved,
            submission_id: word(submission_id),
        }
    }

    fn from_message(message: ApprovalMessage, _: &SessionId) -> Self {
        Self {
            ordinal: message.ordinal,
            epoch: message.epoch,
            kind: if message.patch { ApprovalKind::Patch } else { ApprovalKind::Exec },
            call_id: message.call_id,
            turn_id: message.turn_id,
            requested: message.requested.map(Into::into),
            reason: message.reason,
            decided: message.decided.map(Into::into),
            decision: message.decision,
            approved: message.approved,
            submission_id: message.submission_id,
        }
    }
}
