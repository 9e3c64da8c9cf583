//! What rows of all kinds have: times, places, stamps and tokens.

use jiff::Timestamp;
use trace::Place;
use trace::record::TokenCounts;
use trace::session::Stamp;

/// A time: microseconds since the epoch, and the nanoseconds beyond.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct TimeMessage {
    #[prost(sint64, tag = "1")]
    pub micros: i64,
    #[prost(uint32, tag = "2")]
    pub nanos: u32,
}

impl From<Timestamp> for TimeMessage {
    fn from(time: Timestamp) -> Self {
        let nanos = time.as_nanosecond();
        // A timestamp's range is far below that of an i64 in microseconds.
        let micros = i64::try_from(nanos.div_euclid(1000)).unwrap_or_default();
        Self { micros, nanos: u32::try_from(nanos.rem_euclid(1000)).unwrap_or_default() }
    }
}

impl From<TimeMessage> for Timestamp {
    fn from(time: TimeMessage) -> Self {
        Self::from_nanosecond(i128::from(time.micros) * 1000 + i128::from(time.nanos)).unwrap_or_default()
    }
}

pub(super) fn time(time: Option<Timestamp>) -> Option<TimeMessage> {
    time.map(Into::into)
}

pub(super) fn untime(time: Option<TimeMessage>) -> Option<Timestamp> {
    time.map(Into::into)
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct PlaceMessage {
    #[prost(uint32, tag = "1")]
    pub file: u32,
    #[prost(uint64, tag = "2")]
    pub line: u64,
    #[prost(uint64, tag = "3")]
    pub offset: u64,
    #[prost(uint32, tag = "4")]
    pub len: u32,
}

impl From<Place> for PlaceMessage {
    fn from(Place { file, line, offset, len }: Place) -> Self {
        Self { file, line, offset, len }
    }
}

impl From<PlaceMessage> for Place {
    fn from(PlaceMessage { file, line, offset, len }: PlaceMessage) -> Self {
        Self { file, line, offset, len }
    }
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct StampMessage {
    #[prost(uint64, tag = "1")]
    pub seq: u64,
    #[prost(sint64, optional, tag = "2")]
    pub micros: Option<i64>,
    #[prost(uint32, tag = "3")]
    pub nanos: u32,
    #[prost(uint32, tag = "4")]
    pub file: u32,
    #[prost(uint64, tag = "5")]
    pub line: u64,
    #[prost(uint64, tag = "6")]
    pub offset: u64,
    #[prost(uint32, tag = "7")]
    pub len: u32,
}

impl From<Stamp> for StampMessage {
    fn from(Stamp { seq, time, place: Place { file, line, offset, len } }: Stamp) -> Self {
        let time = time.map(TimeMessage::from);
        let (micros, nanos) = (time.map(|time| time.micros), time.map_or(0, |time| time.nanos));
        Self { seq, micros, nanos, file, line, offset, len }
    }
}

impl From<StampMessage> for Stamp {
    fn from(StampMessage { seq, micros, nanos, file, line, offset, len }: StampMessage) -> Self {
        let time = micros.map(|micros| TimeMessage { micros, nanos }.into());
        Self { seq, time, place: Place { file, line, offset, len } }
    }
}

pub(super) fn stamp(stamp: Option<StampMessage>) -> Stamp {
    stamp.map_or(Stamp { seq: 0, time: None, place: Place::default() }, Into::into)
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct TokensMessage {
    #[prost(uint64, tag = "1")]
    pub input: u64,
    #[prost(uint64, tag = "2")]
    pub cached_input: u64,
    #[prost(uint64, tag = "3")]
    pub output: u64,
    #[prost(uint64, tag = "4")]
    pub reasoning: u64,
}

alike!(TokenCounts = TokensMessage { input, cached_input, output, reasoning });
