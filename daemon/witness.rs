//! Who is told of supervised Codex: insight of the run that a session belongs to, and what records the session.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use codex::{Testimony, Witness, Work};
use engine::RunId;
use futures_util::future::join;
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
        let session = work.thread.to_string().parse();
        let owner = Owner { run: RunId(work.run), lineage: work.lineage.clone() };
        let owned = session.ok().map(|session| self.owners.tell(session, owner));
        let recorded = self.ear.as_ref().map(|ear| ear.begun(work));
        Box::new(Heard { owned, recorded })
    }
}

/// What is still to be taken in. A run whose end is stored tells no daemon of its sessions again, so its end waits.
struct Heard<F> {
    owned: Option<F>,
    recorded: Option<Box<dyn Testimony>>,
}

impl<F: Future<Output = ()> + Send + 'static> Testimony for Heard<F> {
    fn ended(self: Box<Self>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let Self { owned, recorded } = *self;
        let recorded = recorded.map(Testimony::ended);
        Box::pin(async move {
            let recorded = async {
                if let Some(recorded) = recorded {
                    recorded.await;
                }
            };
            let owned = async {
                if let Some(owned) = owned {
                    owned.await;
                }
            };
            join(recorded, owned).await;
        })
    }
}
