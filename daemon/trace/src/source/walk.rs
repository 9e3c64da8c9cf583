//! Looking at everything below the homes, at the cost of a stat per file and directory.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::ffi::OsString;
use std::fs::{self, FileType};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use super::bundle::Bundle;
use super::catalog::{Catalog, Rollout, Segment, Spine, Store, Taken};
use super::stat::{DirectoryStamp, Fence, Refused};
use super::{Finding, Trouble, name};
use crate::SessionId;
use crate::spine::SegmentName;

/// How many findings a scan keeps; more are counted.
const FINDINGS_LIMIT: usize = 256;

/// How many of the directories that were written to last a scan names.
const RECENT_LIMIT: usize = 1024;

/// After how many scans the names of all directories are listed again, whatever their stamps say: clocks of network
/// filesystems can be off by more than any margin.
const LIST_ALL_EVERY: u32 = 10;

/// What a scan saw.
#[derive(Clone, Debug, Default)]
pub struct Scan {
    /// Segments and rollouts.
    pub files: u64,
    /// Entries that belong to no session and were left alone.
    pub foreign: u64,
    /// What could not be taken as it is (at most 256, see [`Scan::more_findings`]).
    pub findings: Vec<Finding>,
    /// How many more findings there were.
    pub more_findings: u64,
    /// How many files and directories were looked at.
    pub stats: u64,
    /// How many directories were listed, because their names may have changed.
    pub listings: u64,
    /// The directories that hold the files written to last, youngest first, with the time (at most 1024).
    pub recent: Vec<(SystemTime, PathBuf)>,
}

/// The counters of a walk.
#[derive(Default)]
pub(super) struct Tally {
    scan: Scan,
    recent: BinaryHeap<Reverse<(SystemTime, PathBuf)>>,
}

impl Tally {
    fn find(&mut self, path: &Path, trouble: Trouble) {
        if self.scan.findings.len() < FINDINGS_LIMIT {
            self.scan.findings.push(Finding { path: path.to_owned(), trouble });
        } else {
            self.scan.more_findings += 1;
        }
    }

    /// Notes why an entry was not taken. Says whether what is known of it is to be kept.
    fn refuse(&mut self, path: &Path, why: Refused) -> bool {
        let trouble = match why {
            Refused::Gone => return false,
            Refused::Unreadable(error) => Trouble::Unreadable(error.to_string()),
            Refused::LeavesRoot => Trouble::LeavesRoot,
            Refused::Special => Trouble::Special,
        };
        let keep = matches!(trouble, Trouble::Unreadable(_));
        self.find(path, trouble);
        keep
    }

    fn written(&mut self, directory: &Path, at: SystemTime) {
        if self.recent.len() >= RECENT_LIMIT {
            if self.recent.peek().is_some_and(|Reverse((oldest, _))| *oldest >= at) {
                return;
            }
            self.recent.pop();
        }
        self.recent.push(Reverse((at, directory.to_owned())));
    }

    fn finish(mut self) -> Scan {
        self.scan.recent = self.recent.into_sorted_vec().into_iter().map(|Reverse(recent)| recent).collect();
        self.scan
    }
}

/// What scans remember of the directories, so that they need not list them again.
#[derive(Debug, Default)]
pub(super) struct Walker {
    scans: u32,
    /// Roots, and directories of years, months and days.
    listed: HashMap<PathBuf, Listed>,
}

/// A directory's names, as they were listed.
#[derive(Debug, Default)]
struct Listed {
    stamp: Option<DirectoryStamp>,
    directories: Vec<OsString>,
    files: Vec<OsString>,
    foreign: u64,
}

/// What a directory may be to a session.
enum Class {
    Directory,
    File,
    Foreign,
}

/// A walk below one root.
struct Walk<'a> {
    catalog: &'a Catalog,
    store: Store,
    home: usize,
    fence: Fence,
    /// Whether stamps are believed.
    trusting: bool,
    /// When the scan began; none for a look at a part of the home.
    scan: Option<Instant>,
    tally: &'a mut Tally,
    changed: &'a mut dyn FnMut(&SessionId),
}

