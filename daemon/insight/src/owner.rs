//! Which run a session belongs to, where Codex is supervised.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engine::RunId;
use engine::store::{Batch, Order, Reader, StoreError};
use tokio::sync::{Notify, oneshot};
use trace::SessionId;
use trace::session::{Session, is_sub_agent};
use uuid::Uuid;

use crate::store::tables::{OwnerRow, Owners as OwnersTable, Sessions};

/// How many sessions are remembered. Of older ones nothing comes any more.
const KEPT: usize = 4096;

/// How deep sub-agents may be nested to be looked through. Files can say anything, also that two sessions started each
/// other.
const DEEPEST: usize = 32;

/// The run whose Codex works on a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The run.
    pub run: RunId,
    /// The schedules that led to it: none of them may be set off by what happens in the session, or it would go on
    /// for ever.
    pub lineage: Vec<Uuid>,
}

/// The owners of sessions. Clones share them.
///
/// What is told is stored with what comes of sessions next, or by itself if nothing comes. Sub-agents need not be told
/// of: they belong to the run of the session that started them.
#[derive(Clone, Debug, Default)]
pub struct Owners(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    known: Mutex<Known>,
    told: Notify,
}

#[derive(Debug, Default)]
struct Known {
    owners: HashMap<SessionId, (u64, Owner)>,
    /// By the order of telling.
    order: BTreeMap<u64, SessionId>,
    /// The number of the next telling.
    next: u64,
    /// Whose row is not as it is here.
    unsaved: BTreeSet<SessionId>,
    waiting: Vec<oneshot::Sender<Infallible>>,
    /// Whether nothing is stored any more.
    closed: bool,
}

/// Rows on their way to the store. Who waits for them waits until this is dropped.
pub(crate) struct Saving {
    rows: Vec<(String, Option<OwnerRow>)>,
    _waiting: Vec<oneshot::Sender<Infallible>>,
}

/// What a session's records say of those that it stands in a line with.
#[derive(Clone, Debug)]
pub(crate) struct Kin {
    /// The session that started this one, for a sub-agent. A fork is nobody's: people fork what a run has left.
    starter: Option<SessionId>,
    /// Sessions that this one started.
    started: Vec<SessionId>,
}

impl Kin {
    pub(crate) fn of(session: Session) -> Self {
        let starter = session.parent.filter(|_| is_sub_agent(&session.source));
        Self { starter, started: session.children }
    }
}

impl Owners {
    /// Takes in that a run works on a session. A session that is resumed by another run belongs to that one. What is
    /// returned resolves when it is stored, or when nothing is stored any more.
    pub fn tell(&self, session: SessionId, owner: Owner) -> impl Future<Output = ()> + Send + use<> {
        let (waiting, stored) = oneshot::channel();
        let mut known = self.known();
        known.tell(session, owner);
        if !known.closed {
            known.waiting.push(waiting);
        }
        drop(known);
        self.0.told.notify_one();
        // Nothing is ever sent.
        async { drop(stored.await) }
    }

    /// Takes up what the store has, behind what was told already.
    pub(crate) fn load(&self, reader: &Reader) -> Result<(), StoreError> {
        let stored = reader.scan::<OwnersTable>(.., Order::Ascending).collect::<Result<Vec<_>, _>>()?;
        let mut known = self.known();
        let (told, order) = (std::mem::take(&mut known.owners), std::mem::take(&mut known.order));
        known.closed = false;
        for (session, row) in stored {
            let (Ok(session), Some(owner)) = (session.parse::<SessionId>(), row.owner()) else { continue };
            known.next = known.next.max(row.number.saturating_add(1));
            known.order.insert(row.number, session.clone());
            known.owners.insert(session, (row.number, owner));
        }
        for session in order.into_values() {
            if let Some((_, owner)) = told.get(&session) {
                known.tell(session, owner.clone());
            }
        }
        Ok(())
    }

    /// Resolves when there is something to be stored.
    pub(crate) async fn told(&self) {
        self.0.told.notified().await;
    }

    /// What is to be stored.
    pub(crate) fn save(&self) -> Saving {
        let mut known = self.known();
        let rows = std::mem::take(&mut known.unsaved).into_iter().map(|session| {
            let row = known.owners.get(&session).map(|(number, owner)| OwnerRow::of(*number, owner));
            (session.as_str().to_owned(), row)
        });
        let rows = rows.collect();
        Saving { rows, _waiting: std::mem::take(&mut known.waiting) }
    }

    /// Nothing is stored any more.
    pub(crate) fn close(&self) {
        let mut known = self.known();
        known.closed = true;
        known.waiting.clear();
    }

