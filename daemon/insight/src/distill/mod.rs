//! From a moment of a session to a task that Harbor can run.
//!
//! ```text
//! instruction.md            the user's words
//! task.toml                 limits, and under [metadata] where all of it comes from
//! environment/Dockerfile    the repository as it was: a clone, or files whose bodies were recorded
//! tests/test.sh             a recorded command, chosen and checked for meaning; always writes one reward
//! solution/solve.sh         the recorded patches, or the working tree at the end, where there are any
//! ```
//!
//! A verifier is a command of the session that passed, that tests, builds or checks something in the repository,
//! and that failed before or came after the last patch. Where there is none, or where the start cannot be made
//! as it was, the task says so (`verifier_type = "missing"` with the reason): it scores 0, and datasets leave it
//! out. All that was recorded is untrusted and stands quoted; secrets and home directories are replaced.

mod paths;
mod remote;
mod render;
mod shell;
mod start;
#[cfg(test)]
mod tests;
mod verifier;
mod window;

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use trace::output::{Output, OutputError, sha256_hex};
use trace::redact::{Redactor, Report};
use trace::transcript::{self, FilesError, SessionFiles, Transcript, What};

pub use shell::Class;
use start::{Found, Patch, Start};
pub use verifier::Evidence;
use verifier::Verifier;
pub use window::Selection;
use window::Window;

/// How a task is made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Whether a repository may be cloned from a `file://` URL: only where the image has it there.
    pub allow_file_urls: bool,
    /// The image that the container begins with, in place of the one that fits the verifier.
    pub base_image: Option<String>,
}

/// Where a task comes from: `[metadata]` of its `task.toml`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Metadata {
    /// `spindle`: who made the task.
    pub generator: String,
    /// The task's name: the same whenever the same moment is distilled.
    pub task_name: String,
    /// The thread.
    pub source_thread_id: String,
    /// The same, under the name that our other formats have for it.
    pub session_id: String,
    /// Codex's ids of the turns.
    pub source_turn_ids: Vec<String>,
    /// First and last record: `a-b`.
    pub seq_range: String,
    /// The remote, without credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_repo_url: Option<String>,
    /// The commit that the task begins with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_commit_hash: Option<String>,
    /// The patch of the working tree, relative to the spine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_git_diff_path: Option<String>,
    /// What that patch is against.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_git_diff_base_sha: Option<String>,
    /// What that patch hashed to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diff_hash: Option<String>,
    /// `clone` or `synthetic`.
    pub start_state: String,
    /// `exec_command` or `missing`.
    pub verifier_type: String,
    /// Why there is no verifier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verifier_missing_reason: Option<String>,
    /// What the verifier is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verifier_class: Option<Class>,
    /// What speaks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verifier_evidence: Option<Evidence>,
    /// The call that it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verifier_call_id: Option<String>,
    /// Whether there is a `solution/solve.sh`.
    pub has_solution: bool,
    /// The calls of the window.
    pub call_ids: Vec<String>,
    /// The signal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal_id: Option<String>,
    /// `friction` or `delight`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal_type: Option<String>,
    /// Its category.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal_category: Option<String>,
    /// From 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<f64>,
    /// What found it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detector: Option<String>,
    /// The rules.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule_set: Option<String>,
    /// Who used Codex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_source: Option<String>,
    /// The model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Codex's version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cli_version: Option<String>,
    /// In force at the time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval_policy: Option<String>,
    /// In force at the time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sandbox_policy: Option<String>,
    /// What a reader should know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// How many secrets and home directories were replaced; none if redaction was off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redactions: Option<u64>,
}

/// A task that was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Distilled {
    /// Where it lies.
    pub directory: PathBuf,
    /// What it is made of.
    pub metadata: Metadata,
    /// What was replaced.
    pub redaction: Report,
}

/// A task cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum DistillError {
    /// The session cannot be read.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The output cannot be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The selection is empty.
    #[error("the session has no records there; name other numbers, or a signal of this session")]
    NothingThere,
    /// The signal belongs elsewhere.
    #[error("the signal is of session {signal}, not of {session}")]
    OtherSession {
        /// The signal's.
        signal: String,
        /// The files'.
        session: String,
    },
    /// There is nothing to ask an agent for.
    #[error("the user said nothing in that part of the session, so there is no task to set")]
    NoWords,
    /// The image's name could be taken for something else.
    #[error("{0:?} is no name of a container image")]
    Image(String),
    /// The configuration cannot be put into TOML.
    #[error("cannot write task.toml")]
    Toml(#[from] toml::ser::Error),
}

