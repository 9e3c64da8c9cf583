//! A session as a tracing Codex of early 2026 records it: every submission, event and model request.

mod calls;
mod review;
pub(crate) mod talk;

use std::io;
use std::path::{Path, PathBuf};

use crate::Made;
use crate::clock::Clock;
use crate::json::{Json, Object, object};
use crate::random::Random;
use crate::real::cast::{Cast, Source};
use crate::real::moment::{Moment, Pen};
use crate::real::words::Pool;
use crate::spine::Spine;

/// Writes a spine.
pub(crate) struct SpinePen<'a> {
    home: PathBuf,
    cast: &'a Cast,
    pool: &'a Pool,
    random: Random,
    clock: Clock,
    spine: Spine,
    /// Sub-agents' spines that are done.
    others: Made,
    /// The counter of submissions, which begins again with every process.
    submissions: u64,
    /// The turn that runs: the id of its submission.
    turn: String,
    /// Tokens of the thread: input, cached, output, reasoning.
    used: [u64; 4],
    /// The sub-agent that is at work instead.
    reviewer: Option<Reviewer>,
}

/// A reviewing sub-agent: its own thread, whose events the parent repeats.
struct Reviewer {
    spine: Spine,
    turn: String,
    submissions: u64,
}

impl<'a> SpinePen<'a> {
    pub(crate) fn new(
        home: &Path,
        cast: &'a Cast,
        pool: &'a Pool,
        random: Random,
        clock: Clock,
    ) -> io::Result<Self> {
        let spine = Spine::begin(home, &cast.thread, clock)?;
        let turn = String::new();
        Ok(Self {
            home: home.to_path_buf(),
            cast,
            pool,
            random,
            clock,
            spine,
            others: Made::default(),
            submissions: 0,
            turn,
            used: [0; 4],
            reviewer: None,
        })
    }

    pub(crate) fn made(&self) -> Made {
        let mut made = self.spine.made();
        made.add(self.others);
        made
    }

    /// A submission of the user or client; gives its id.
    fn submission(&mut self, op: &Json) -> io::Result<String> {
        let id = self.submissions.to_string();
        self.submissions += 1;
        self.clock.pass(1);
        self.spine.record(self.clock, "submission", &object! { "id": id, "op": op })?;
        Ok(id)
    }

    /// An event of the running turn; while a sub-agent works it is the sub-agent's, and repeated here.
    fn event(&mut self, msg: &Json) -> io::Result<()> {
        self.clock.pass(1);
        if let Some(reviewer) = &mut self.reviewer {
            reviewer.spine.record(self.clock, "event", &object! { "id": reviewer.turn, "msg": msg })?;
        }
        self.spine.record(self.clock, "event", &object! { "id": self.turn, "msg": msg })
    }

    /// An event that a parent does not repeat: deltas, tokens, the marks of a turn's beginning and end.
    /// Deltas go past the queue that the others stand in, so that now and then one is written later.
    fn own_event(&mut self, msg: &Json, delta: bool) -> io::Result<()> {
        self.clock.pass(if delta { 12 } else { 1 });
        let (spine, turn) = match &mut self.reviewer {
            Some(reviewer) => (&mut reviewer.spine, &reviewer.turn),
            None => (&mut self.spine, &self.turn),
        };
        let payload = object! { "id": turn, "msg": msg };
        if delta && self.random.below(400) == 0 {
            spine.record_late(self.clock, "event", &payload, if self.clock.0 % 2 == 0 { 1 } else { 3 });
            return Ok(());
        }
        spine.record(self.clock, "event", &payload)
    }

    /// A record of another kind, in the spine of whoever is at work.
    fn record(&mut self, kind: &str, payload: &Json) -> io::Result<()> {
        self.clock.pass(1);
        let spine = self.reviewer.as_mut().map_or(&mut self.spine, |reviewer| &mut reviewer.spine);
        spine.record(self.clock, kind, payload)
    }

    /// The turn of whoever is at work, as events name it in their own fields.
    fn active_turn(&self) -> String {
        self.reviewer.as_ref().map_or(&self.turn, |reviewer| &reviewer.turn).clone()
    }

    fn began(&mut self, resumed: bool) -> io::Result<()> {
        self.submissions = 0;
        self.turn = String::new();
        if resumed {
            self.spine.resume(self.clock)?;
        } else {
            let meta = meta(self.cast, self.clock);
            self.spine.record(self.clock, "session_meta", &meta)?;
        }
        let configured = object! {
            "type": "session_configured",
            "session_id": self.cast.thread,
            "model": self.cast.model,
            "model_provider_id": "openai",
            "approval_policy": self.cast.approval_policy,
            "sandbox_policy": sandbox(self.cast),
            "cwd": self.cast.cwd(),
            "reasoning_effort": "medium",
            "history_log_id": 0_u64,
            "history_entry_count": self.random.below(900),
            "rollout_path": format!(
                "/home/dev/.codex/sessions/{}/rollout-{}-{}.jsonl",
                self.clock.day(), self.clock.file_name(), self.cast.thread
            ),
        };
        self.event(&configured)?;
        self.git()?;
        for op in ["list_custom_prompts", "list_skills"] {
            self.submission(&object! { "type": op })?;
        }
        Ok(())
    }

