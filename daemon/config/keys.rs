//! The table of all keys: the one place that a key's name, meaning, type and default come from, for the
//! file, the variables, the errors and the reference alike.

use super::value::Field;
use super::{Config, Hook};

/// A part of the file.
pub(crate) struct Section {
    /// Its name, as in `[name]`.
    pub(crate) name: &'static str,
    /// What it is about.
    pub(crate) about: &'static str,
    /// Its keys.
    pub(crate) keys: &'static [Key<Config>],
}

/// A key of a configuration or of a hook.
pub(crate) struct Key<C: 'static> {
    /// Its name within its section.
    pub(crate) name: &'static str,
    /// What it means, in lines of a comment's length.
    pub(crate) about: &'static str,
    /// What applies when it is not given, if the value itself does not say it everywhere.
    pub(crate) default: Option<&'static str>,
    /// When a changed value takes effect.
    pub(crate) takes_effect: TakesEffect,
    /// A further variable that sets it.
    pub(crate) variable: Option<&'static str>,
    /// Where its value is.
    pub(crate) field: fn(&mut C) -> &mut dyn Field,
}

impl Section {
    /// The name of one of its keys in messages: `section.key`.
    pub(crate) fn path(&self, key: &Key<Config>) -> String {
        format!("{}.{}", self.name, key.name)
    }
}

/// When a changed value takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TakesEffect {
    /// When the daemon is told to read its configuration again.
    OnReload,
    /// When the daemon starts.
    OnStart,
}

impl<C> Key<C> {
    const fn new(name: &'static str, about: &'static str, field: fn(&mut C) -> &mut dyn Field) -> Self {
        Self { name, about, default: None, takes_effect: TakesEffect::OnReload, variable: None, field }
    }

    const fn on_start(self) -> Self {
        Self { takes_effect: TakesEffect::OnStart, ..self }
    }

    const fn default(self, words: &'static str) -> Self {
        Self { default: Some(words), ..self }
    }

    const fn variable(self, name: &'static str) -> Self {
        Self { variable: Some(name), ..self }
    }
}

