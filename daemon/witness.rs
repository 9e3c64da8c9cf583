//! Who is told of supervised Codex: insight of the run that a session belongs to, and what records the session.

use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::Arc;

use codex::{Testimony, Witness, Work};
use engine::RunId;
use insight::owner::{Owner, Owners};

use crate::recording::Ear;

/// Passes on what it is told.
#[derive(Debug)]
pub(crate) struct Listener {
    owners: Owners,
    /// None where nothing is recorded.
    ear: Option<Arc<Ear>>,
}

impl Listener {
    pub(crate) fn new(owners: Owners, ear: Option<Arc<Ear>>) -> Self {
        Self { owners, ear }
    }
}

impl Witness for Listener {
    fn begun(&self, work: Work) -> Box<dyn Testimony> {
        if let Ok(session) = work.thread.to_string().parse() {
            let owner = Owner { run: RunId(work.run), lineage: work.lineage.clone() };
            self.owners.tell(session, owner);
        }
        match &self.ear {
            Some(ear) => ear.begun(work),
            None => Box::new(Unrecorded),
        }
    }
}

/// Nobody waits for anything.
struct Unrecorded;

impl Testimony for Unrecorded {
    fn ended(self: Box<Self>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(ready(()))
    }
}
