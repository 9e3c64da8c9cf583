//! What lies at one path of a Codex home: a file of a session, its directory, or a directory with many.

use std::path::{Path, PathBuf};

use super::catalog::{Entry, Store};
use super::{Catalog, name};
use crate::SessionId;

impl Store {
    /// The place that a path lies in or is, and its Codex home: what is above the nearest directory that is called like
    /// such a place.
    pub fn around(path: &Path) -> Option<(Self, PathBuf)> {
        path.ancestors().find_map(|root| {
            let home = root.parent()?;
            Self::ALL
                .into_iter()
                .find(|store| store.below(home) == root)
                .map(|store| (store, home.to_owned()))
        })
    }
}

impl Catalog {
    /// Looks at what lies at a path below one of the homes, and below that, and at nothing else. Returns the sessions
    /// that it is of, in the order of their ids.
    pub fn look_at(&self, path: &Path) -> Vec<SessionId> {
        let mut found = Vec::new();
        for (home, directory) in self.homes.iter().enumerate() {
            for store in Store::ALL {
                let root = store.below(directory);
                let Ok(below) = path.strip_prefix(&root) else { continue };
                let unit: PathBuf = match store {
                    // Those lie in directories of their own, and are looked at as a whole.
                    Store::Spines | Store::Bundles => below.iter().take(1).collect(),
                    Store::Rollouts | Store::Archive if may_have_rollouts(below) => below.to_owned(),
                    Store::Rollouts | Store::Archive => continue,
                };
                // No slash at the end of the root itself.
                let unit = if unit.as_os_str().is_empty() { root.clone() } else { root.join(unit) };
                self.visit(store, home, &unit, &mut |_| {});
                found.extend(self.known(|id, entry| entry.lies_at(id, store, home, &root, &unit)));
            }
        }
        found.sort();
        found.dedup();
        found
    }
}

/// Whether a path is of a kind where rollouts are looked for.
fn may_have_rollouts(below: &Path) -> bool {
    let days = if name::is_rollout(below) { below.parent().unwrap_or(below) } else { below };
    days.components().count() <= 3 && days.iter().all(|part| part.to_str().is_some_and(name::part_of_date))
}

impl Entry {
    /// Whether some of it lies at a path or below.
    fn lies_at(&self, id: &SessionId, store: Store, home: usize, root: &Path, path: &Path) -> bool {
        match store {
            Store::Spines => self.spine.as_ref().is_some_and(|spine| {
                spine.home == home && !spine.segments.is_empty() && root.join(id.as_str()).starts_with(path)
            }),
            Store::Rollouts | Store::Archive => {
                self.rollouts.iter().any(|rollout| rollout.home == home && rollout.path.starts_with(path))
            }
            Store::Bundles => {
                self.bundles.iter().any(|bundle| bundle.home == home && bundle.directory.starts_with(path))
            }
        }
    }
}
