//! Rows of a session as protobuf messages, and back.
//!
//! Protobuf rather than the rows' own serde form: a page of rows is a third of the size and is written four
//! times as fast, and fields that come later do no harm. Every conversion takes a row apart completely, so that
//! the compiler tells of a field that was forgotten.

/// Makes a row and its message of each other that have the same fields. All are named, so that the compiler tells of
/// one that was forgotten.
macro_rules! alike {
    ($row:ident = $message:ident { $($field:ident),+ $(,)? }) => {
        impl From<$row> for $message {
            fn from($row { $($field),+ }: $row) -> Self {
                Self { $($field),+ }
            }
        }

        impl From<$message> for $row {
            fn from($message { $($field),+ }: $message) -> Self {
                Self { $($field),+ }
            }
        }
    };
}

mod approval;
mod call;
mod mark;
mod part;
mod session;
mod signal;
mod turn;

use trace::SessionId;

pub(crate) use part::PlaceMessage;
pub(crate) use session::{SessionMessage, format_number, format_of};
pub(crate) use signal::{ChangeLogMessage, Numbered};

/// The most bytes of a text that comes from outside. A row must fit the store (8 KiB) whatever stands in it.
const TEXT: usize = 1024;
/// The most bytes of a text that is an id or a word.
const WORD: usize = 256;

/// A key that is all there is to say.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct LinkMessage {}

/// A row that is kept in pages.
pub(crate) trait PageItem: Sized {
    /// What stands in the page.
    type Message: prost::Message + Default;

    fn into_message(self) -> Self::Message;
    /// `session` is the page's own; rows do not repeat it.
    fn from_message(message: Self::Message, session: &SessionId) -> Self;
}

/// Cuts a text between characters.
pub(crate) fn clip(mut text: String, limit: usize) -> String {
    if text.len() > limit {
        text.truncate(text.floor_char_boundary(limit));
    }
    text
}

fn clip_str(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit.min(text.len()))]
}

fn word(text: Option<String>) -> Option<String> {
    text.map(|text| clip(text, WORD))
}

fn clipped(text: Option<String>) -> Option<String> {
    text.map(|text| clip(text, TEXT))
}
