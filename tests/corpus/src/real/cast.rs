//! Who and where: what stays the same over a session.

use crate::random::Random;

/// Who uses Codex.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// `cli`, `vscode`, `exec`, `mcp`.
    Program(&'static str),
    /// A sub-agent that reviews for its parent.
    Review,
    /// A sub-agent that another thread has started.
    Spawned { parent: String, depth: u64 },
}

/// A session's constants.
#[derive(Clone, Debug)]
pub(crate) struct Cast {
    pub(crate) thread: String,
    pub(crate) source: Source,
    pub(crate) model: &'static str,
    pub(crate) approval_policy: &'static str,
    pub(crate) sandbox: &'static str,
    pub(crate) cli_version: &'static str,
    pub(crate) project: &'static str,
    pub(crate) branch: Option<String>,
    pub(crate) commit: String,
    /// How many bytes the instructions have that stand in every session's first record.
    pub(crate) instructions: usize,
}

const PROJECTS: [&str; 9] = [
    "ledger",
    "harbour-maps",
    "kiosk",
    "tidewatch",
    "parcel-api",
    "orchard",
    "night-train",
    "quill",
    "beacon",
];
const MODELS: [&str; 3] = ["gpt-5.5", "gpt-5.5-codex", "gpt-5.2-codex"];
const BRANCHES: [&str; 5] = ["main", "fix/rounding", "feature/import-csv", "release/2.4", "tidy-up"];

impl Cast {
    pub(crate) fn new(random: &mut Random, millis: i64, budget: u64) -> Self {
        let program = ["cli", "cli", "cli", "vscode", "vscode", "exec", "exec", "mcp"];
        Self {
            thread: random.uuid(millis),
            source: Source::Program(random.pick(&program)),
            model: random.pick(&MODELS),
            approval_policy: random.pick(&["on-request", "on-request", "untrusted", "on-failure", "never"]),
            sandbox: random.pick(&["workspace-write", "workspace-write", "read-only", "danger-full-access"]),
            cli_version: random.pick(&["0.92.0", "0.93.0", "0.93.1"]),
            project: random.pick(&PROJECTS),
            // HEAD is detached now and then.
            branch: (!random.percent(8)).then(|| (random.pick(&BRANCHES)).to_owned()),
            commit: random.hex(40),
            instructions: usize::try_from(budget / 16).unwrap_or_default().clamp(200, 20_000),
        }
    }

    /// A sub-agent of this session.
    pub(crate) fn sub_agent(&self, random: &mut Random, millis: i64, source: Source) -> Self {
        Self { thread: random.uuid(millis), source, instructions: self.instructions / 4, ..self.clone() }
    }

    pub(crate) fn cwd(&self) -> String {
        format!("/home/dev/src/{}", self.project)
    }

    pub(crate) fn url(&self) -> String {
        format!("https://git.example.org/team/{}.git", self.project)
    }

    /// Whether it is the terminal program, which keeps a history of what was typed.
    pub(crate) fn source_is_cli(&self) -> bool {
        matches!(self.source, Source::Program("cli"))
    }

    /// Whether anybody is asked at all.
    pub(crate) fn asks(&self) -> bool {
        self.approval_policy != "never"
    }
}
