//! Tool calls.

use trace::SessionId;
use trace::record::ChangeKind;
use trace::session::{CallOutcome, ToolCall};

use super::part::{StampMessage, stamp};
use super::{PageItem, TEXT, WORD, clip, clipped, word};

/// The most bytes that the paths of a patch take together.
const PATHS: usize = 2048;

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct CallMessage {
    #[prost(uint32, tag = "1")]
    pub ordinal: u32,
    #[prost(uint32, tag = "2")]
    pub epoch: u32,
    #[prost(string, tag = "3")]
    pub call_id: String,
    #[prost(string, tag = "4")]
    pub turn_id: String,
    #[prost(uint32, optional, tag = "5")]
    pub turn: Option<u32>,
    #[prost(string, tag = "6")]
    pub tool: String,
    #[prost(string, tag = "7")]
    pub arguments: String,
    #[prost(string, optional, tag = "8")]
    pub cwd: Option<String>,
    #[prost(string, optional, tag = "9")]
    pub source: Option<String>,
    #[prost(message, optional, tag = "10")]
    pub opened: Option<StampMessage>,
    #[prost(message, optional, tag = "11")]
    pub closed: Option<StampMessage>,
    /// In the order of the variants of [`CallOutcome`].
    #[prost(uint32, tag = "12")]
    pub outcome: u32,
    #[prost(sint64, optional, tag = "13")]
    pub exit_code: Option<i64>,
    #[prost(uint64, optional, tag = "14")]
    pub duration_ms: Option<u64>,
    #[prost(string, optional, tag = "15")]
    pub message: Option<String>,
    #[prost(uint32, repeated, tag = "16")]
    pub approvals: Vec<u32>,
    #[prost(message, repeated, tag = "17")]
    pub changes: Vec<ChangeMessage>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ChangeMessage {
    #[prost(string, tag = "1")]
    pub path: String,
    /// 0 add, 1 delete, 2 update.
    #[prost(uint32, tag = "2")]
    pub kind: u32,
}

impl PageItem for ToolCall {
    type Message = CallMessage;

    fn into_message(self) -> CallMessage {
        let Self {
            ordinal,
            epoch,
            call_id,
            turn_id,
            turn,
            tool,
            arguments,
            cwd,
            source,
            opened,
            closed,
            outcome,
            exit_code,
            duration_ms,
            message,
            mut approvals,
            changes,
        } = self;
        approvals.truncate(64);
        let mut room = PATHS;
        let changes = changes.into_iter().map_while(|(path, kind)| {
            room = room.checked_sub(path.len())?;
            let kind = match kind {
                ChangeKind::Add => 0,
                ChangeKind::Delete => 1,
                ChangeKind::Update => 2,
            };
            Some(ChangeMessage { path, kind })
        });
        CallMessage {
            ordinal,
            epoch,
            call_id: clip(call_id, WORD),
            turn_id: clip(turn_id, WORD),
            turn,
            tool: clip(tool, WORD),
            arguments: clip(arguments, TEXT),
            cwd: clipped(cwd),
            source: word(source),
            opened: Some(opened.into()),
            closed: closed.map(Into::into),
            outcome: match outcome {
                CallOutcome::Open => 0,
                CallOutcome::Succeeded => 1,
                CallOutcome::Failed => 2,
                CallOutcome::TimedOut => 3,
                CallOutcome::Rejected => 4,
                CallOutcome::Broken => 5,
                CallOutcome::Interrupted => 6,
            },
            exit_code,
            duration_ms,
            message: clipped(message),
            approvals,
            changes: changes.collect(),
        }
    }

    fn from_message(message: CallMessage, _: &SessionId) -> Self {
        let changes = message.changes.into_iter().map(|change| {
            let kind = match change.kind {
                0 => ChangeKind::Add,
                1 => ChangeKind::Delete,
                _ => ChangeKind::Update,
            };
            (change.path, kind)
        });
        Self {
            ordinal: message.ordinal,
            epoch: message.epoch,
            call_id: message.call_id,
            turn_id: message.turn_id,
            turn: message.turn,
            tool: message.tool,
            arguments: message.arguments,
            cwd: message.cwd,
            source: message.source,
            opened: stamp(message.opened),
            closed: message.closed.map(Into::into),
            outcome: match message.outcome {
                1 => CallOutcome::Succeeded,
                2 => CallOutcome::Failed,
                3 => CallOutcome::TimedOut,
                4 => CallOutcome::Rejected,
                5 => CallOutcome::Broken,
                6 => CallOutcome::Interrupted,
                _ => CallOutcome::Open,
            },
            exit_code: message.exit_code,
            duration_ms: message.duration_ms,
            message: message.message,
            approvals: message.approvals,
            changes: changes.collect(),
        }
    }
}
