//! Where each tool keeps its runs.

use std::fs;
use std::path::{Path, PathBuf};

use super::Tool;
use super::fields::Fields;
use super::survey::RunFiles;
use super::{ExternalRun, autorunner, orchestrator, tournament, workspaces};
use crate::source::{Fence, Refused};

/// How many entries of a directory are looked at.
const ENTRIES_LIMIT: usize = 20_000;

/// How a tool lays out its runs.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) tool: Tool,
    /// The directory that holds all runs.
    container: &'static str,
    /// Above it, where the tool has a home of its own.
    above: Option<&'static str>,
    /// From the container to a run: a fixed name, or any.
    levels: &'static [Option<&'static str>],
    /// The file that makes a directory a run.
    pub(super) file: &'static str,
    /// A second file that tells of the run.
    pub(super) second: Option<&'static str>,
    pub(super) read: Reader,
}

/// Makes a run of its files; none if the file is of something else.
pub(super) type Reader = fn(&RunFiles<'_>, Fields<'_>) -> Option<ExternalRun>;

pub(super) const LAYOUTS: [Layout; 4] = [
    Layout {
        tool: Tool::Orchestrator,
        container: ".runs",
        above: None,
        levels: &[None, Some("cli"), None],
        file: "manifest.json",
        second: Some(".heartbeat"),
        read: orchestrator::read,
    },
    Layout {
        tool: Tool::Tournament,
        container: "runs",
        above: None,
        levels: &[None],
        file: "run.json",
        second: None,
        read: tournament::read,
    },
    Layout {
        tool: Tool::Autorunner,
        container: ".codex-autorunner",
        above: None,
        levels: &[],
        file: "state.json",
        second: Some("lock"),
        read: autorunner::read,
    },
    Layout {
        tool: Tool::Workspaces,
        container: "tasks",
        above: Some(".codex-orchestrator"),
        levels: &[None],
        file: "meta.json",
        second: None,
        read: workspaces::read,
    },
];

impl Layout {
    /// Where a registered directory would have the tool's runs.
    fn containers(&self, registered: &Path) -> Vec<PathBuf> {
        if registered.file_name().is_some_and(|name| name == self.container) {
            return vec![registered.to_owned()];
        }
        let direct = registered.join(self.container);
        let deeper = self.above.map(|above| registered.join(above).join(self.container));
        std::iter::once(direct).chain(deeper).collect()
    }

    /// Whether a file of that name in that place can be nothing but a run's.
    pub(super) fn is_certain_by_place(&self) -> bool {
        matches!(self.tool, Tool::Orchestrator | Tool::Autorunner)
    }

    /// Whether a file of this name tells of a run.
    pub(super) fn tells(&self, name: &str) -> bool {
        name == self.file || self.second == Some(name)
    }

    /// Finds the directories that are runs.
    pub(super) fn walk(&self, registered: &Path, fence: &Fence) -> Walked {
        let mut walked = Walked::default();
        let mut level = self.containers(registered);
        // The tool's home may be there before it keeps anything.
        let home = self.above.map(|above| registered.join(above));
        walked
            .passed
            .extend(home.filter(|home| fence.metadata(home).is_ok_and(|metadata| metadata.is_dir())));
        level.retain(|container| container == registered || walked.is_directory(container, fence));
        for name in self.levels {
            let mut next = Vec::new();
            for directory in level {
                match name {
                    Some(name) => next.push(directory.join(name)),
                    None => next.extend(walked.below(&directory)),
                }
                walked.passed.push(directory);
            }
            next.retain(|directory| walked.is_directory(directory, fence));
            level = next;
        }
        level.retain(|directory| match fence.file(&directory.join(self.file)) {
            Ok(_) => true,
            Err(Refused::Unreadable(_)) => {
                walked.unreadable.push(directory.clone());
                false
            }
            // One that was just made has its file a moment later.
            Err(_) => {
                walked.passed.push(directory.clone());
                false
            }
        });
        walked.runs = level;
        walked
    }
}

/// What a walk found.
#[derive(Debug, Default)]
pub(super) struct Walked {
    /// The directories of runs.
    pub(super) runs: Vec<PathBuf>,
    /// Directories in which runs may appear.
    pub(super) passed: Vec<PathBuf>,
    /// What could not be looked into: what was known to lie there may still do.
    pub(super) unreadable: Vec<PathBuf>,
}

impl Walked {
    fn is_directory(&mut self, path: &Path, fence: &Fence) -> bool {
        match fence.metadata(path) {
            Ok(metadata) => metadata.is_dir(),
            Err(Refused::Unreadable(_)) => {
                self.unreadable.push(path.to_owned());
                false
            }
            Err(_) => false,
        }
    }

    fn below(&mut self, directory: &Path) -> Vec<PathBuf> {
        match fs::read_dir(directory) {
            Ok(entries) => {
                let entries = entries.take(ENTRIES_LIMIT).filter_map(Result::ok);
                entries
                    .filter(|entry| entry.file_type().is_ok_and(|kind| !kind.is_file()))
                    .map(|entry| entry.path())
                    .collect()
            }
            Err(error) => {
                if !matches!(Refused::from(error), Refused::Gone) {
                    self.unreadable.push(directory.to_owned());
                }
                Vec::new()
            }
        }
    }
}