/// Makes a task of a part of a session, in a new directory.
pub fn distill(
    files: &SessionFiles,
    selection: &Selection,
    options: &Options,
    directory: &Path,
    redactor: &mut Redactor,
) -> Result<Distilled, DistillError> {
    let output = Output::begin(directory)?;
    let mut transcript = transcript::read(files)?;
    if let Some(recorded) = &files.recorded {
        transcript.take_git_of(transcript::read(recorded)?);
    }
    if let Selection::Signal(signal) = selection
        && signal.session_id != transcript.id
    {
        return Err(DistillError::OtherSession {
            signal: signal.session_id.to_string(),
            session: transcript.id.to_string(),
        });
    }
    let mut draft = Draft::new(&transcript, files, selection, options)?;
    draft.redact(redactor)?;
    let image = match &options.base_image {
        Some(image) if is_image(image) => image.as_str(),
        Some(image) => return Err(DistillError::Image(image.chars().take(200).collect())),
        None => render::base_image(draft.verifier.as_ref().ok()),
    };
    draft.write(&output, image, redactor)?;
    let metadata = draft.metadata(selection, &transcript, redactor);
    output.write("task.toml", draft.task_toml(&metadata)?.as_bytes())?;
    let directory = output.finish()?;
    Ok(Distilled { directory, metadata, redaction: redactor.report() })
}

/// A task before it is written.
struct Draft<'a> {
    transcript: &'a Transcript,
    window: Window,
    words: String,
    verifier: Result<Verifier, String>,
    found: Found,
    solution: Vec<Patch>,
    /// The commit that the solution is against, where it is not against the start.
    solves_from: Option<String>,
    notes: Vec<String>,
    name: String,
}

impl<'a> Draft<'a> {
    fn new(
        transcript: &'a Transcript,
        files: &SessionFiles,
        selection: &Selection,
        options: &Options,
    ) -> Result<Self, DistillError> {
        let root = transcript.head.repo_root.clone().or_else(|| transcript.head.cwd.clone());
        let root = root
            .filter(|root| root.len() > 1 && root.starts_with('/'))
            .unwrap_or_else(|| paths::REPO.to_owned());
        let windows = window::windows(transcript, selection)?;
        let mut tried = windows.iter().map(|window| (*window, verifier::choose(transcript, *window, &root)));
        let (first, why) = tried.next().ok_or(DistillError::NothingThere)?;
        let (window, verifier) = match why {
            Ok(verifier) => (first, Ok(verifier)),
            Err(why) => tried.find(|(_, verifier)| verifier.is_ok()).unwrap_or((first, Err(why))),
        };
        let words = window::words(transcript, window).join("\n\n");
        if words.trim().is_empty() {
            return Err(DistillError::NoWords);
        }
        let artifacts = files.root.as_deref().or_else(|| files.recorded.as_ref()?.root.as_deref());
        let found = start::find(transcript, window, &root, artifacts, options.allow_file_urls);
        let until = verifier.as_ref().map_or(window.last, |verifier| verifier.entry);
        let (mut solution, wrong) = start::recorded(transcript, window, &root, until);
        let mut notes = Vec::new();
        let mut solves_from = None;
        if wrong.is_some() {
            solution.clear();
        }
        if solution.is_empty() {
            if let Some(end) = start::end(transcript, window, &found, artifacts) {
                notes
                    .push("the solution is the working tree as it was found when Codex had ended".to_owned());
                solves_from.clone_from(&found.base);
                solution.push(end);
            } else if let Some(reason) = wrong {
                notes.push(format!("no solution: {reason}"));
            }
        }
        Ok(Self {
            transcript,
            window,
            words: paths::mapped(&words, &root),
            verifier,
            found,
            solution,
            solves_from,
            notes,
            name: task_name(selection, transcript, window),
        })
    }

