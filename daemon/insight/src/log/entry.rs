//! Changes, as they stand in the pages of the log.

use jiff::Timestamp;
use prost::Message as _;
use trace::SessionId;
use uuid::Uuid;

use crate::ingest::session::Change;
use crate::owner::{lineage_bytes, lineage_of};
use crate::signal::{SignalId, SignalType};
use crate::store::message::{ChangeLogMessage, Numbered, PageItem as _};
use crate::view::{Phase, SignalChange};

/// Changes of which none is news, as they will stand in the log: nobody waits for them, so they need not be kept in
/// memory, and the one task that stores need not make messages of them.
#[derive(Default)]
pub(crate) struct Past {
    /// Their messages, one behind the other.
    bytes: Vec<u8>,
    /// What each of them tells of, and where it ends.
    changes: Vec<(Phase, usize)>,
}

impl Past {
    pub(crate) fn of(changes: &[Change], told_at: Timestamp) -> Self {
        let mut past = Self::default();
        for change in changes {
            // A vector takes all that it is given.
            let _ = message(change, told_at, &[]).encode_length_delimited(&mut past.bytes);
            past.changes.push((change.phase, past.bytes.len()));
        }
        past
    }

    /// How many changes there are.
    pub(crate) fn len(&self) -> u64 {
        self.changes.len() as u64
    }

    /// How many signals have come to this.
    pub(crate) fn count(&self, phase: Phase) -> u64 {
        self.changes.iter().filter(|(its, _)| *its == phase).count() as u64
    }

    pub(super) fn messages(&self) -> impl Iterator<Item = &[u8]> {
        let mut begin = 0;
        self.changes
            .iter()
            .filter_map(move |(_, end)| self.bytes.get(std::mem::replace(&mut begin, *end)..*end))
    }
}

/// A change, as a watcher sees it.
pub(super) fn numbered(change: Change, number: u64, told_at: Timestamp, lineage: Vec<Uuid>) -> SignalChange {
    let Change { phase, signal, live, .. } = change;
    SignalChange {
        number,
        told_at,
        phase,
        session: signal.session_id.clone(),
        id: signal.id.clone(),
        kind: signal.kind,
        category: signal.category.clone(),
        severity: signal.severity,
        live,
        lineage,
        signal: Some(signal),
    }
}

pub(super) fn message(change: &Change, told_at: Timestamp, lineage: &[Uuid]) -> ChangeLogMessage {
    let Change { phase, ordinal, signal, live, .. } = change;
    let withdrawn = || Numbered { ordinal: *ordinal, signal: signal.clone() }.into_message();
    ChangeLogMessage {
        session: signal.session_id.to_string(),
        id: signal.id.0.clone(),
        phase: match phase {
            Phase::Raised => 0,
            Phase::Withdrawn => 1,
            Phase::Settled => 2,
        },
        told_at: told_at.as_microsecond(),
        delight: signal.kind == SignalType::Delight,
        category: signal.category.clone(),
        severity: signal.severity,
        live: *live,
        ordinal: *ordinal,
        withdrawn: (*phase == Phase::Withdrawn).then(withdrawn),
        lineage: lineage_bytes(lineage),
    }
}

pub(super) fn read(number: u64, message: ChangeLogMessage) -> Option<SignalChange> {
    let session: SessionId = message.session.parse().ok()?;
    let withdrawn = message.withdrawn.map(|withdrawn| Numbered::from_message(withdrawn, &session).signal);
    Some(SignalChange {
        number,
        told_at: Timestamp::from_microsecond(message.told_at).unwrap_or_default(),
        phase: match message.phase {
            0 => Phase::Raised,
            1 => Phase::Withdrawn,
            _ => Phase::Settled,
        },
        session,
        id: SignalId(message.id),
        kind: if message.delight { SignalType::Delight } else { SignalType::Friction },
        category: message.category,
        severity: message.severity,
        live: message.live,
        lineage: lineage_of(&message.lineage),
        signal: withdrawn,
    })
}
