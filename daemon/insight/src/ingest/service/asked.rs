//! What somebody wants to be read now: all homes, some of them, or single sessions.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use trace::SessionId;
use trace::source::{Catalog, Store};

use super::Service;
use crate::ingest::board::Tracker;
use crate::view::InsightError;

/// What is to be read, and what is counted when it is.
pub(crate) struct Asked {
    /// To be looked over as a whole.
    whole: Vec<Arc<Catalog>>,
    /// Sessions that were named by a path, with who knows where they lie.
    single: Vec<(Arc<Catalog>, Vec<SessionId>)>,
    homes: Vec<PathBuf>,
    ids: HashSet<SessionId>,
}

impl Asked {
    /// Whether a session belongs to what was asked for.
    pub(crate) fn counts(&self, id: &str, home: &Path) -> bool {
        self.homes.iter().any(|asked| asked == home) || self.ids.contains(id)
    }
}

impl Service {
    /// Finds out what paths stand for; none for all that is watched. What lies at a path within a home is looked at.
    pub(crate) fn find(&self, paths: &[PathBuf]) -> Result<Asked, InsightError> {
        let mut asked =
            Asked { whole: Vec::new(), single: Vec::new(), homes: Vec::new(), ids: HashSet::new() };
        if paths.is_empty() {
            let catalog = self.catalog();
            asked.homes = catalog.homes().to_vec();
            asked.whole.push(catalog);
        }
        for path in paths {
            if Store::is_home(path) || self.settings().homes.contains(path) {
                let (home, catalog) = self.catalog_of(path.clone());
                asked.homes.push(home);
                asked.whole.push(catalog);
                continue;
            }
            // Who names a link to somewhere in a home means what it leads to.
            let place = if Store::around(path).is_some() { path.clone() } else { real(path) };
            let Some((_, outer)) = Store::around(&place) else {
                return Err(InsightError::Homeless { path: path.clone() });
            };
            let (home, catalog) = self.catalog_of(outer.clone());
            let place = place.strip_prefix(&outer).map(|within| home.join(within)).unwrap_or(place);
            let ids = catalog.look_at(&place);
            if ids.is_empty() {
                return Err(InsightError::Nothing { path: path.clone() });
            }
            asked.ids.extend(ids.iter().cloned());
            asked.single.push((catalog, ids));
        }
        Ok(asked)
    }

    /// Looks over what was asked for, for somebody who waits until it is stored.
    pub(crate) fn look_now(&self, asked: &Asked, tracker: &Arc<Tracker>) {
        for catalog in &asked.whole {
            // What changed is told once only, and others may be looking: so every session is compared.
            self.scan(catalog);
            for id in catalog.ids() {
                self.compare(catalog, &id, Some(tracker));
            }
        }
        for (catalog, ids) in &asked.single {
            for id in ids {
                self.compare(catalog, id, Some(tracker));
            }
        }
        tracker.update(|progress| progress.complete = true);
    }

    /// The catalog that knows the sessions of a home, and the name that the home has there. One that is not watched is
    /// read and forgotten.
    fn catalog_of(&self, home: PathBuf) -> (PathBuf, Arc<Catalog>) {
        let watched = self.catalog();
        let is_it = |other: &&PathBuf| **other == home || real(other) == real(&home);
        match watched.homes().iter().find(is_it) {
            Some(known) => (known.clone(), Arc::clone(&watched)),
            None => (home.clone(), Arc::new(Catalog::new(vec![home]))),
        }
    }
}

/// A path without links, as far as it can be followed.
fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}