    /// Shows all texts to the redactor, so that what one of them tells to be a secret is known in the others.
    fn foresee(&self, redactor: &mut Redactor) {
        redactor.foresee(&self.words);
        if let Ok(verifier) = &self.verifier {
            redactor.foresee(&verifier.script);
        }
        match &self.found.start {
            Start::Clone { url, diff, before, .. } => {
                redactor.foresee(url);
                let patches = diff.iter().chain(before.iter().map(|patch| &patch.text));
                patches.for_each(|patch| redactor.foresee(patch));
            }
            Start::Synthetic(files) => files.values().for_each(|content| redactor.foresee(content)),
        }
        self.solution.iter().for_each(|patch| redactor.foresee(&patch.text));
    }

    /// Replaces what must not leave, and gives up what does not work without it.
    fn redact(&mut self, redactor: &mut Redactor) -> Result<(), DistillError> {
        self.foresee(redactor);
        redactor.enter("instruction.md");
        self.words = redactor.text(&self.words).into_owned();
        if self.words.trim().is_empty() {
            return Err(DistillError::NoWords);
        }
        redactor.enter("tests/test.sh");
        if let Ok(verifier) = &mut self.verifier {
            let (script, cwd) =
                (redactor.text(&verifier.script).into_owned(), redactor.text(&verifier.cwd).into_owned());
            if script != verifier.script || cwd != verifier.cwd {
                self.verifier = Err("the command needs a secret or a home directory".to_owned());
            }
        }
        let mut broken = self.found.wrong.take();
        match &mut self.found.start {
            Start::Clone { url, diff, before, .. } => {
                redactor.enter("environment/Dockerfile");
                if let Cow::Owned(new) = redactor.text(url)
                    && new != *url
                {
                    *url = new;
                    broken = Some("the remote's URL holds what was replaced".to_owned());
                }
                redactor.enter("environment/git_diff.patch");
                if let Some(diff) = diff
                    && !redact_patch(redactor, diff)
                {
                    broken = Some("the patch of the working tree holds what was replaced".to_owned());
                }
                redactor.enter("environment/before.patch");
                for patch in before {
                    if !redact_patch(redactor, &mut patch.text) {
                        broken = Some("an earlier patch holds what was replaced".to_owned());
                    }
                }
            }
            Start::Synthetic(files) => {
                redactor.enter("environment/repo");
                for content in files.values_mut() {
                    if let Cow::Owned(new) = redactor.text(content) {
                        *content = new;
                    }
                }
                if let Ok(verifier) = &self.verifier {
                    let will_be = |path: &str| {
                        let added = |patch: &Patch| patch.text.contains(&format!("+++ b/{path}\n"));
                        files.contains_key(path) || self.solution.iter().any(added)
                    };
                    if let Some(path) =
                        verifier::missing_file(verifier, will_be, files.keys().map(String::as_str))
                    {
                        broken =
                            broken.or(Some(format!("{path}, which the verifier needs, is not recorded")));
                    }
                }
            }
        }
        redactor.enter("solution");
        let synthetic = matches!(self.found.start, Start::Synthetic(_));
        for patch in &mut self.solution {
            // Bodies that were redacted alike still fit.
            if !redact_patch(redactor, &mut patch.text) && !synthetic {
                self.notes.push("no solution: a recorded patch holds what was replaced".to_owned());
                self.solution.clear();
                break;
            }
        }
        if let Some(reason) = broken {
            if self.verifier.is_ok() {
                self.verifier = Err(format!("the start cannot be made as it was: {reason}"));
            }
            self.solution.clear();
            self.notes.push(reason);
        }
        if let Err(reason) = &mut self.verifier {
            *reason = printable(&redactor.text(reason));
        }
        for note in &mut self.notes {
            *note = printable(&redactor.text(note));
        }
        Ok(())
    }

