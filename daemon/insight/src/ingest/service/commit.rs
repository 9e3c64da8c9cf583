//! The task that stores: batches of several sessions in one commit, with the events that tell of them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering as Memory;
use std::time::Duration;

use engine::NewEvent;
use engine::store::{Batch, StoreError};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use trace::SessionId;

use super::Service;
use crate::ingest::board::Outcome;
use crate::ingest::queue::COMMIT;
use crate::ingest::session::{Change, Changes, Part};
use crate::log::Entry;
use crate::owner::{Kin, Owner};
use crate::view::Phase;

/// How many changes of rows go into one commit before it is made.
const ROWS_OF_A_COMMIT: usize = 2000;

/// How long history may wait for more of it to share its commit. A commit costs the same few wake-ups and syncs
/// whatever is in it, so that a first reading of a home spends a tenth less time with fewer of them.
const GATHER: Duration = Duration::from_millis(15);

/// How many bytes are stored before memory is given back when there is nothing more to store: what a first reading of
/// a home leaves behind, and not what a day's work does.
const BURST: usize = 2 << 20;

/// How long nothing must have come for that.
const QUIET: Duration = Duration::from_secs(1);

/// A part on its way to the store, and what is to be done when it is there.
pub(super) struct Sent {
    id: SessionId,
    batch: Batch,
    size: usize,
    changes: Changes,
    events: Vec<NewEvent>,
    kin: Option<Kin>,
    outcome: Outcome,
    /// Whether it is of a session that is being watched, so that somebody may wait for it.
    news: bool,
}

impl Service {
    pub(super) fn send(&self, id: &SessionId, part: Option<Part>, outcome: Outcome, news: bool) {
        let Some(part) = part else { return self.finish(id, outcome) };
        if let Some(error) = part.batch.defect() {
            // The others of its commit would go with it, and the service after them.
            let error = error as &dyn std::error::Error;
            tracing::error!(session = %id, error, "a session cannot be stored: this is a fault of the program");
            return self.finish(id, Outcome::given_up(outcome.read));
        }
        self.gauges.bytes.fetch_add(part.bytes, Memory::Relaxed);
        self.gauges.records.fetch_add(part.records, Memory::Relaxed);
        self.board.told(id, part.bytes);
        let size = part.batch.size();
        let Part { batch, changes, events, kin, .. } = part;
        // Before the part itself, which may be stored, and its bytes taken off again, as soon as it is there.
        self.queue.sent(size, news);
        // Fails only when nothing is stored any more.
        let _ = self.parts.send(Sent { id: id.clone(), batch, size, changes, events, kin, outcome, news });
    }

    pub(super) fn finish(&self, id: &SessionId, outcome: Outcome) {
        if let Some(at) = outcome.deadline {
            // Nobody watches the clock any more: then nothing is due.
            let _ = self.alarms.send((at, id.clone()));
        }
        self.board.give_back(&self.queue, id, outcome);
    }

    /// Stores what was read: as much at once as waits. So two hundred sessions that are written at once share a
    /// commit, and each is told as soon as its own is on disk. Only where all of it is history, a moment is waited
    /// for more.
    pub(super) async fn store(
        self: Arc<Self>,
        mut parts: mpsc::UnboundedReceiver<Sent>,
        ending: CancellationToken,
    ) {
        let mut since_quiet = 0;
        loop {
            let first = tokio::select! {
                biased;
                part = parts.recv() => match part {
                    Some(part) => part,
                    None => return,
                },
                () = self.owners.told() => {
                    if let Err(error) = self.commit_owners().await {
                        self.fail(&error.to_string());
                        return;
                    }
                    continue;
                }
                () = ending.cancelled() => return,
                () = sleep(QUIET), if since_quiet >= BURST => {
                    since_quiet = 0;
                    self.engine.give_memory_back().await;
                    continue;
                }
            };
            if !first.news {
                let _ = timeout(GATHER, self.queue.gathered()).await;
            }
            let (mut rows, mut bytes) = (first.batch.len(), first.size);
            let mut group = vec![first];
            while rows < ROWS_OF_A_COMMIT
                && bytes < COMMIT
                && let Ok(part) = parts.try_recv()
            {
                rows += part.batch.len();
                bytes += part.size;
                group.push(part);
            }
            since_quiet += bytes;
            if let Err(error) = self.commit(group, bytes).await {
                self.fail(&error.to_string());
                return;
            }
        }
    }

