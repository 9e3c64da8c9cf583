//! What is known of the sessions below some Codex homes.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::bundle::Bundle;
use super::near::rollout_near;
use super::origin::{self, Origin};
use super::stat::{DirectoryStamp, Fence, FileIdentity, FileStat, Refused};
use super::walk::{self, Scan, Tally, Walker};
use super::{SessionSource, SourceFile, name};
use crate::SessionId;
use crate::session::Format;
use crate::spine::SegmentName;

/// Changes of a directory that are nearer together than this may be one to its filesystem's clock.
const CLOCK_MARGIN: Duration = Duration::from_secs(2);

/// For so long what a scan saw of a session is as good as a look at it.
const SCANNED: Duration = Duration::from_secs(10);

/// A place below a Codex home where sessions lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// Trace spines, a directory for each thread.
    Spines,
    /// Rollouts, in directories of days.
    Rollouts,
    /// Rollouts that were archived.
    Archive,
    /// Rollout trace bundles.
    Bundles,
}

impl Store {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Spines, Self::Rollouts, Self::Archive, Self::Bundles];

    /// Whether a directory is a Codex home: it holds one of these.
    pub fn is_home(directory: &Path) -> bool {
        Self::ALL.iter().any(|store| store.below(directory).is_dir())
    }

    /// Where it is.
    pub fn below(self, home: &Path) -> PathBuf {
        home.join(match self {
            Self::Spines => "trace_spine",
            Self::Rollouts => "sessions",
            Self::Archive => "archived_sessions",
            Self::Bundles => "rollout_trace",
        })
    }
}

/// The sessions below some Codex homes, as they were when they were looked at last.
///
/// Many may ask it at once; nobody waits for a look at the whole. Where an id is found in several homes, the first
/// home that has it counts.
#[derive(Debug)]
pub struct Catalog {
    pub(super) homes: Vec<PathBuf>,
    pub(super) clock_margin: Duration,
    /// Held for moments only: for one session at a time.
    sessions: Mutex<HashMap<SessionId, Entry>>,
    /// Held as long as a scan takes.
    walker: Mutex<Walker>,
}

/// What is known of a session.
#[derive(Clone, Debug, Default)]
pub(super) struct Entry {
    pub(super) spine: Option<Spine>,
    pub(super) rollouts: Vec<Rollout>,
    pub(super) bundles: Vec<Bundle>,
    /// When the scan began that saw it new or changed. None once somebody knows of that, and after an event.
    scanned: Option<Instant>,
}

/// A thread's directory of segments; kept also while it has none.
#[derive(Clone, Debug)]
pub(super) struct Spine {
    pub(super) home: usize,
    /// None when the list of names may be out of date.
    pub(super) stamp: Option<DirectoryStamp>,
    /// By index.
    pub(super) segments: Vec<Segment>,
    pub(super) foreign: u32,
    /// Who wrote the first segment, as far as anybody had to know.
    origin: Option<(FileIdentity, Origin)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) name: SegmentName,
    pub(super) stat: FileStat,
}

impl Spine {
    pub(super) fn new(
        home: usize,
        stamp: Option<DirectoryStamp>,
        segments: Vec<Segment>,
        foreign: u32,
    ) -> Self {
        Self { home, stamp, segments, foreign, origin: None }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rollout {
    pub(super) home: usize,
    pub(super) archived: bool,
    pub(super) path: PathBuf,
    pub(super) stat: FileStat,
}

impl Rollout {
    /// Of several rollouts of a thread the least is read: one that is not archived, of the first home, and the
    /// youngest by name.
    fn rank(&self) -> (bool, usize, std::cmp::Reverse<&Path>) {
        (self.archived, self.home, std::cmp::Reverse(&self.path))
    }
}

/// What came of an offer to a catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is as it was.
    Known,
    /// It is new or has changed.
    Changed,
    /// Another file or directory of that session comes first.
    Duplicate,
}

impl Catalog {
    /// A catalog of some Codex homes that knows nothing yet; see [`Catalog::scan`].
    pub fn new(homes: Vec<PathBuf>) -> Self {
        Self { homes, clock_margin: CLOCK_MARGIN, sessions: Mutex::default(), walker: Mutex::default() }
    }

