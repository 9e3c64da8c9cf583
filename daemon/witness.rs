//! Who is told of supervised Codex: insight of the run that a session belongs to, what records the session, and what
//! keeps bundles in bounds.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use codex::{Testimony, Witness, Work};
use engine::RunId;
use futures_util::future::{OptionFuture, join};
use insight::owner::{Owner, Owners};
use tokio::time::timeout;

use crate::bundles::{Notebook, Noting};
use crate::recording::Ear;

/// How long the end of a process waits for what is known of it to be stored. That takes milliseconds, as long as the
/// daemon is well.
const PATIENCE: Duration = Duration::from_secs(10);

/// Passes on what it is told.
#[derive(Debug)]
pub(crate) struct Listener {
    owners: Owners,
    bundles: Notebook,
    /// None where nothing is recorded.
    ear: Option<Arc<Ear>>,
}

impl Listener {
    pub(crate) fn new(owners: Owners, bundles: Notebook, ear: Option<Arc<Ear>>) -> Self {
        Self { owners, bundles, ear }
    }
}

impl Witness for Listener {
    fn begun(&self, work: Work) -> Box<dyn Testimony> {
        let session = work.thread.to_string().parse();
        let owner = Owner { run: RunId(work.run), lineage: work.lineage.clone() };
        let owned = session.ok().map(|session| self.owners.tell(session, owner));
        let noting = self.bundles.begun(&work);
        let recorded = self.ear.as_ref().map(|ear| ear.begun(work));
        Box::new(Heard { owned, noting, recorded })
    }
}

/// What is still to be taken in. A run whose end is stored tells no daemon of its processes again, so its end waits.
struct Heard<F> {
    owned: Option<F>,
    noting: Option<Noting>,
    recorded: Option<Box<dyn Testimony>>,
}

impl<F: Future<Output = ()> + Send + 'static> Testimony for Heard<F> {
    fn ended(self: Box<Self>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let Self { owned, noting, recorded } = *self;
        let owned = OptionFuture::from(owned);
        let noted = OptionFuture::from(noting.map(Noting::ended));
        let stored = timeout(PATIENCE, join(owned, noted));
        let recorded = OptionFuture::from(recorded.map(Testimony::ended));
        Box::pin(async move {
            if join(stored, recorded).await.0.is_err() {
                tracing::warn!(
                    "what is known of a process of Codex is not stored in time, and is not waited for"
                );
            }
        })
    }
}
