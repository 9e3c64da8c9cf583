//! Which recorded command can judge the work.

use serde::{Deserialize, Serialize};
use trace::session::CallOutcome;
use trace::transcript::{Call, Transcript, What};

use super::paths::{REPO, mapped, relative};
use super::shell::{self, Class};
use super::window::Window;

/// What speaks for a verifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// It was run after the last patch, and nothing says that it failed before.
    AfterLastPatch,
    /// The same command failed before.
    FailedBefore,
}

/// A recorded command that judges the work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verifier {
    /// For the container's shell.
    pub(super) script: String,
    /// In the container.
    pub(super) cwd: String,
    pub(super) class: Class,
    pub(super) evidence: Evidence,
    /// The program's words, and every word.
    pub(super) words: Vec<String>,
    pub(super) all: Vec<String>,
    pub(super) call_id: String,
    pub(super) duration_ms: Option<u64>,
    /// The entry that ends the call.
    pub(super) entry: usize,
}

/// The best verifier in a window; or why there is none.
pub(super) fn choose(transcript: &Transcript, window: Window, root: &str) -> Result<Verifier, String> {
    let last_patch = closed(transcript, window)
        .filter(|(_, call)| call.tool == "apply_patch" && call.outcome == CallOutcome::Succeeded)
        .last()
        .map(|(_, call)| call.opened);
    let mut seen = false;
    let mut reasons: Vec<String> = Vec::new();
    let mut best: Option<Verifier> = None;
    for (entry, call) in closed(transcript, window) {
        let passed = call.tool == "exec_command"
            && call.exit_code == Some(0)
            && call.outcome == CallOutcome::Succeeded;
        if !passed || call.source.as_deref() == Some("user_shell") {
            continue;
        }
        seen = true;
        match candidate(transcript, window, root, entry, call, last_patch) {
            Ok(verifier) => {
                let better =
                    |known: &Verifier| (verifier.evidence, verifier.class) >= (known.evidence, known.class);
                if best.as_ref().is_none_or(better) {
                    best = Some(verifier);
                }
            }
            Err(reason) => reasons.push(reason),
        }
    }
    best.ok_or_else(|| {
        if !seen {
            return "no command in the window ended with exit code 0".to_owned();
        }
        reasons.sort();
        reasons.dedup();
        reasons.truncate(3);
        format!("no command in the window can judge the work: {}", reasons.join("; "))
    })
}

fn closed(transcript: &Transcript, window: Window) -> impl Iterator<Item = (usize, &Call)> {
    window.entries(transcript).filter_map(|(index, entry)| match entry.what {
        What::CallClosed(call) => Some((index, transcript.calls.get(call)?)),
        _ => None,
    })
}

fn candidate(
    transcript: &Transcript,
    window: Window,
    root: &str,
    entry: usize,
    call: &Call,
    last_patch: Option<u64>,
) -> Result<Verifier, String> {
    let recorded = shell::script(&call.command).ok_or("a command cannot be quoted")?;
    let short = || -> String { recorded.chars().take(60).collect() };
    if recorded.len() > 8192 || recorded.contains('\0') {
        return Err("a command is too long".to_owned());
    }
    let judged = shell::judge(&recorded).map_err(|unfit| format!("`{}`: {unfit}", short()))?;
    let cwd = relative(root, None, call.cwd.as_deref().unwrap_or(root))
        .ok_or_else(|| format!("`{}` ran outside of the repository", short()))?;
    let script = mapped(&recorded, root);
    let all: Vec<String> = judged.all.iter().map(|word| mapped(word, root)).collect();
    if all.iter().any(|word| names_another_place(word)) {
        return Err(format!("`{}` names a path outside of the repository", short()));
    }
    let same = |other: &Call| {
        other.tool == "exec_command"
            && other.cwd == call.cwd
            && shell::script(&other.command).as_deref() == Some(recorded.as_str())
    };
    let failed = |other: &Call| matches!(other.outcome, CallOutcome::Failed | CallOutcome::TimedOut);
    let whole = Window { first: 0, last: window.last };
    let failed_before =
        closed(transcript, whole).any(|(index, other)| index < entry && same(other) && failed(other));
    let fails_later =
        closed(transcript, window).any(|(index, other)| index > entry && same(other) && failed(other));
    let after_patch = last_patch.is_some_and(|patch| call.opened > patch);
    let evidence = match (failed_before, after_patch) {
        _ if fails_later => return Err(format!("`{}` failed again later", short())),
        (true, _) => Evidence::FailedBefore,
        (false, true) => Evidence::AfterLastPatch,
        (false, false) => return Err(format!("`{}` neither failed before nor followed a patch", short())),
    };
    let cwd = if cwd.is_empty() { REPO.to_owned() } else { format!("{REPO}/{cwd}") };
    Ok(Verifier {
        script,
        cwd,
        class: judged.class,
        evidence,
        words: judged.words,
        all,
        call_id: call.id.clone(),
        duration_ms: call.duration_ms,
        entry,
    })
}

/// Whether a word is, or holds, an absolute path that the container has not.
fn names_another_place(word: &str) -> bool {
    let known = ["/workspace", "/usr/", "/bin/", "/etc/", "/dev/", "/tmp", "/opt/", "/var/"];
    let from = |start: usize| &word[start..];
    word.match_indices('/').any(|(at, _)| {
        let begins = at == 0 || matches!(word.as_bytes()[at - 1], b'=' | b':' | b',' | b' ' | b'"' | b'\'');
        let path = from(at);
        begins
            && path.len() > 1
            && !path.starts_with("//")
            && !known.iter().any(|known| path.starts_with(known))
    }) || word.starts_with("~/")
}

/// Whether a synthetic repository has what a verifier needs, as far as its words say.
pub(super) fn missing_file<'a>(
    verifier: &Verifier,
    mut known: impl FnMut(&str) -> bool,
    files: impl Iterator<Item = &'a str>,
) -> Option<String> {
    let cwd = verifier.cwd.strip_prefix(REPO).unwrap_or_default().trim_start_matches('/');
    let program =
        verifier.words.first().map(|word| word.rsplit('/').next().unwrap_or(word)).unwrap_or_default();
    let manifest: &[&str] = match program {
        "cargo" => &["Cargo.toml"],
        "npm" | "pnpm" | "yarn" | "bun" => &["package.json"],
        "go" => &["go.mod"],
        "make" | "gmake" => &["Makefile", "makefile", "GNUmakefile"],
        "just" => &["justfile", "Justfile"],
        _ => &[],
    };
    let names: Vec<&str> = files.map(|file| file.rsplit('/').next().unwrap_or(file)).collect();
    if !manifest.is_empty() && !manifest.iter().any(|name| names.contains(name)) {
        return Some(manifest[0].to_owned());
    }
    // Words that are files by their looks: scripts and test files.
    verifier.all.iter().skip(1).chain(verifier.words.first()).find_map(|word| {
        let plain = word.strip_prefix("./").unwrap_or(word);
        let extension = plain.rsplit_once('.').is_some_and(|(stem, extension)| {
            !stem.is_empty()
                && (1..=4).contains(&extension.len())
                && extension.bytes().all(|b| b.is_ascii_lowercase())
        });
        let is_file = !word.starts_with('-')
            && !word.contains(['=', ':', '*', '$'])
            && !word.starts_with('/')
            && extension;
        let path = if cwd.is_empty() { plain.to_owned() } else { format!("{cwd}/{plain}") };
        (is_file && !known(&path)).then_some(path)
    })
}