    /// The same with another margin for the coarse clocks of filesystems; two seconds by default.
    #[must_use]
    pub fn with_clock_margin(mut self, margin: Duration) -> Self {
        self.clock_margin = margin;
        self
    }

    /// The Codex homes.
    pub fn homes(&self) -> &[PathBuf] {
        &self.homes
    }

    /// Looks at everything below the homes, and tells which sessions are new, have changed or are gone since they
    /// were scanned last, as soon as it has seen all of a home.
    ///
    /// Costs a stat per file and directory; only directories that changed are listed. Scans wait for each other. The
    /// changes are told once: where a [`Tail`](crate::Tail) scans, nobody else should.
    pub fn scan(&self, changed: &mut dyn FnMut(&SessionId)) -> Scan {
        let mut walker = self.walker.lock().unwrap_or_else(PoisonError::into_inner);
        walker.scan(self, changed)
    }

    /// The ids of all sessions that were found, in no order.
    pub fn ids(&self) -> Vec<SessionId> {
        self.known(|_, entry| entry.has_files())
    }

    /// The ids of the sessions that are wanted, in no order.
    pub(super) fn known(&self, wanted: impl Fn(&SessionId, &Entry) -> bool) -> Vec<SessionId> {
        let sessions = self.sessions();
        sessions.iter().filter(|(id, entry)| wanted(id, entry)).map(|(id, _)| id.clone()).collect()
    }

    /// Where a session is read from, as it was scanned last.
    pub fn source(&self, id: &SessionId) -> Option<SessionSource> {
        let entry = self.sessions().get(id).cloned()?;
        self.choose(id, entry)
    }

    /// Where a session is read from, as it is now: looks at the session's own files. None if there are none (any
    /// more). Changes nothing of what the next scan tells.
    pub fn look(&self, id: &SessionId) -> Option<SessionSource> {
        let mut entry = self.sessions().get(id).cloned().unwrap_or_default();
        entry.spine = self.spine_now(id, entry.spine.as_ref());
        entry.rollouts = std::mem::take(&mut entry.rollouts)
            .into_iter()
            .filter_map(|known| self.rollout_now(known))
            .collect();
        entry.bundles = std::mem::take(&mut entry.bundles)
            .into_iter()
            .filter_map(|known| self.bundle_now(known))
            .collect();
        if entry.rollouts.is_empty()
            && let Some(spine) = &entry.spine
            && self.origin(id, spine) == Some(Origin::Spindle)
        {
            entry.rollouts.extend(self.unheard_rollout(id, spine.home));
        }
        self.choose(id, entry)
    }

    /// As [`Catalog::look`], for whoever was just told of the session: what the scan saw that told of it is not looked
    /// at again. Whatever happens after a scan is told again.
    pub fn look_unless_scanned(&self, id: &SessionId) -> Option<SessionSource> {
        let scanned = self.sessions().get_mut(id).and_then(|entry| {
            let at = entry.scanned.take()?;
            (at.elapsed() < SCANNED).then(|| entry.clone())
        });
        match scanned {
            Some(entry) => self.choose(id, entry),
            None => self.look(id),
        }
    }

    fn bundle_now(&self, known: Bundle) -> Option<Bundle> {
        let root = Store::Bundles.below(&self.homes[known.home]);
        match Fence::around(&root).file(&known.directory.join(name::BUNDLE_EVENTS)) {
            Ok(stat) => Some(Bundle { stat, ..known }),
            Err(Refused::Unreadable(_)) if known.stat != FileStat::UNSEEN => Some(known),
            Err(_) => None,
        }
    }

    /// The rollout that a spine is recorded from. While both are new, the spine may be heard of first; to read it
    /// and the rollout afterwards would tell everything twice.
    fn unheard_rollout(&self, id: &SessionId, home: usize) -> Option<Rollout> {
        let root = &self.homes[home];
        let path = rollout_near(root, id)?;
        let stat = Fence::around(&Store::Rollouts.below(root)).file(&path).ok()?;
        self.hear_of_rollout(id, home, false, &path);
        Some(Rollout { home, archived: false, path, stat })
    }