    /// The run that a session belongs to, or else the session that started it. `kin` are sessions of which the store
    /// may know nothing yet.
    pub(crate) fn of(
        &self,
        session: &SessionId,
        kin: &HashMap<SessionId, Kin>,
        reader: &Reader,
    ) -> Result<Option<Owner>, StoreError> {
        let mut asked = session.clone();
        for _ in 0..DEEPEST {
            if let Some((_, owner)) = self.known().owners.get(&asked) {
                return Ok(Some(owner.clone()));
            }
            let starter = match kin.get(&asked) {
                Some(kin) => kin.starter.clone(),
                None => stored_starter(reader, &asked)?,
            };
            let Some(starter) = starter else { break };
            asked = starter;
        }
        Ok(None)
    }

    /// Takes in what sessions that belong to runs have started. Not every sub-agent's own records say by whom it was:
    /// a review's do not.
    pub(crate) fn follow(&self, kin: &HashMap<SessionId, Kin>, reader: &Reader) -> Result<(), StoreError> {
        for (session, kin_of_session) in kin.iter().filter(|(_, kin)| !kin.started.is_empty()) {
            let Some(owner) = self.of(session, kin, reader)? else { continue };
            let mut known = self.known();
            for started in &kin_of_session.started {
                if !known.owners.contains_key(started) {
                    known.tell(started.clone(), owner.clone());
                }
            }
        }
        Ok(())
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Changes under the lock are simple and do not panic half-way.
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn tell(&mut self, session: SessionId, owner: Owner) {
        let number = self.next;
        self.next += 1;
        if let Some((before, _)) = self.owners.insert(session.clone(), (number, owner)) {
            self.order.remove(&before);
        }
        self.order.insert(number, session.clone());
        self.unsaved.insert(session);
        while self.order.len() > KEPT
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.owners.remove(&oldest);
            self.unsaved.insert(oldest);
        }
    }
}

impl Saving {
    /// Puts the rows into the batch that stores them.
    pub(crate) fn put(&self, batch: &mut Batch) {
        for (session, row) in &self.rows {
            match row {
                Some(row) => batch.put::<OwnersTable>(session, row),
                None => batch.delete::<OwnersTable>(session),
            }
        }
    }
}

impl OwnerRow {
    fn of(number: u64, owner: &Owner) -> Self {
        Self { number, run: owner.run.0.as_bytes().to_vec(), lineage: lineage_bytes(&owner.lineage) }
    }

    fn owner(&self) -> Option<Owner> {
        let run = RunId(Uuid::from_slice(&self.run).ok()?);
        Some(Owner { run, lineage: lineage_of(&self.lineage) })
    }
}

/// A lineage as rows have it: 16 bytes for each schedule.
pub(crate) fn lineage_bytes(lineage: &[Uuid]) -> Vec<u8> {
    lineage.iter().flat_map(|schedule| *schedule.as_bytes()).collect()
}

/// What [`lineage_bytes`] was made of.
pub(crate) fn lineage_of(bytes: &[u8]) -> Vec<Uuid> {
    bytes.as_chunks::<16>().0.iter().map(|id| Uuid::from_bytes(*id)).collect()
}

fn stored_starter(reader: &Reader, session: &SessionId) -> Result<Option<SessionId>, StoreError> {
    let Some(row) = reader.get::<Sessions>(&session.as_str().to_owned())? else { return Ok(None) };
    let starter = row.parent.filter(|_| is_sub_agent(&row.source));
    Ok(starter.and_then(|starter| starter.parse().ok()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_sessions_told_of_last_are_remembered_and_the_others_rows_removed() {
        let owners = Owners::default();
        let owner = Owner { run: RunId(Uuid::nil()), lineage: vec![Uuid::nil()] };
        let session = |number: usize| -> SessionId { format!("session-{number}").parse().unwrap() };
        let tell = |number| drop(owners.tell(session(number), owner.clone()));
        (0..KEPT).for_each(tell);
        assert_eq!(owners.save().rows.len(), KEPT);
        tell(0);
        tell(KEPT);
        let known = [0, 1, KEPT].map(|number| owners.known().owners.contains_key(&session(number)));
        assert_eq!(known, [true, false, true]);
        let rows = owners.save().rows;
        let removed: Vec<_> =
            rows.iter().filter(|(_, row)| row.is_none()).map(|(id, _)| id.as_str()).collect();
        assert_eq!((rows.len(), removed), (3, vec!["session-1"]));
    }

    #[test]
    fn a_row_gives_back_the_owner() {
        let owner = Owner { run: RunId(Uuid::from_u128(1)), lineage: vec![Uuid::from_u128(2), Uuid::nil()] };
        assert_eq!(OwnerRow::of(7, &owner).owner(), Some(owner));
    }
}