impl Walker {
    pub(super) fn scan(&mut self, catalog: &Catalog, changed: &mut dyn FnMut(&SessionId)) -> Scan {
        let trusting = !self.scans.is_multiple_of(LIST_ALL_EVERY);
        self.scans = self.scans.wrapping_add(1);
        let (mut tally, begun) = (Tally::default(), Instant::now());
        for (home, path) in catalog.homes.iter().enumerate() {
            // Told when all of the home is known: a session can lie in several places, of which one is read.
            let mut seen = Vec::new();
            let mut changed_here = |id: &SessionId| seen.push(id.clone());
            for store in Store::ALL {
                let root = store.below(path);
                let fence = Fence::around(&root);
                let changed = &mut changed_here;
                let mut walk = Walk {
                    catalog,
                    store,
                    home,
                    fence,
                    trusting,
                    scan: Some(begun),
                    tally: &mut tally,
                    changed,
                };
                match store {
                    Store::Spines => walk.spines(&root, self),
                    Store::Rollouts | Store::Archive => walk.rollouts(&root, 0, self),
                    Store::Bundles => walk.bundles(&root, self),
                }
            }
            // The newest first, as ids begin with the time: whoever has just begun to look wants to see those. And
            // whoever stores sessions in the order of their ids is spared going from one place to another.
            seen.sort_unstable_by(|a, b| b.cmp(a));
            seen.iter().for_each(&mut *changed);
        }
        tally.finish()
    }
}

impl Catalog {
    /// Looks at one directory below a root and what lies below it, such as one that was just made, or at one rollout.
    /// Returns the directories of days and months that it saw there.
    pub(crate) fn visit(
        &self,
        store: Store,
        home: usize,
        directory: &Path,
        changed: &mut dyn FnMut(&SessionId),
    ) -> Vec<PathBuf> {
        let root = store.below(&self.homes[home]);
        let mut tally = Tally::default();
        let fence = Fence::around(&root);
        let mut walk = Walk {
            catalog: self,
            store,
            home,
            fence,
            trusting: true,
            scan: None,
            tally: &mut tally,
            changed,
        };
        let depth = directory.strip_prefix(&root).map_or(0, |below| below.components().count());
        // Its own memory: that of the scans is not waited for.
        let mut walker = Walker::default();
        match (store, depth) {
            (Store::Spines, 0) => walk.spines(directory, &mut walker),
            (Store::Spines, _) => walk.thread(directory),
            (Store::Rollouts | Store::Archive, _) if name::is_rollout(directory) => {
                walk.rollout(directory);
            }
            (Store::Rollouts | Store::Archive, _) => walk.rollouts(directory, depth, &mut walker),
            (Store::Bundles, 0) => walk.bundles(directory, &mut walker),
            (Store::Bundles, _) => walk.bundle(directory),
        }
        walker.listed.into_keys().filter(|path| path != directory).collect()
    }
}