    fn spine_now(&self, id: &SessionId, known: Option<&Spine>) -> Option<Spine> {
        for home in 0..self.homes.len() {
            let root = Store::Spines.below(&self.homes[home]);
            let directory = root.join(id.as_str());
            let known = known.filter(|known| known.home == home);
            match walk::list_spine(
                &Fence::around(&root),
                &directory,
                home,
                known,
                self.clock_margin,
                &mut Tally::default(),
            ) {
                Ok((mut spine, _)) if !spine.segments.is_empty() => {
                    spine.origin = known.and_then(|known| known.origin);
                    return Some(spine);
                }
                Err(Refused::Unreadable(_)) if known.is_some() => return known.cloned(),
                Ok(_) | Err(_) => {}
            }
        }
        None
    }

    fn rollout_now(&self, mut known: Rollout) -> Option<Rollout> {
        let root =
            if known.archived { Store::Archive } else { Store::Rollouts }.below(&self.homes[known.home]);
        match Fence::around(&root).file(&known.path) {
            Ok(stat) => known.stat = stat,
            Err(Refused::Unreadable(_)) if known.stat != FileStat::UNSEEN => {}
            // It may have been archived this moment.
            Err(Refused::Gone) if !known.archived => {
                let archive = Store::Archive.below(&self.homes[known.home]);
                let path = archive.join(known.path.file_name()?);
                let stat = Fence::around(&archive).file(&path).ok()?;
                known = Rollout { archived: true, path, stat, ..known };
            }
            Err(_) => return None,
        }
        Some(known)
    }

    /// The one source of a session.
    fn choose(&self, id: &SessionId, mut entry: Entry) -> Option<SessionSource> {
        if let Some(spine) = &mut entry.spine {
            spine.segments.retain(|segment| segment.stat != FileStat::UNSEEN);
        }
        let rollout = entry
            .rollouts
            .into_iter()
            .filter(|rollout| rollout.stat != FileStat::UNSEEN)
            .min_by(|a, b| a.rank().cmp(&b.rank()));
        match (entry.spine.filter(|spine| !spine.segments.is_empty()), rollout) {
            // Nobody has to know who wrote it, so nothing is opened: there is nothing else.
            (Some(spine), None) => Some(self.spine_source(id, &spine)),
            (Some(spine), Some(rollout)) => match self.origin(id, &spine) {
                Some(Origin::Codex) => Some(self.spine_source(id, &spine)),
                Some(Origin::Spindle) | None => Some(self.rollout_source(id, rollout)),
            },
            (None, Some(rollout)) => Some(self.rollout_source(id, rollout)),
            (None, None) => self.bundle_source(id, entry.bundles),
        }
    }

    /// Who wrote a spine, read from its first line once; none as long as nobody can know.
    fn origin(&self, id: &SessionId, spine: &Spine) -> Option<Origin> {
        let first = spine.segments.first()?;
        if let Some((identity, origin)) = spine.origin
            && identity == first.stat.identity
        {
            return Some(origin);
        }
        let path = self.spine_directory(id, spine).join(first.name.to_string());
        let origin = origin::of_first_line(&path)?;
        if let Some(known) = self.sessions().get_mut(id).and_then(|entry| entry.spine.as_mut()) {
            known.origin = Some((first.stat.identity, origin));
        }
        Some(origin)
    }

    fn spine_directory(&self, id: &SessionId, spine: &Spine) -> PathBuf {
        Store::Spines.below(&self.homes[spine.home]).join(id.as_str())
    }

    fn spine_source(&self, id: &SessionId, spine: &Spine) -> SessionSource {
        let directory = self.spine_directory(id, spine);
        let file = |segment: &Segment| {
            source_file(segment.name.index, directory.join(segment.name.to_string()), segment.stat)
        };
        SessionSource {
            id: id.clone(),
            format: Format::Spine,
            files: spine.segments.iter().map(file).collect(),
            home: self.homes[spine.home].clone(),
            directory,
            archived: false,
        }
    }