    fn write(&self, output: &Output, image: &str, redactor: &mut Redactor) -> Result<(), DistillError> {
        output.write("instruction.md", self.instruction().as_bytes())?;
        output.write("environment/Dockerfile", render::dockerfile(&self.found.start, image).as_bytes())?;
        match &self.found.start {
            Start::Clone { diff, before, .. } => {
                if let Some(diff) = diff {
                    output.write("environment/git_diff.patch", diff.as_bytes())?;
                }
                for (number, patch) in before.iter().enumerate() {
                    output.write(
                        &format!("environment/{}", render::before_name(number)),
                        patch.text.as_bytes(),
                    )?;
                }
            }
            Start::Synthetic(files) => {
                output.directory("environment/repo")?;
                for (path, content) in files {
                    let name = format!("environment/repo/{}", redactor.text(path));
                    if content.starts_with("#!") {
                        output.write_program(&name, content.as_bytes())?;
                    } else {
                        output.write(&name, content.as_bytes())?;
                    }
                }
            }
        }
        let verifier = self.verifier.as_ref().map_err(String::as_str);
        output.write_program(
            "tests/test.sh",
            render::test_script(verifier, self.verifier_seconds()).as_bytes(),
        )?;
        if !self.solution.is_empty() {
            output.write_program(
                "solution/solve.sh",
                render::solve_script(&self.solution, self.solves_from.as_deref()).as_bytes(),
            )?;
            for (number, patch) in self.solution.iter().enumerate() {
                output.write(&format!("solution/{}", render::change_name(number)), patch.text.as_bytes())?;
            }
        }
        Ok(())
    }

    fn instruction(&self) -> String {
        let words: String = printable(&self.words).trim().to_owned();
        format!("{words}\n\nThe repository is at {}.\n", paths::REPO)
    }

    /// Ten times what the command took, and never less than a minute.
    fn verifier_seconds(&self) -> u64 {
        let took = self.verifier.as_ref().ok().and_then(|verifier| verifier.duration_ms).unwrap_or(60_000);
        (took / 100).clamp(60, 3600)
    }

    /// Three times what the session took, and never less than ten minutes.
    fn agent_seconds(&self) -> u64 {
        let time = |index: usize| self.transcript.entries.get(index).and_then(|entry| entry.time);
        let took = time(self.window.first)
            .zip(time(self.window.last))
            .map_or(0, |(from, to)| to.as_second().saturating_sub(from.as_second()));
        u64::try_from(took).unwrap_or(0).saturating_mul(3).clamp(600, 7200)
    }

    fn metadata(&self, selection: &Selection, transcript: &Transcript, redactor: &mut Redactor) -> Metadata {
        redactor.enter("task.toml");
        let mut clean = |text: &str| printable(&redactor.text(text));
        let (head, settings) = (&transcript.head, self.window.settings(transcript));
        let entries: Vec<_> = self.window.entries(transcript).map(|(_, entry)| entry).collect();
        let mut turns: Vec<String> = Vec::new();
        let mut calls: Vec<String> = Vec::new();
        for entry in &entries {
            if !entry.turn_id.is_empty() && turns.last() != Some(&entry.turn_id) {
                turns.push(clean(&entry.turn_id));
            }
            if let What::CallOpened(call) = entry.what
                && let Some(call) = transcript.calls.get(call)
                && calls.len() < 256
            {
                calls.push(clean(&call.id));
            }
        }
        turns.dedup();
        let ends = entries.first().zip(entries.last());
        let signal = match selection {
            Selection::Signal(signal) => Some(signal),
            _ => None,
        };
        let (url, commit, diff_path) = match &self.found.start {
            Start::Clone { url, commit, diff_path, .. } => {
                (Some(url), Some(commit.clone()), diff_path.clone())
            }
            Start::Synthetic(_) => (None, head.git_commit.clone(), None),
        };
        let mut metadata = Metadata {
            generator: "spindle".to_owned(),
            task_name: self.name.clone(),
            source_thread_id: transcript.id.to_string(),
            session_id: transcript.id.to_string(),
            source_turn_ids: turns,
            seq_range: ends.map(|(first, last)| format!("{}-{}", first.seq, last.seq)).unwrap_or_default(),
            source_repo_url: url.map(|url| clean(url)),
            source_commit_hash: commit.map(|commit| clean(&commit)),
            source_git_diff_path: diff_path.map(|path| clean(&path)),
            source_git_diff_base_sha: self.found.base.as_ref().map(|base| clean(base)),
            diff_hash: self.found.diff_sha256.as_ref().map(|hash| clean(hash)),
            start_state: match self.found.start {
                Start::Clone { .. } => "clone".to_owned(),
                Start::Synthetic(_) => "synthetic".to_owned(),
            },
            verifier_type: if self.verifier.is_ok() { "exec_command" } else { MISSING }.to_owned(),
            verifier_missing_reason: self.verifier.as_ref().err().cloned(),
            has_solution: !self.solution.is_empty(),
            call_ids: calls,
            signal_id: signal.map(|signal| signal.id.to_string()),
            signal_type: signal.and_then(|signal| plain_name(&signal.kind)),
            signal_category: signal.map(|signal| clean(&signal.category)),
            severity: signal.map(|signal| signal.severity).filter(|severity| severity.is_finite()),
            detector: signal.map(|signal| clean(&signal.detector)),
            rule_set: signal.and_then(|signal| plain_name(&signal.rule_set)),
            session_source: head.source.as_deref().map(&mut clean),
            model: settings.model.map(&mut clean),
            cli_version: head.cli_version.as_deref().map(&mut clean),
            approval_policy: settings.approval_policy.map(&mut clean),
            sandbox_policy: settings.sandbox_policy.map(&mut clean),
            notes: self.notes.clone(),
            ..Metadata::default()
        };
        if let Ok(verifier) = &self.verifier {
            metadata.verifier_class = Some(verifier.class);
            metadata.verifier_evidence = Some(verifier.evidence);
            metadata.verifier_call_id = Some(clean(&verifier.call_id));
        }
        metadata.redactions = redactor.is_active().then(|| redactor.report().total());
        metadata
    }

