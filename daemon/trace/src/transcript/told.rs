//! What is told more than once.
//!
//! The same words reach a file by several ways: as a submission, as an event, as an item of the model's input.
//! Each way tells each message once, so the n-th telling of a text is new only when no other way has told it n
//! times already.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// By which way a text came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// A submission of the client.
    Submission,
    /// An event.
    Event,
    /// A completed item, told as an event.
    ItemEvent,
    /// An item of the model's input or output.
    Item,
}

/// Who spoke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Voice {
    User,
    Agent,
    Reasoning,
}

/// Texts by who spoke and what they say, with how often each way has told them.
#[derive(Debug, Default)]
pub(super) struct Told(HashMap<(Voice, u64), [u32; 4]>);

impl Told {
    /// Whether a text is news.
    pub(super) fn is_news(&mut self, voice: Voice, way: Way, text: &str) -> bool {
        let counts = self.0.entry((voice, hash(text))).or_default();
        let most = counts.iter().copied().max().unwrap_or(0);
        let own = &mut counts[way as usize];
        *own = own.saturating_add(1);
        *own > most
    }

    /// Whether only the model's items tell a text, of a speaker whose words events tell.
    pub(super) fn is_item_alone(&self, voice: Voice, text: &str) -> bool {
        let by_events = |counts: &[u32; 4]| counts[..Way::Item as usize].iter().any(|count| *count > 0);
        let this = self.0.get(&(voice, hash(text))).is_some_and(by_events);
        !this && self.0.iter().any(|((of, _), counts)| *of == voice && by_events(counts))
    }
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.trim().hash(&mut hasher);
    hasher.finish()
}
