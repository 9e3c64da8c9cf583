//! Which part of which home a path belongs to.

use std::path::{Path, PathBuf};

use crate::SessionId;
use crate::source::{self, Catalog, Store};
use crate::spine::SegmentName;

/// A directory below which sessions lie.
#[derive(Clone, Debug)]
pub(super) struct Root {
    pub(super) home: usize,
    pub(super) store: Store,
    pub(super) path: PathBuf,
}

/// What a path below the homes is to sessions.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Spot<'a> {
    /// A root, or a directory above one.
    Root,
    /// A thread's directory, or one of a year, month or day.
    Directory,
    /// A segment of a spine, and its name.
    Segment(SessionId, &'a str),
    /// A rollout.
    Rollout(SessionId, &'a Path),
    /// A file of a bundle, and the bundle.
    Bundle(SessionId, &'a Path),
    /// Nothing.
    Foreign,
}

pub(super) fn of(catalog: &Catalog) -> Vec<Root> {
    let roots = catalog
        .homes()
        .iter()
        .enumerate()
        .flat_map(|(home, path)| Store::ALL.map(|store| Root { home, store, path: store.below(path) }));
    roots.collect()
}

/// What a path is, by its name alone, and the root that it lies below.
pub(super) fn spot<'a>(roots: &'a [Root], path: &'a Path) -> (Spot<'a>, Option<&'a Root>) {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return (Spot::Foreign, None) };
    for root in roots {
        let Ok(below) = path.strip_prefix(&root.path) else { continue };
        let mut parts = below.components();
        let depth = parts.clone().count();
        let spot = match (root.store, depth) {
            (_, 0) => Spot::Root,
            (Store::Spines, 1) if name.parse::<SessionId>().is_ok() => Spot::Directory,
            (Store::Spines, 2) if SegmentName::parse(name).is_some() => {
                let thread = parts.next().and_then(|part| part.as_os_str().to_str()?.parse().ok());
                thread.map_or(Spot::Foreign, |id| Spot::Segment(id, name))
            }
            (Store::Bundles, 1) if source::thread_of_bundle(name).is_some() => Spot::Directory,
            (Store::Bundles, 2) if name == source::BUNDLE_EVENTS => {
                let bundle = path.parent().and_then(|bundle| Some((bundle, bundle.file_name()?.to_str()?)));
                let thread =
                    bundle.and_then(|(bundle, name)| Some((bundle, source::thread_of_bundle(name)?)));
                thread.map_or(Spot::Foreign, |(bundle, id)| Spot::Bundle(id, bundle))
            }
            (Store::Rollouts | Store::Archive, 1..=3) if source::part_of_date(name) => Spot::Directory,
            (Store::Rollouts | Store::Archive, 1..=4) => {
                source::thread_of_rollout(name).map_or(Spot::Foreign, |id| Spot::Rollout(id, path))
            }
            _ => Spot::Foreign,
        };
        return (spot, Some(root));
    }
    if roots.iter().any(|root| root.path.starts_with(path)) {
        (Spot::Root, None)
    } else {
        (Spot::Foreign, None)
    }
}