/// All sections but `[[hooks]]`.
pub(crate) static SECTIONS: &[Section] = &[
    Section {
        name: "daemon",
        about: "The daemon itself.",
        keys: &[
            Key::<Config>::new(
                "log_level",
                "What is logged: off, error, warn, info, debug or trace; or one of them for each part of\n\
                 the program, as in \"info,engine=debug\".",
                |config| &mut config.daemon.log_level,
            ),
            Key::<Config>::new(
                "log_format",
                "How it is logged: \"human\", or \"json\" for one object per line.",
                |config| &mut config.daemon.log_format,
            )
            .on_start(),
        ],
    },
    Section {
        name: "runs",
        about: "How many runs are at work, and what is kept of those that have ended.",
        keys: &[
            Key::<Config>::new(
                "slots",
                "How many runs may be at work at the same time; others wait.",
                |config| &mut config.runs.slots,
            )
            .default("twice the number of processor cores"),
            Key::<Config>::new(
                "slots_by_kind",
                "The same for single kinds of runs, such as { autorun = 2 }.",
                |config| &mut config.runs.slots_by_kind,
            ),
            Key::<Config>::new(
                "max_interruptions",
                "How often a run goes on by itself after its process was lost. After that it waits for\n\
                 `spindle run resume`.",
                |config| &mut config.runs.max_interruptions,
            ),
            Key::<Config>::new(
                "keep",
                "How many ended runs are kept; the oldest go first, with their logs.",
                |config| &mut config.runs.keep,
            ),
            Key::<Config>::new("keep_for", "How long ended runs are kept at most.", |config| {
                &mut config.runs.keep_for
            }),
            Key::<Config>::new(
                "keep_events",
                "How many events are kept: how far back a watcher can take up where it was.",
                |config| &mut config.runs.keep_events,
            ),
        ],
    },
    Section {
        name: "store",
        about: "The database in the state directory.",
        keys: &[
            Key::<Config>::new(
                "free_space_floor",
                "With less space free on its disk, the daemon does not start.",
                |config| &mut config.store.free_space_floor,
            )
            .on_start(),
            Key::<Config>::new("cache", "Memory for pages of the database.", |config| {
                &mut config.store.cache
            })
            .on_start(),
        ],
    },
    Section {
        name: "codex",
        about: "The Codex CLI.",
        keys: &[Key::<Config>::new(
            "binary",
            "The program that is run: a name on PATH or an absolute path; with arguments where a\n\
                 wrapper needs them, as in \"npx --yes @openai/codex\".",
            |config| &mut config.codex.binary,
        )
        .variable("SPINDLE_CODEX_BIN")
        .on_start()],
    },
    Section {
        name: "traces",
        about: "What Codex writes about its sessions: trace spines and rollouts.",
        keys: &[
            Key::<Config>::new(
                "enabled",
                "Reads them as they are written, and finds signals in them.",
                |config| &mut config.traces.enabled,
            )
            .on_start(),
            Key::<Config>::new(
                "homes",
                "The Codex homes that are watched. They need not exist yet.",
                |config| &mut config.traces.homes,
            )
            .default("CODEX_HOME, else ~/.codex")
            .on_start(),
            Key::<Config>::new(
                "settle_after",
                "How long nothing must come before a session counts as settled, and its signals as final:\n\
                 by the time of its last record, or of its files where that is earlier.",
                |config| &mut config.traces.settle_after,
            )
            .on_start(),
            Key::<Config>::new(
                "live_window",
                "Records older than this when they are first read are history: their signals are listed,\n\
                 and set off no schedule.",
                |config| &mut config.traces.live_window,
            )
            .on_start(),
            Key::<Config>::new(
                "rescan_every",
                "How often all files are looked at, for what no notification told of.",
                |config| &mut config.traces.rescan_every,
            )
            .on_start(),
            Key::<Config>::new(
                "keep_deleted",
                "Keeps what was found in sessions whose files have been deleted since.",
                |config| &mut config.traces.keep_deleted,
            )
            .on_start(),
            Key::<Config>::new(
                "record",
                "Writes a trace spine for every Codex that a run of Spindle starts, while it works, below the\n\
                 run's own Codex home.",
                |config| &mut config.traces.record,
            )
            .on_start(),
            Key::<Config>::new(
                "bundles",
                "Asks every Codex that a run of Spindle starts for a rollout trace bundle, in `rollout_trace`\n\
                 below the run's own Codex home. They hold every request to the model, whole prompts included,\n\
                 and grow fast. Releases as old as 0.75.0 write none.",
                |config| &mut config.traces.bundles,
            )
            .on_start(),
            Key::<Config>::new(
                "keep_bundles",
                "How much of the bundles that were asked for is kept, all of them together; the oldest go\n\
                 first, and none that Codex is at work on. A bundle is kept no longer than its run. Bundles\n\
                 that somebody else has asked for are never removed.",
                |config| &mut config.traces.keep_bundles,
            )
            .on_start(),
        ],
    },
    Section {
        name: "power",
        about: "The machine.",
        keys: &[Key::<Config>::new(
            "inhibit_sleep",
            "Keeps the machine from going to sleep while runs are at work, with systemd-inhibit or,\n\
                 on macOS, caffeinate.",
            |config| &mut config.power.inhibit_sleep,
        )
        .on_start()],
    },
];

/// The name of the list of hooks.
pub(crate) const HOOKS: &str = "hooks";

/// What a hook is.
pub(crate) const HOOKS_ABOUT: &str = "\
Commands to be run when a run has ended, each as a run of its own, which has a log and a state\n\
like any other. A command reads the ended run as one JSON object from its standard input. Hooks\n\
do not run at the end of hooks. Changes take effect at the next start.";

/// The keys of a hook.
pub(crate) static HOOK_KEYS: &[Key<Hook>] = &[
    Key::<Hook>::new(
        "on",
        "The outcomes: \"succeeded\", \"failed\", \"canceled\", \"interrupted\".",
        |hook| &mut hook.on,
    )
    .default("must be given"),
    Key::<Hook>::new("kinds", "The kinds of runs; none: all.", |hook| &mut hook.kinds),
    Key::<Hook>::new("labels", "Labels that the run must have, all of them.", |hook| &mut hook.labels),
    Key::<Hook>::new("command", "Program and arguments. No shell is involved.", |hook| &mut hook.command)
        .default("must be given"),
    Key::<Hook>::new("timeout", "When the command is stopped.", |hook| &mut hook.timeout),
    Key::<Hook>::new("cwd", "The directory in which it runs.", |hook| &mut hook.cwd)
        .default("the home directory"),
];

/// The variable that sets a key.
pub(crate) fn variable(section: &str, key: &str) -> String {
    format!("SPINDLE_{}_{}", section.to_uppercase(), key.to_uppercase())
}