    /// Stores who has told of a session, where nothing has come of sessions since.
    async fn commit_owners(&self) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        let saving = self.owners.save();
        saving.put(&mut batch);
        if !batch.is_empty() {
            self.engine.commit(batch, Vec::new()).await?;
        }
        Ok(())
    }

    async fn commit(&self, group: Vec<Sent>, bytes: usize) -> Result<(), StoreError> {
        let now = self.engine.now();
        let (mut batch, mut events, mut changes, mut done) =
            (Batch::new(), Vec::new(), Vec::new(), Vec::new());
        let mut kin = HashMap::with_capacity(group.len());
        for part in group {
            batch.append(part.batch);
            events.extend(part.events);
            changes.push(part.changes);
            kin.extend(part.kin.map(|kin| (part.id.clone(), kin)));
            done.push((part.id, part.outcome));
        }
        self.owners.follow(&kin, &self.reader)?;
        let saving = self.owners.save();
        saving.put(&mut batch);
        let count = |phase| changes.iter().map(|changes| changes.count(phase)).sum();
        let (raised, withdrawn) = (count(Phase::Raised), count(Phase::Withdrawn));
        let entries = self.entries(changes, &kin, &mut events)?;
        let numbering = self.log.number(&mut batch, entries, now, self.settings().keep_changes)?;
        self.engine.commit(batch, events).await?;
        self.log.publish(numbering);
        self.gauges.commits.fetch_add(1, Memory::Relaxed);
        self.gauges.raised.fetch_add(raised, Memory::Relaxed);
        self.gauges.withdrawn.fetch_add(withdrawn, Memory::Relaxed);
        for (id, outcome) in done {
            self.finish(&id, outcome);
        }
        self.queue.stored(bytes);
        Ok(())
    }

    /// What is to be numbered; of what is news, an event is added as well.
    fn entries(
        &self,
        changes: Vec<Changes>,
        kin: &HashMap<SessionId, Kin>,
        events: &mut Vec<NewEvent>,
    ) -> Result<Vec<Entry>, StoreError> {
        let mut entries = Vec::with_capacity(changes.len());
        let mut number = self.log.last() + 1;
        for changes in changes {
            match changes {
                Changes::Past(past) => {
                    number += past.len();
                    entries.push(Entry::Past(past));
                }
                Changes::News(changes) => {
                    for change in changes {
                        let mut lineage = Vec::new();
                        if change.live {
                            let owner = self.owners.of(&change.signal.session_id, kin, &self.reader)?;
                            events.push(event(number, &change, owner.as_ref()));
                            lineage = owner.map(|owner| owner.lineage).unwrap_or_default();
                        }
                        number += 1;
                        entries.push(Entry::Change { change, lineage });
                    }
                }
            }
        }
        Ok(entries)
    }
}

/// The event that tells of a change.
fn event(number: u64, change: &Change, owner: Option<&Owner>) -> NewEvent {
    let signal = &change.signal;
    let kind = match change.phase {
        Phase::Raised => "signal.raised",
        Phase::Withdrawn => "signal.withdrawn",
        Phase::Settled => "signal.settled",
    };
    let data = json!({
        "number": number,
        "id": signal.id,
        "type": signal.kind,
        "category": signal.category,
        "severity": signal.severity,
        "session": signal.session_id,
        "turn_id": signal.turn_id,
        "call_id": signal.call_id,
        "seq_start": signal.seq_start,
        "seq_end": signal.seq_end,
        "description": signal.description.get(..signal.description.floor_char_boundary(500)),
        "at": signal.at,
        "settled": signal.settled,
        "run": owner.map(|owner| owner.run.to_string()),
        "lineage": owner.map(|owner| owner.lineage.as_slice()).unwrap_or_default(),
    });
    NewEvent { kind: kind.to_owned(), data }
}
