//! Following the homes: what is written to is asked for.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};

use tokio_util::sync::CancellationToken;
use trace::source::Catalog;
use trace::{Hint, Hints, SessionId, Tail};

use super::Service;
use crate::ingest::board::Tracker;
use crate::ingest::files;
use crate::ingest::queue::Urgency;
use crate::settings::Retention;

impl Service {
    /// Follows the homes: what is written to is read.
    pub(super) async fn follow(self: Arc<Self>, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let catalog = self.catalog();
            let settings =
                trace::Settings { rescan_every: self.settings().poll_interval, ..trace::Settings::default() };
            let hints = match Tail::start(Arc::clone(&catalog), settings) {
                Ok((tail, hints)) => {
                    let mut place = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
                    // Whoever halts this says so first and then takes what is here: nobody would take it any more.
                    if self.ended.is_cancelled() {
                        return;
                    }
                    *place = Some(tail);
                    hints
                }
                Err(error) => return self.fail(&format!("the homes cannot be followed: {error}")),
            };
            let service = Arc::clone(&self);
            let taking = tokio::task::spawn_blocking(move || service.take_hints(&catalog, &hints));
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.homes_changed.notified() => {}
            }
            // Its threads are waited for, and then there are no more hints.
            let tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner).take();
            let _ = tokio::task::spawn_blocking(move || drop(tail)).await;
            let _ = taking.await;
        }
    }

    /// Passes on what the tail says.
    fn take_hints(&self, catalog: &Arc<Catalog>, hints: &Hints) {
        let mut first_look = true;
        while let Some(hint) = hints.recv() {
            match hint {
                Hint::Session(id) => {
                    // The first look names all sessions, most of which are as the store knows them: to compare is
                    // less than loading them from there. Later on, a session that is named was written to.
                    let source = first_look.then(|| catalog.source(&id)).flatten();
                    let read = source.as_ref().map(files::fingerprint_of_source);
                    self.board.ask(&self.queue, &id, catalog, Urgency::Now, read, None);
                }
                Hint::Rescan => {
                    first_look = false;
                    self.take_up(catalog);
                }
                Hint::Problem(problem) => tracing::warn!("{problem}"),
            }
        }
    }

    /// After the first look, which has named all that is there: what has gone while nobody looked, and what has yet
    /// to settle. Homes that were read once and are not watched are looked at only for the latter.
    fn take_up(&self, watched: &Arc<Catalog>) {
        let elsewhere = self.elsewhere.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for catalog in std::iter::once(watched).chain(&elsewhere) {
            let sessions = self.board.of(catalog);
            if !Arc::ptr_eq(catalog, watched) {
                if sessions.iter().all(|(_, _, settles_at)| settles_at.is_none()) {
                    continue;
                }
                // Of such a home, others may never have been asked for.
                let known: HashSet<_> = sessions.iter().map(|(id, ..)| id).collect();
                catalog.scan(&mut |id| {
                    if known.contains(id) {
                        self.compare(catalog, id, None);
                    }
                });
            }
            let there: HashSet<_> = catalog.ids().into_iter().collect();
            let leaves = !matches!(self.settings().retention, Retention::Keep);
            for (id, gone, settles_at) in sessions {
                if !there.contains(&id) && (!gone || leaves) {
                    self.board.ask(&self.queue, &id, catalog, Urgency::Backlog, None, None);
                } else if let Some(at) = settles_at {
                    // Nobody watches the clock any more: then nothing is due.
                    let _ = self.alarms.send((at, id));
                }
            }
        }
    }

    /// Looks at all files of a catalog's homes, and asks for the sessions that have changed.
    pub(super) fn scan(&self, catalog: &Arc<Catalog>) {
        catalog.scan(&mut |id| {
            self.compare(catalog, id, None);
        });
    }

    /// Asks for a session if its files, when they were scanned, were not as they were when they were read. Says
    /// whether it did.
    pub(super) fn compare(
        &self,
        catalog: &Arc<Catalog>,
        id: &SessionId,
        tracker: Option<&Arc<Tracker>>,
    ) -> bool {
        let source = catalog.source(id);
        let read = source.as_ref().map(files::fingerprint_of_source);
        let asked = self.board.ask(&self.queue, id, catalog, Urgency::Backlog, read, tracker);
        if asked && let Some(tracker) = tracker {
            let bytes = source.map_or(0, |source| source.bytes());
            tracker.update(|progress| {
                progress.sessions_total += 1;
                progress.bytes_total += bytes;
            });
        }
        asked
    }
}