    fn rollout_source(&self, id: &SessionId, rollout: Rollout) -> SessionSource {
        SessionSource {
            id: id.clone(),
            format: Format::Rollout,
            directory: rollout.path.parent().map(Path::to_owned).unwrap_or_default(),
            files: vec![source_file(0, rollout.path, rollout.stat)],
            home: self.homes[rollout.home].clone(),
            archived: rollout.archived,
        }
    }

    /// The bundles of a session that has nothing else, such as an ephemeral one: one for each of its processes.
    fn bundle_source(&self, id: &SessionId, mut bundles: Vec<Bundle>) -> Option<SessionSource> {
        bundles.retain(|bundle| bundle.stat != FileStat::UNSEEN);
        // A rollout that is still to come would have the session read anew.
        if !bundles.iter().any(Bundle::is_alone) {
            return None;
        }
        let home = bundles.iter().map(|bundle| bundle.home).min()?;
        bundles.retain(|bundle| bundle.home == home);
        bundles.sort_by_cached_key(|bundle| (bundle.started(), bundle.directory.clone()));
        let file = |(index, bundle): (u32, &Bundle)| {
            source_file(index, bundle.directory.join(name::BUNDLE_EVENTS), bundle.stat)
        };
        Some(SessionSource {
            id: id.clone(),
            format: Format::Bundle,
            directory: bundles.last()?.directory.clone(),
            files: (0..).zip(&bundles).map(file).collect(),
            home: self.homes[home].clone(),
            archived: false,
        })
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<SessionId, Entry>> {
        // A panic while the lock was held cannot have left the map half changed.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn source_file(index: u32, path: PathBuf, stat: FileStat) -> SourceFile {
    SourceFile { index, path, identity: stat.identity, len: stat.len, mtime: stat.mtime }
}

impl Entry {
    /// Notes what was seen by a scan that began at that time; none for a look at a part of the home.
    fn taken(&mut self, changed: bool, scan: Option<Instant>) -> Taken {
        if !changed {
            return Taken::Known;
        }
        self.scanned = scan;
        Taken::Changed
    }

    /// Something has happened since it was scanned.
    fn unscanned(&mut self) -> &mut Self {
        self.scanned = None;
        self
    }

    fn has_files(&self) -> bool {
        self.spine.as_ref().is_some_and(|spine| !spine.segments.is_empty())
            || !self.rollouts.is_empty()
            || !self.bundles.is_empty()
    }
}

/// What walks tell of what they see.
impl Catalog {
    /// What is known of a thread's directory.
    pub(super) fn spine(&self, id: &SessionId) -> Option<Spine> {
        self.sessions().get(id)?.spine.clone()
    }

    /// Takes what a thread's directory holds.
    pub(super) fn put_spine(&self, id: &SessionId, mut spine: Spine, scan: Option<Instant>) -> Taken {
        let mut sessions = self.sessions();
        let entry = sessions.entry(id.clone()).or_default();
        match &entry.spine {
            Some(known) if known.home != spine.home && spine.segments.is_empty() => return Taken::Known,
            Some(known) if known.home < spine.home && !known.segments.is_empty() => return Taken::Duplicate,
            Some(known) => spine.origin = known.origin,
            None => {}
        }
        let before = entry.spine.as_ref().map_or(&[][..], |known| &known.segments);
        let changed = before != spine.segments;
        entry.spine = Some(spine);
        entry.taken(changed, scan)
    }

    /// Forgets a thread's directory. Says whether a session lost something.
    pub(super) fn drop_spine(&self, id: &SessionId, home: usize) -> bool {
        self.change(id, |entry| match &entry.spine {
            Some(known) if known.home == home => {
                entry.spine.take().is_some_and(|spine| !spine.segments.is_empty())
            }
            _ => false,
        })
    }

    /// Takes a rollout.
    pub(super) fn put_rollout(&self, id: &SessionId, rollout: &Rollout, scan: Option<Instant>) -> Taken {
        let mut sessions = self.sessions();
        let entry = sessions.entry(id.clone()).or_default();
        let changed = match entry.rollouts.iter_mut().find(|known| known.path == rollout.path) {
            Some(known) if known == rollout => false,
            Some(known) => {
                known.clone_from(rollout);
                true
            }
            None => {
                entry.rollouts.push(rollout.clone());
                true
            }
        };
        let taken = entry.taken(changed, scan);
        if entry.rollouts.iter().any(|known| known.rank() < rollout.rank()) {
            Taken::Duplicate
        } else {
            taken
        }
    }

    /// Takes a bundle.
    pub(super) fn put_bundle(&self, id: &SessionId, bundle: &Bundle, scan: Option<Instant>) -> Taken {
        let mut sessions = self.sessions();
        let entry = sessions.entry(id.clone()).or_default();
        match entry.bundles.iter_mut().find(|known| known.directory == bundle.directory) {
            Some(known) if known == bundle => return Taken::Known,
            Some(known) => known.clone_from(bundle),
            None => entry.bundles.push(bundle.clone()),
        }
        entry.taken(true, scan)
    }

    /// Hears of a bundle, by an event that names its file. It is looked at when somebody asks for the session.
    pub(crate) fn hear_of_bundle(&self, id: &SessionId, home: usize, directory: &Path) {
        let mut sessions = self.sessions();
        let bundles = &mut sessions.entry(id.clone()).or_default().unscanned().bundles;
        if !bundles.iter().any(|known| known.directory == directory) {
            bundles.push(Bundle { home, directory: directory.to_owned(), stat: FileStat::UNSEEN });
        }
    }

    /// Forgets a bundle. Says whether a session lost something.
    pub(super) fn drop_bundle(&self, id: &SessionId, directory: &Path) -> bool {
        self.change(id, |entry| {
            let before = entry.bundles.len();
            entry.bundles.retain(|known| known.directory != directory);
            entry.bundles.len() < before
        })
    }

    /// Hears of a rollout, by an event that names it. It is looked at when somebody asks for the session.
    pub(crate) fn hear_of_rollout(&self, id: &SessionId, home: usize, archived: bool, path: &Path) {
        let mut sessions = self.sessions();
        let rollouts = &mut sessions.entry(id.clone()).or_default().unscanned().rollouts;
        if !rollouts.iter().any(|known| known.path == path) {
            rollouts.push(Rollout { home, archived, path: path.to_owned(), stat: FileStat::UNSEEN });
        }
    }

    /// Hears of a segment, in the same way.
    pub(crate) fn hear_of_segment(&self, id: &SessionId, home: usize, name: &str) {
        let Some(name) = SegmentName::parse(name) else { return };
        let mut sessions = self.sessions();
        let entry = sessions.entry(id.clone()).or_default().unscanned();
        let spine = entry.spine.get_or_insert_with(|| Spine::new(home, None, Vec::new(), 0));
        if spine.home == home
            && let Err(place) = spine.segments.binary_search_by_key(&name.index, |segment| segment.name.index)
        {
            spine.segments.insert(place, Segment { name, stat: FileStat::UNSEEN });
            spine.stamp = None;
        }
    }

    /// Hears that a rollout is gone. One that was looked at is left to the scanner: it may have been archived.
    pub(crate) fn hear_of_loss(&self, id: &SessionId, path: &Path) {
        self.change(id, |entry| {
            entry.rollouts.retain(|known| known.path != path || known.stat != FileStat::UNSEEN);
            false
        });
    }

    /// Forgets a rollout. Says whether a session lost something.
    pub(super) fn drop_rollout(&self, id: &SessionId, path: &Path) -> bool {
        self.change(id, |entry| {
            let before = entry.rollouts.len();
            entry.rollouts.retain(|known| known.path != path);
            entry.rollouts.len() < before
        })
    }

    /// Changes what is known of a session, which is forgotten when nothing is left of it.
    fn change(&self, id: &SessionId, change: impl FnOnce(&mut Entry) -> bool) -> bool {
        let mut sessions = self.sessions();
        let Slot::Occupied(mut slot) = sessions.entry(id.clone()) else { return false };
        let changed = change(slot.get_mut().unscanned());
        let entry = slot.get();
        if entry.spine.is_none() && entry.rollouts.is_empty() && entry.bundles.is_empty() {
            slot.remove();
        }
        changed
    }
}
