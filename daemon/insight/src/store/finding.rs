//! What could not be read of a session.

use trace::{Place, SessionId};

use super::message::{PageItem, PlaceMessage, clip};
use super::page::Packed;

/// Something that could not be read, or is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FindingRow {
    /// Its number in the session.
    pub(crate) ordinal: u32,
    pub(crate) place: Place,
    pub(crate) error: bool,
    pub(crate) code: String,
    pub(crate) message: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct FindingMessage {
    #[prost(uint32, tag = "1")]
    pub ordinal: u32,
    #[prost(message, optional, tag = "2")]
    pub place: Option<PlaceMessage>,
    #[prost(bool, tag = "3")]
    pub error: bool,
    #[prost(string, tag = "4")]
    pub code: String,
    #[prost(string, tag = "5")]
    pub message: String,
}

impl PageItem for FindingRow {
    type Message = FindingMessage;

    fn into_message(self) -> FindingMessage {
        let Self { ordinal, place, error, code, message } = self;
        FindingMessage { ordinal, place: Some(place.into()), error, code, message: clip(message, 512) }
    }

    fn from_message(message: FindingMessage, _: &SessionId) -> Self {
        Self {
            ordinal: message.ordinal,
            place: message.place.map(Into::into).unwrap_or_default(),
            error: message.error,
            code: message.code,
            message: message.message,
        }
    }
}

impl Packed for FindingRow {
    fn ordinal(&self) -> u32 {
        self.ordinal
    }
}
