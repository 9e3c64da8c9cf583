//! Compactions and artifacts.

use trace::SessionId;
use trace::session::{ArtifactRow, CompactionRow};

use super::part::{StampMessage, stamp};
use super::{PageItem, WORD, clip, clipped, word};

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct CompactionMessage {
    #[prost(uint32, tag = "1")]
    pub ordinal: u32,
    #[prost(uint32, tag = "2")]
    pub epoch: u32,
    #[prost(message, optional, tag = "3")]
    pub at: Option<StampMessage>,
    #[prost(string, tag = "4")]
    pub turn_id: String,
    #[prost(string, optional, tag = "5")]
    pub kind: Option<String>,
}

impl PageItem for CompactionRow {
    type Message = CompactionMessage;

    fn into_message(self) -> CompactionMessage {
        let Self { ordinal, epoch, at, turn_id, kind } = self;
        CompactionMessage {
            ordinal,
            epoch,
            at: Some(at.into()),
            turn_id: clip(turn_id, WORD),
            kind: word(kind),
        }
    }

    fn from_message(message: CompactionMessage, _: &SessionId) -> Self {
        Self {
            ordinal: message.ordinal,
            epoch: message.epoch,
            at: stamp(message.at),
            turn_id: message.turn_id,
            kind: message.kind,
        }
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ArtifactMessage {
    #[prost(uint32, tag = "1")]
    pub ordinal: u32,
    #[prost(string, tag = "2")]
    pub kind: String,
    #[prost(message, optional, tag = "3")]
    pub at: Option<StampMessage>,
    #[prost(string, optional, tag = "4")]
    pub path: Option<String>,
    #[prost(string, optional, tag = "5")]
    pub sha256: Option<String>,
    #[prost(string, optional, tag = "6")]
    pub base: Option<String>,
}

impl PageItem for ArtifactRow {
    type Message = ArtifactMessage;

    fn into_message(self) -> ArtifactMessage {
        let Self { ordinal, kind, at, path, sha256, base } = self;
        ArtifactMessage {
            ordinal,
            kind: clip(kind, WORD),
            at: Some(at.into()),
            path: clipped(path),
            sha256: word(sha256),
            base: word(base),
        }
    }

    fn from_message(message: ArtifactMessage, _: &SessionId) -> Self {
        Self {
            ordinal: message.ordinal,
            kind: message.kind,
            at: stamp(message.at),
            path: message.path,
            sha256: message.sha256,
            base: message.base,
        }
    }
}