impl Walk<'_> {
    fn spines(&mut self, root: &Path, walker: &mut Walker) {
        let class = |name: &str, kind: FileType| match name.parse::<SessionId>() {
            Ok(_) if kind.is_dir() || kind.is_symlink() => Class::Directory,
            _ => Class::Foreign,
        };
        let Some(before) = self.names(root, walker, &class) else { return };
        let now = walker.listed.entry(root.to_owned()).or_default();
        for name in &now.directories {
            self.thread(&root.join(name));
        }
        let names: HashSet<&OsString> = now.directories.iter().collect();
        for name in before.directories.iter().filter(|name| !names.contains(name)) {
            self.forget_thread(name.to_str());
        }
    }

    /// A thread's directory of segments.
    fn thread(&mut self, directory: &Path) {
        let Some(id) = directory.file_name().and_then(|name| name.to_str()?.parse::<SessionId>().ok()) else {
            return;
        };
        let known = self.catalog.spine(&id).filter(|spine| spine.home == self.home);
        let trusted = known.as_ref().filter(|_| self.trusting);
        let (spine, written) = match list_spine(
            &self.fence,
            directory,
            self.home,
            trusted,
            self.catalog.clock_margin,
            self.tally,
        ) {
            Ok(listed) => listed,
            Err(Refused::Gone) => return self.forget_thread(Some(id.as_str())),
            Err(why) => {
                self.tally.refuse(directory, why);
                return;
            }
        };
        self.tally.written(directory, written);
        match self.catalog.put_spine(&id, spine, self.scan) {
            Taken::Known => {}
            Taken::Changed => (self.changed)(&id),
            Taken::Duplicate => self.tally.find(directory, Trouble::Duplicate(id)),
        }
    }

    fn forget_thread(&mut self, name: Option<&str>) {
        if let Some(id) = name.and_then(|name| name.parse().ok())
            && self.catalog.drop_spine(&id, self.home)
        {
            (self.changed)(&id);
        }
    }

    fn bundles(&mut self, root: &Path, walker: &mut Walker) {
        let class = |name: &str, kind: FileType| match name::bundle(name) {
            Some(_) if kind.is_dir() || kind.is_symlink() => Class::Directory,
            _ => Class::Foreign,
        };
        let Some(before) = self.names(root, walker, &class) else { return };
        let now = walker.listed.entry(root.to_owned()).or_default();
        for name in &now.directories {
            self.bundle(&root.join(name));
        }
        let names: HashSet<&OsString> = now.directories.iter().collect();
        for name in before.directories.iter().filter(|name| !names.contains(name)) {
            self.forget_bundle(&root.join(name));
        }
    }

    /// The directory of a bundle.
    fn bundle(&mut self, directory: &Path) {
        let Some(id) = directory.file_name().and_then(|name| name::bundle(name.to_str()?)) else { return };
        self.tally.scan.stats += 1;
        let events = directory.join(name::BUNDLE_EVENTS);
        let stat = match self.fence.file(&events) {
            Ok(stat) => stat,
            Err(why) => {
                // One that was just made has no events yet.
                if !self.tally.refuse(&events, why) {
                    self.forget_bundle(directory);
                }
                return;
            }
        };
        self.tally.scan.files += 1;
        self.tally.written(directory, stat.mtime);
        let bundle = Bundle { home: self.home, directory: directory.to_owned(), stat };
        if self.catalog.put_bundle(&id, &bundle, self.scan) == Taken::Changed {
            (self.changed)(&id);
        }
    }

    fn forget_bundle(&mut self, directory: &Path) {
        if let Some(id) = directory.file_name().and_then(|name| name::bundle(name.to_str()?))
            && self.catalog.drop_bundle(&id, directory)
        {
            (self.changed)(&id);
        }
    }

    /// A directory of rollouts: a root, a year, a month or a day.
    fn rollouts(&mut self, directory: &Path, depth: usize, walker: &mut Walker) {
        let class = |name: &str, kind: FileType| match () {
            () if name::rollout(name).is_some() && !kind.is_dir() => Class::File,
            () if depth < 3 && name::part_of_date(name) && !kind.is_file() => Class::Directory,
            () => Class::Foreign,
        };
        let Some(before) = self.names(directory, walker, &class) else { return };
        // Taken out for as long as it is read, because directories below it are put in.
        let mut now = walker.listed.remove(directory).unwrap_or_default();
        let mut latest = None;
        now.files.retain(|name| match self.rollout(&directory.join(name)) {
            Some(mtime) => {
                latest = latest.max(Some(mtime));
                true
            }
            None => false,
        });
        if let Some(at) = latest {
            self.tally.written(directory, at);
        }
        let files: HashSet<&OsString> = now.files.iter().collect();
        for name in before.files.iter().filter(|name| !files.contains(name)) {
            self.forget_rollout(&directory.join(name));
        }
        for name in before.directories.iter().filter(|name| !now.directories.contains(name)) {
            self.forget_directory(&directory.join(name), walker);
        }
        for name in &now.directories {
            self.rollouts(&directory.join(name), depth + 1, walker);
        }
        walker.listed.insert(directory.to_owned(), now);
    }

    /// Looks at a rollout and returns when it was written to last; none if it is not to be looked at again.
    fn rollout(&mut self, path: &Path) -> Option<SystemTime> {
        let id = name::rollout(path.file_name()?.to_str()?)?;
        self.tally.scan.stats += 1;
        let stat = match self.fence.file(path) {
            Ok(stat) => stat,
            Err(why) => {
                let keep = self.tally.refuse(path, why);
                if !keep {
                    self.forget_rollout(path);
                }
                return keep.then_some(SystemTime::UNIX_EPOCH);
            }
        };
        self.tally.scan.files += 1;
        let archived = self.store == Store::Archive;
        let rollout = Rollout { home: self.home, archived, path: path.to_owned(), stat };
        match self.catalog.put_rollout(&id, &rollout, self.scan) {
            Taken::Known => {}
            Taken::Changed => (self.changed)(&id),
            Taken::Duplicate => self.tally.find(path, Trouble::Duplicate(id)),
        }
        Some(stat.mtime)
    }

    fn forget_rollout(&mut self, path: &Path) {
        if let Some(id) = path.file_name().and_then(|name| name::rollout(name.to_str()?))
            && self.catalog.drop_rollout(&id, path)
        {
            (self.changed)(&id);
        }
    }

    /// Forgets a directory of rollouts and all below it.
    fn forget_directory(&mut self, directory: &Path, walker: &mut Walker) {
        let Some(listed) = walker.listed.remove(directory) else { return };
        for name in &listed.files {
            self.forget_rollout(&directory.join(name));
        }
        for name in &listed.directories {
            self.forget_directory(&directory.join(name), walker);
        }
    }

    /// Brings the names of a directory up to date, and returns those that were known before where they were listed
    /// again (else there is nothing to compare, and it is empty). None if nothing can be seen.
    fn names(
        &mut self,
        directory: &Path,
        walker: &mut Walker,
        class: &dyn Fn(&str, FileType) -> Class,
    ) -> Option<Listed> {
        self.tally.scan.stats += 1;
        // A root may be a link to anywhere.
        let root = self.store.below(&self.catalog.homes[self.home]);
        let metadata = if directory == root {
            fs::metadata(directory).map_err(Refused::from)
        } else {
            self.fence.metadata(directory)
        };
        let listed = match metadata {
            Ok(metadata) if metadata.is_dir() => {
                let stamp = DirectoryStamp::of(&metadata);
                let known = walker.listed.get(directory);
                if self.trusting && known.is_some_and(|known| known.stamp == Some(stamp)) {
                    self.tally.scan.foreign += known.map_or(0, |known| known.foreign);
                    return Some(Listed::default());
                }
                self.tally.scan.listings += 1;
                let settled = stamp.is_settled(self.catalog.clock_margin).then_some(stamp);
                list(directory, settled, class).map_err(Refused::from)
            }
            Ok(_) => Err(Refused::Special),
            Err(why) => Err(why),
        };
        match listed {
            Ok(listed) => {
                self.tally.scan.foreign += listed.foreign;
                Some(walker.listed.insert(directory.to_owned(), listed).unwrap_or_default())
            }
            // What is gone is an empty directory to those who compare.
            Err(Refused::Gone) => Some(walker.listed.remove(directory).unwrap_or_default()),
            Err(why) => {
                self.tally.refuse(directory, why);
                None
            }
        }
    }
}