    /// The state of the repository. A resume writes the file of the diff anew, so that the hash of the
    /// earlier record is no longer that of the file.
    fn git(&mut self) -> io::Result<()> {
        let git = object! {
            "commit_hash": self.cast.commit, "branch": self.cast.branch, "repository_url": self.cast.url(),
        };
        let info = object! { "kind": "git_info", "repo_root": self.cast.cwd(), "git": git };
        self.record("artifact_ref", &info)?;
        let length = self.random.long_tail(300, 40_000);
        let diff = self.pool.diff(&mut self.random, length);
        let hash = self.spine.artifact("git_diff.patch", diff.as_bytes())?;
        let diff = object! {
            "kind": "git_diff", "base_sha": self.cast.commit, "artifact_path": "artifacts/git_diff.patch", "sha256": hash,
        };
        self.record("artifact_ref", &diff)?;
        if self.random.percent(30) {
            let hash = self.spine.artifact("shell_snapshot.bash", b"export EDITOR=vi\nalias ll='ls -l'\n")?;
            let snapshot = object! {
                "kind": "shell_snapshot", "artifact_path": "artifacts/shell_snapshot.bash", "sha256": hash, "shell": "bash",
            };
            self.record("artifact_ref", &snapshot)?;
        }
        Ok(())
    }
}

impl Pen for SpinePen<'_> {
    fn tell(&mut self, moment: &Moment<'_>) -> io::Result<()> {
        match moment {
            Moment::Began { resumed } => self.began(*resumed),
            Moment::TurnBegan { text } => self.turn_began(text),
            Moment::Steered { text } => self.steered(text),
            Moment::Requested => self.requested(),
            Moment::Thought { text } => self.thought(text),
            Moment::Said { text } => self.said(text),
            Moment::Ran(command) => self.ran(command),
            Moment::Patched(patch) => self.patched(patch),
            Moment::Called { call, tool, arguments, answer } => self.called(call, tool, arguments, *answer),
            Moment::Searched { call, query } => self.searched(call, query),
            Moment::Planned { steps } => self.planned(steps),
            Moment::Used { tokens } => self.used(*tokens),
            Moment::Compacted { local, summary, before } => self.compacted(*local, summary, before),
            Moment::Failed { message, info } => {
                self.event(&object! { "type": "error", "message": message, "codex_error_info": info })
            }
            Moment::StreamFailed { message } => self.stream_failed(message),
            Moment::Warned { message } => self.event(&object! { "type": "warning", "message": message }),
            Moment::Undone => self.undone(),
            Moment::RolledBack { turns } => self.rolled_back(*turns),
            Moment::Interrupted => self.submission(&object! { "type": "interrupt" }).map(drop),
            Moment::ReviewBegan { reviewer } => self.review_began(reviewer),
            Moment::ReviewEnded { verdict } => self.review_ended(verdict),
            Moment::Spawned { call, child, prompt } => self.spawned(call, child, prompt),
            Moment::TurnComplete { last } => {
                self.own_event(&object! { "type": "task_complete", "last_agent_message": last }, false)
            }
            Moment::TurnAborted => {
                self.own_event(&object! { "type": "turn_aborted", "reason": "interrupted" }, false)
            }
            Moment::Ended(ending) => self.ended(*ending),
        }
    }

    fn clock(&mut self) -> &mut Clock {
        &mut self.clock
    }

    fn bytes(&self) -> u64 {
        self.made().bytes
    }
}

/// `session_meta`, flat.
fn meta(cast: &Cast, now: Clock) -> Json {
    let mut meta = Object::new();
    meta.put("id", &cast.thread);
    meta.put("timestamp", &now.text());
    meta.put("cwd", &cast.cwd());
    meta.put("originator", "codex_cli_rs");
    meta.put("cli_version", cast.cli_version);
    match &cast.source {
        Source::Program(name) => meta.put("source", name),
        Source::Review => meta.put("source", &object! { "subagent": "review" }),
        Source::Spawned { parent, depth } => {
            let spawn = object! { "parent_thread_id": parent, "depth": depth };
            meta.put("source", &object! { "subagent": object! { "thread_spawn": spawn } });
        }
    }
    meta.put("model_provider", "openai");
    meta.put("base_instructions", &object! { "text": instructions(cast.instructions) });
    meta.end()
}

/// Instructions of some length.
pub(crate) fn instructions(length: usize) -> String {
    const TEXT: &str = "You work in a terminal together with a person. Say what you are about to do before you do \
        it, keep changes small, run the tests that belong to them, and never touch what is not yours.\n";
    TEXT.chars().cycle().take(length).collect()
}

/// The sandbox policy as an object.
pub(crate) fn sandbox(cast: &Cast) -> Json {
    if cast.sandbox == "workspace-write" {
        object! {
            "type": cast.sandbox, "network_access": false, "exclude_tmpdir_env_var": false, "exclude_slash_tmp": false,
        }
    } else {
        object! { "type": cast.sandbox }
    }
}
