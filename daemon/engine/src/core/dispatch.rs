//! Who starts next: slots, priorities and leases.

use crate::run::{LeaseKey, RunEvent, RunId};

use super::{Core, Lease, Tx};

impl Core {
    /// The first run of the queue that has a slot and whose leases are free.
    fn next_admissible(&self) -> Option<RunId> {
        if self.paused || self.slots_used() >= self.settings.slots {
            return None;
        }
        self.queue.iter().map(|(_, run)| *run).find(|run| {
            let Some(active) = self.runs.get(run) else { return false };
            let kind = active.run.kind.as_str();
            let used = self.running.get(kind).copied().unwrap_or_default();
            let has_slot = self.settings.slots_of(kind).is_none_or(|limit| used < limit);
            has_slot && self.obstacle(*run, &active.run.leases).is_none()
        })
    }

    /// The first of these leases that somebody else holds, and who.
    pub(crate) fn obstacle<'a>(&self, run: RunId, wanted: &'a [LeaseKey]) -> Option<(&'a LeaseKey, RunId)> {
        let mut line = None;
        wanted.iter().find_map(|key| {
            let holder = self.leases.get(key)?.run;
            let line = line.get_or_insert_with(|| self.ancestry(run));
            (!line.contains(&holder)).then_some((key, holder))
        })
    }
}

impl Tx<'_> {
    /// Starts what can be started.
    pub(super) fn dispatch(&mut self) {
        while let Some(run) = self.core.next_admissible() {
            self.take_leases(run);
            if self.transition(run, RunEvent::Admitted).is_err() {
                // It is in the queue, so it can be admitted; were it not so, it must not be
                // offered for ever.
                self.core.queue.retain(|(_, queued)| *queued != run);
            }
        }
    }

    fn take_leases(&mut self, run: RunId) {
        let now = self.now;
        let Some(active) = self.core.runs.get(&run) else { return };
        for key in active.run.leases.clone() {
            if self.core.leases.contains_key(&key) {
                continue;
            }
            self.put_lease(&key, run);
            self.event(Some(run), "lease.taken", serde_json::json!({ "key": key }));
            self.core.leases.insert(key, Lease { run, taken_at: now });
        }
    }
}
