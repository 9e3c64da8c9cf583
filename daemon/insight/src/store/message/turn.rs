//! Turns.

use trace::SessionId;
use trace::record::TokenCounts;
use trace::session::{Turn, TurnEnd};

use super::part::{PlaceMessage, StampMessage, TokensMessage, stamp};
use super::{PageItem, WORD, clip, word};

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct TurnMessage {
    #[prost(uint32, tag = "1")]
    pub ordinal: u32,
    #[prost(uint32, tag = "2")]
    pub epoch: u32,
    #[prost(string, tag = "3")]
    pub id: String,
    #[prost(message, optional, tag = "4")]
    pub started: Option<StampMessage>,
    #[prost(message, optional, tag = "5")]
    pub ended: Option<StampMessage>,
    /// 0 open, 1 complete, 2 failed, 3 aborted, 4 cut.
    #[prost(uint32, tag = "6")]
    pub end: u32,
    /// The tag of a failure, the reason of an abort.
    #[prost(string, optional, tag = "7")]
    pub end_text: Option<String>,
    #[prost(string, optional, tag = "8")]
    pub user_message: Option<String>,
    #[prost(message, optional, tag = "9")]
    pub user_place: Option<PlaceMessage>,
    #[prost(string, optional, tag = "10")]
    pub model: Option<String>,
    #[prost(string, optional, tag = "11")]
    pub approval_policy: Option<String>,
    #[prost(string, optional, tag = "12")]
    pub sandbox_policy: Option<String>,
    #[prost(uint32, tag = "13")]
    pub requests: u32,
    #[prost(uint32, tag = "14")]
    pub calls: u32,
    #[prost(uint32, tag = "15")]
    pub context: u32,
    #[prost(message, optional, tag = "16")]
    pub tokens: Option<TokensMessage>,
}

impl PageItem for Turn {
    type Message = TurnMessage;

    fn into_message(self) -> TurnMessage {
        let Self {
            ordinal,
            epoch,
            id,
            started,
            ended,
            end,
            user_message,
            user_place,
            model,
            approval_policy,
            sandbox_policy,
            requests,
            calls,
            context,
            tokens,
        } = self;
        let (end, end_text) = match end {
            TurnEnd::Open => (0, None),
            TurnEnd::Complete => (1, None),
            TurnEnd::Failed { info } => (2, info),
            TurnEnd::Aborted { reason } => (3, Some(reason)),
            TurnEnd::Cut => (4, None),
        };
        TurnMessage {
            ordinal,
            epoch,
            id: clip(id, WORD),
            started: Some(started.into()),
            ended: ended.map(Into::into),
            end,
            end_text: word(end_text),
            user_message,
            user_place: user_place.map(Into::into),
            model: word(model),
            approval_policy: word(approval_policy),
            sandbox_policy: word(sandbox_policy),
            requests,
            calls,
            context,
            tokens: (tokens != TokenCounts::default()).then(|| tokens.into()),
        }
    }

    fn from_message(message: TurnMessage, _: &SessionId) -> Self {
        Self {
            ordinal: message.ordinal,
            epoch: message.epoch,
            id: message.id,
            started: stamp(message.started),
            ended: message.ended.map(Into::into),
            end: match message.end {
                1 => TurnEnd::Complete,
                2 => TurnEnd::Failed { info: message.end_text },
                3 => TurnEnd::Aborted { reason: message.end_text.unwrap_or_default() },
                4 => TurnEnd::Cut,
                _ => TurnEnd::Open,
            },
            user_message: message.user_message,
            user_place: message.user_place.map(Into::into),
            model: message.model,
            approval_policy: message.approval_policy,
            sandbox_policy: message.sandbox_policy,
            requests: message.requests,
            calls: message.calls,
            context: message.context,
            tokens: message.tokens.map(Into::into).unwrap_or_default(),
        }
    }
}