fn list(
    directory: &Path,
    stamp: Option<DirectoryStamp>,
    class: &dyn Fn(&str, FileType) -> Class,
) -> io::Result<Listed> {
    let mut listed = Listed { stamp, ..Listed::default() };
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        // Gone in this moment: it is no news.
        let Ok(kind) = entry.file_type() else { continue };
        match name.to_str().map_or(Class::Foreign, |text| class(text, kind)) {
            Class::Directory => listed.directories.push(name),
            Class::File => listed.files.push(name),
            Class::Foreign => listed.foreign += 1,
        }
    }
    Ok(listed)
}

/// Looks at a thread's directory of segments, and says when it was written to last; its names are listed only if
/// they may differ from those known.
pub(super) fn list_spine(
    fence: &Fence,
    directory: &Path,
    home: usize,
    known: Option<&Spine>,
    margin: Duration,
    tally: &mut Tally,
) -> Result<(Spine, SystemTime), Refused> {
    tally.scan.stats += 1;
    let metadata = fence.metadata(directory)?;
    if !metadata.is_dir() {
        return Err(Refused::Special);
    }
    let stamp = DirectoryStamp::of(&metadata);
    let (stamp, names, foreign) = match known {
        Some(known) if known.stamp == Some(stamp) => {
            let names = known.segments.iter().map(|segment| segment.name).collect();
            (Some(stamp), names, known.foreign)
        }
        _ => {
            tally.scan.listings += 1;
            let (names, foreign) = segment_names(directory)?;
            (stamp.is_settled(margin).then_some(stamp), names, foreign)
        }
    };
    tally.scan.foreign += u64::from(foreign);
    let mut segments = Vec::with_capacity(names.len());
    for name in names {
        tally.scan.stats += 1;
        let path = directory.join(name.to_string());
        let before = || known?.segments.iter().find(|segment| segment.name.index == name.index);
        match fence.file(&path) {
            Ok(stat) => segments.push(Segment { name, stat }),
            Err(why) => {
                if tally.refuse(&path, why) {
                    segments.extend(before());
                }
            }
        }
    }
    tally.scan.files += segments.len() as u64;
    // One that was just made is as much in use as what will be in it.
    let made = || metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    let written = segments.iter().map(|segment| segment.stat.mtime).max().unwrap_or_else(made);
    Ok((Spine::new(home, stamp, segments, foreign), written))
}

/// The segments that a directory names, in order, and how many names are foreign.
fn segment_names(directory: &Path) -> io::Result<(Vec<SegmentName>, u32)> {
    let (mut names, mut foreign) = (Vec::new(), 0_u32);
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        match name.to_str().map(|name| (SegmentName::parse(name), name)) {
            Some((Some(segment), _)) => names.push(segment),
            Some((None, name)) if name::beside_segments(name) => {}
            _ => foreign = foreign.saturating_add(1),
        }
    }
    // Of two names with one number, the one that Codex would write counts.
    names.sort_by_key(|name: &SegmentName| name.order());
    names.dedup_by(|later, earlier| {
        let same = later.index == earlier.index;
        foreign = foreign.saturating_add(u32::from(same));
        same
    });
    Ok((names, foreign))
}