    #[expect(clippy::cast_precision_loss, reason = "hours in seconds")]
    fn task_toml(&self, metadata: &Metadata) -> Result<String, DistillError> {
        let name = format!("spindle/{}", self.name);
        // The script's own limit comes first, so that it can still write its reward.
        let verifier = render::Timeout { timeout_sec: (self.verifier_seconds() + 60) as f64 };
        let class = self.verifier.as_ref().ok().map(|verifier| verifier.class);
        let toml = render::TaskToml {
            version: "1.0",
            task: render::Named { name: &name },
            metadata,
            verifier,
            agent: render::Timeout { timeout_sec: self.agent_seconds() as f64 },
            environment: render::Environment::for_class(class),
        };
        Ok(toml::to_string_pretty(&toml)?)
    }
}

/// `verifier_type` of a task that nothing can judge.
pub const MISSING: &str = "missing";

/// The name of a task: what it is about, and a hash of where it comes from. Harbor cuts names to 32 characters.
fn task_name(selection: &Selection, transcript: &Transcript, window: Window) -> String {
    let (label, key) = match selection {
        Selection::Signal(signal) => (signal.category.as_str(), signal.id.to_string()),
        Selection::Records { first, last } => ("records", format!("{first}-{last}")),
        Selection::Turns { first, last } => ("turns", format!("{first}-{last}")),
    };
    let mut label: String = label
        .chars()
        .map(|char| if char.is_ascii_alphanumeric() { char.to_ascii_lowercase() } else { '-' })
        .collect();
    label.truncate(19);
    let first = transcript.entries.get(window.first).map_or(0, |entry| entry.seq);
    let hash = sha256_hex(format!("{}\n{key}\n{first}", transcript.id).as_bytes());
    format!("{}-{}", label.trim_matches('-'), &hash[..12])
}

/// Redacts a patch; false when lines changed that must be found in a file.
fn redact_patch(redactor: &mut Redactor, patch: &mut String) -> bool {
    let Cow::Owned(new) = redactor.text(patch) else { return true };
    let needed = |line: &&str| !line.starts_with('+') || line.starts_with("+++ ");
    let same = patch.lines().filter(needed).eq(new.lines().filter(needed));
    *patch = new;
    same
}

/// Without the characters that drive a terminal.
fn printable(text: &str) -> String {
    text.chars().filter(|char| !char.is_control() || matches!(char, '\n' | '\t')).collect()
}

/// The name of a variant, as JSON has it.
fn plain_name(value: &impl Serialize) -> Option<String> {
    serde_json::to_value(value).ok()?.as_str().map(str::to_owned)
}

fn is_image(name: &str) -> bool {
    name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && name.len() <= 255
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-/:@".contains(&byte))
}
