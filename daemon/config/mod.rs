//! The configuration: one TOML file, each of whose keys a variable `SPINDLE_<SECTION>_<KEY>` overrides.
//!
//! - `keys`: the table of all keys, which everything else is made from;
//! - `value`, `level`: the types of values;
//! - `load`: the file and the variables, with all that is wrong in them;
//! - `show`: the values in effect, and the commented default file;
//! - `reference`: the page `docs/configuration.md`.

mod keys;
mod level;
mod load;
#[cfg(test)]
mod reference;
mod show;
mod suggest;
#[cfg(test)]
mod tests;
mod value;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use engine::Run;

pub(crate) use level::LogLevel;
pub(crate) use load::{Place, Problem, Problems, Source};
pub(crate) use show::default_file;
pub(crate) use value::LogFormat;

use keys::{SECTIONS, TakesEffect};
use value::{AtLeastOne, Kind, Outcome, Size, Words};

/// All settings.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Config {
    pub(crate) daemon: Daemon,
    pub(crate) runs: Runs,
    pub(crate) store: Store,
    pub(crate) codex: Codex,
    pub(crate) traces: Traces,
    pub(crate) power: Power,
    pub(crate) hooks: Vec<Hook>,
}

/// `[daemon]`
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Daemon {
    pub(crate) log_level: LogLevel,
    pub(crate) log_format: LogFormat,
}

/// `[runs]`
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Runs {
    slots: AtLeastOne,
    slots_by_kind: BTreeMap<Kind, AtLeastOne>,
    max_interruptions: u32,
    keep: u64,
    keep_for: Duration,
    keep_events: AtLeastOne,
}

/// `[store]`
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Store {
    free_space_floor: Size,
    cache: Size,
}

/// `[codex]`
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Codex {
    binary: Words,
}

/// `[traces]`
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of its own in the file")]
pub(crate) struct Traces {
    pub(crate) enabled: bool,
    homes: Vec<PathBuf>,
    pub(crate) settle_after: Duration,
    pub(crate) live_window: Duration,
    pub(crate) rescan_every: Duration,
    pub(crate) keep_deleted: bool,
    pub(crate) record: bool,
    pub(crate) bundles: bool,
    pub(crate) keep_bundles: Size,
}

/// `[power]`
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Power {
    pub(crate) inhibit_sleep: bool,
}

/// One of `[[hooks]]`: a command to be run when a run has ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Hook {
    on: Vec<Outcome>,
    kinds: Vec<Kind>,
    labels: BTreeMap<String, String>,
    /// Program and arguments; never empty.
    pub(crate) command: Vec<String>,
    /// When it is stopped.
    pub(crate) timeout: Duration,
    /// Where it runs; none: in the home directory.
    pub(crate) cwd: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        let engine = engine::Settings::default();
        let store = engine::store::Options::default();
        let at_least_one = |number| AtLeastOne(NonZeroUsize::new(number).unwrap_or(NonZeroUsize::MIN));
        Self {
            daemon: Daemon { log_level: LogLevel::default(), log_format: LogFormat::Human },
            runs: Runs {
                slots: at_least_one(engine.slots),
                slots_by_kind: BTreeMap::new(),
                max_interruptions: engine.max_interruptions,
                keep: engine.keep_runs,
                keep_for: engine.keep_runs_for,
                keep_events: at_least_one(usize::try_from(engine.keep_events).unwrap_or(usize::MAX)),
            },
            store: Store { free_space_floor: Size(store.free_space_floor), cache: Size(store.cache_bytes) },
            codex: Codex { binary: Words(vec!["codex".to_owned()]) },
            traces: Traces {
                enabled: true,
                homes: Vec::new(),
                settle_after: Duration::from_mins(10),
                live_window: Duration::from_mins(10),
                rescan_every: Duration::from_mins(1),
                keep_deleted: true,
                record: true,
                bundles: false,
                keep_bundles: Size(4 << 30),
            },
            power: Power { inhibit_sleep: false },
            hooks: Vec::new(),
        }
    }
}

impl Default for Hook {
    fn default() -> Self {
        Self {
            on: Vec::new(),
            kinds: Vec::new(),
            labels: BTreeMap::new(),
            command: Vec::new(),
            timeout: Duration::from_mins(1),
            cwd: None,
        }
    }
}

impl Config {
    /// The engine's part.
    pub(crate) fn engine_settings(&self) -> engine::Settings {
        let runs = &self.runs;
        engine::Settings {
            slots: runs.slots.0.get(),
            slots_by_kind: runs
                .slots_by_kind
                .iter()
                .map(|(kind, slots)| (kind.0.to_owned(), slots.0.get()))
                .collect(),
            max_interruptions: runs.max_interruptions,
            keep_runs: runs.keep,
            keep_runs_for: runs.keep_for,
            keep_events: runs.keep_events.into(),
        }
    }

    /// How the store is opened.
    pub(crate) fn store_options(&self) -> engine::store::Options {
        engine::store::Options {
            free_space_floor: self.store.free_space_floor.0,
            cache_bytes: self.store.cache.0,
            ..engine::store::Options::default()
        }
    }

    /// The Codex CLI as a command line, if one is configured; else each repository's own counts.
    pub(crate) fn codex_binary(&self) -> Option<String> {
        let words = &self.codex.binary.0;
        (*words != Self::default().codex.binary.0)
            .then(|| shlex::try_join(words.iter().map(String::as_str)).ok())?
    }

    /// How traces are watched, and what is kept of them.
    pub(crate) fn insight_settings(&self) -> insight::Settings {
        let traces = &self.traces;
        insight::Settings {
            homes: if traces.enabled { self.trace_homes() } else { Vec::new() },
            settle_after: traces.settle_after,
            live_window: traces.live_window,
            poll_interval: traces.rescan_every,
            retention: if traces.keep_deleted { insight::Retention::Keep } else { insight::Retention::Drop },
            ..insight::Settings::default()
        }
    }

    /// The Codex homes that are watched.
    fn trace_homes(&self) -> Vec<PathBuf> {
        if !self.traces.homes.is_empty() {
            return self.traces.homes.clone();
        }
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let home = variable("CODEX_HOME").or_else(|| variable("HOME").map(|home| home.join(".codex")));
        home.into_iter().collect()
    }

    /// The keys whose values differ and that a reload does not change, as `section.key`.
    pub(crate) fn needs_restart(&self, new: &Self) -> Vec<String> {
        let (mut old, mut changed) = (self.clone(), new.clone());
        let mut differ = Vec::new();
        for section in SECTIONS {
            for key in section.keys.iter().filter(|key| key.takes_effect == TakesEffect::OnStart) {
                if (key.field)(&mut old).show() != (key.field)(&mut changed).show() {
                    differ.push(section.path(key));
                }
            }
        }
        if self.hooks != new.hooks {
            differ.push(keys::HOOKS.to_owned());
        }
        differ
    }
}

impl Hook {
    /// Whether it is for the end of this run.
    pub(crate) fn is_for(&self, run: &Run) -> bool {
        self.on.iter().any(|outcome| outcome.0 == run.state.status())
            && (self.kinds.is_empty() || self.kinds.iter().any(|kind| kind.0 == run.kind))
            && self.labels.iter().all(|(name, value)| run.labels.get(name) == Some(value))
    }
}
