//! What there is to verify at a path.

use std::fs;
use std::path::{Path, PathBuf};

use crate::SessionId;
use crate::source::{BUNDLE_EVENTS, Store, thread_of_bundle, thread_of_rollout};
use crate::spine::segments;

/// How deep spines, rollouts and bundles are looked for: a home has its rollouts four directories down.
const DEPTH: usize = 8;

/// Something that [`verify`](super::verify) takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// A file, the directory of a thread, or a bundle.
    pub path: PathBuf,
    /// The thread that it is named after.
    pub thread: Option<SessionId>,
}

/// What there is to verify at a path, by name: the path itself, if it is a file, the directory of a thread or a bundle;
/// of a Codex home, all that lies where Codex and Spindle keep sessions; of any other directory, all that lies below.
/// A directory that cannot be read is among it, and verifying it says why. Nothing, if there is nothing.
pub fn below(path: &Path) -> Vec<Target> {
    let mut found = Vec::new();
    if path.is_file() {
        found.push(Target::rollout(path));
    } else if Store::is_home(path) {
        for store in Store::ALL.map(|store| store.below(path)).iter().filter(|store| store.is_dir()) {
            look(store, 0, &mut found);
        }
    } else {
        look(path, 0, &mut found);
    }
    found
}

impl Target {
    fn rollout(path: &Path) -> Self {
        Self { path: path.to_owned(), thread: thread_of_rollout(&name(path)) }
    }
}

fn look(directory: &Path, depth: usize, found: &mut Vec<Target>) {
    let mut take = |thread| found.push(Target { path: directory.to_owned(), thread });
    if directory.join("bundle.json").is_file() {
        // It is verified against its list and with its spines; the rollouts in it are each a thing of their own.
        take(None);
        let rollouts = entries(&directory.join("rollout")).into_iter();
        return found.extend(rollouts.filter(|path| path.is_file()).map(|path| Target::rollout(&path)));
    }
    if directory.join(BUNDLE_EVENTS).is_file() {
        return take(thread_of_bundle(&name(directory)));
    }
    match segments(directory) {
        Ok(segments) if segments.is_empty() => look_into(directory, depth, found),
        Ok(_) => take(name(directory).parse().ok()),
        Err(_) => take(None),
    }
}

/// Goes through a directory that is nothing by itself.
fn look_into(directory: &Path, depth: usize, found: &mut Vec<Target>) {
    for path in entries(directory) {
        if path.is_file() {
            if thread_of_rollout(&name(&path)).is_some() {
                found.push(Target::rollout(&path));
            }
        } else if depth < DEPTH && path.is_dir() && (depth == 0 || !path.is_symlink()) {
            // Links further down may lead round in a circle.
            look(&path, depth + 1, found);
        }
    }
}

/// What is in a directory, by name. Of one that cannot be read it is not for this to tell.
fn entries(directory: &Path) -> Vec<PathBuf> {
    let read = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = read.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
