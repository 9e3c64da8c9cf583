//! The state that a task begins with, and the recorded way to its end.
//!
//! Where there is a remote and a commit, the start is a clone of it, the working tree's patch from the time, and
//! what the agent had patched before the window. Where there is none, it is made of the file bodies that the
//! records hold: what was added, and what was printed in full.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use trace::output::sha256_hex;
use trace::session::CallOutcome;
use trace::spine;
use trace::transcript::patch::Change;
use trace::transcript::{Call, Entry, FileChange, Transcript, What};

use super::paths::relative;
use super::window::Window;
use super::{remote, shell};

/// Patches and bodies larger than this are left out.
pub(super) const PATCH_LIMIT: usize = 16 << 20;

/// The hash of an empty file.
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// A patch that `git apply` takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Patch {
    pub(super) text: String,
    /// Whether its hunks have true line numbers.
    pub(super) numbered: bool,
    pub(super) call_id: String,
}

/// How a task begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// A clone.
    Clone {
        url: String,
        commit: String,
        /// The working tree's patch when the session began.
        diff: Option<String>,
        diff_path: Option<String>,
        /// What was patched before the window.
        before: Vec<Patch>,
    },
    /// Files whose bodies are known.
    Synthetic(BTreeMap<String, String>),
}

/// A start, with what had to be left out or cannot be known.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) start: Start,
    pub(super) base: Option<String>,
    pub(super) diff_sha256: Option<String>,
    /// Why the start is not what it was; a verifier on it would judge something else.
    pub(super) wrong: Option<String>,
}

/// The start of a window.
pub(super) fn find(
    transcript: &Transcript,
    window: Window,
    root: &str,
    artifacts: Option<&Path>,
    allow_file: bool,
) -> Found {
    // The repository as it was found most lately before anything is done in the window: Codex looks at it while
    // it starts, and what it finds may stand behind the user's first words.
    let is_work = |entry: &Entry| matches!(entry.what, What::CallOpened(_) | What::CallClosed(_));
    let untouched = window.entries(transcript).find(|(_, entry)| is_work(entry));
    let untouched = untouched.map_or(window.last.saturating_add(1), |(index, _)| index);
    let mut url = transcript.head.git_url.clone();
    let mut commit = transcript.head.git_commit.clone();
    let mut diff: Option<(Option<String>, String, String)> = None;
    let mut since = 0;
    for (index, entry) in transcript.entries.iter().enumerate().take(untouched) {
        match &entry.what {
            What::Git { url: found, commit: at, .. } => {
                url = found.clone().or(url);
                commit = at.clone().or(commit);
                diff = None;
                since = index;
            }
            What::DiffFile { base, path, sha256 } => {
                diff = Some((base.clone(), path.clone(), sha256.clone()));
                since = index;
            }
            _ => {}
        }
    }
    let base = diff.as_ref().and_then(|(base, ..)| base.clone());
    let commit = base.clone().or(commit).and_then(|commit| remote::commit(&commit).map(str::to_owned));
    let url = url.and_then(|url| remote::clonable(&url, allow_file));
    let before = Window { first: since, last: window.first.saturating_sub(1) };
    let diff_sha256 = diff.as_ref().map(|(_, _, sha256)| sha256.clone());
    let (Some(url), Some(commit)) = (url, commit) else {
        let (files, wrong) = synthetic(transcript, window, root);
        return Found { start: Start::Synthetic(files), base, diff_sha256, wrong };
    };
    let mut wrong = None;
    let mut diff_text = None;
    if let Some((_, path, sha256)) = diff.as_ref().filter(|(_, _, sha256)| sha256 != EMPTY) {
        diff_text = artifacts.and_then(|artifacts| artifact(artifacts, path, sha256));
        if diff_text.is_none() {
            wrong =
                Some(format!("the patch of the working tree ({path}) is no longer there as it was recorded"));
        }
    }
    let mut earlier = Vec::new();
    if since < window.first {
        let (patches, left_out) = recorded(transcript, before, root, usize::MAX);
        earlier = patches;
        wrong = wrong.or(left_out);
    }
    let diff_path = diff_text.is_some().then(|| diff.map(|(_, path, _)| path)).flatten();
    Found {
        start: Start::Clone { url, commit, diff: diff_text, diff_path, before: earlier },
        base,
        diff_sha256,
        wrong,
    }
}

/// The working tree as it was found when Codex had ended, where nothing more was done after the window: what changed by
/// other means than patches is in it as well. It is against the commit that the task begins with; none where that is
/// another, where nothing has changed, or where the patch is no longer there.
pub(super) fn end(
    transcript: &Transcript,
    window: Window,
    found: &Found,
    artifacts: Option<&Path>,
) -> Option<Patch> {
    let Start::Clone { commit, .. } = &found.start else { return None };
    let is_work = |what: &What| matches!(what, What::TurnBegan | What::User(_) | What::CallOpened(_));
    // What was found after the last work may count as a part of its turn.
    let last = window.entries(transcript).filter(|(_, entry)| is_work(&entry.what)).last()?.0;
    for entry in transcript.entries.iter().skip(last + 1) {
        match &entry.what {
            What::DiffFile { base, path, sha256 } => {
                let fits = base.as_ref() == Some(commit) && base == &found.base;
                let changed = sha256 != EMPTY && found.diff_sha256.as_ref() != Some(sha256);
                let text =
                    artifacts.filter(|_| fits && changed).and_then(|root| artifact(root, path, sha256));
                return text.map(|text| Patch { text, numbered: true, call_id: String::new() });
            }
            What::EpochBegan => return None,
            what if is_work(what) => return None,
            _ => {}
        }
    }
    None
}

/// The patches that were carried out in a window, up to an entry, in order; and what is wrong with them.
pub(super) fn recorded(
    transcript: &Transcript,
    window: Window,
    root: &str,
    until: usize,
) -> (Vec<Patch>, Option<String>) {
    let mut patches = Vec::new();
    let mut wrong = None;
    let mut size = 0_usize;
    for (index, call) in patched(transcript, window) {
        if index > until {
            break;
        }
        match to_patch(call, root) {
            Ok(patch) => {
                size = size.saturating_add(patch.text.len());
                patches.push(patch);
            }
            Err(reason) => wrong = Some(reason),
        }
    }
    if size > PATCH_LIMIT {
        return (Vec::new(), Some(format!("the recorded patches are larger than {PATCH_LIMIT} bytes")));
    }
    (patches, wrong)
}

/// The patches that were carried out, with the entries that end them.
fn patched(transcript: &Transcript, window: Window) -> impl Iterator<Item = (usize, &Call)> {
    window.entries(transcript).filter_map(move |(index, entry)| match entry.what {
        What::CallClosed(call) => {
            let call = transcript.calls.get(call)?;
            let done = call.outcome == CallOutcome::Succeeded && !call.changes.is_empty();
            done.then_some((index, call))
        }
        _ => None,
    })
}

fn to_patch(call: &Call, root: &str) -> Result<Patch, String> {
    let mut text = String::new();
    let mut numbered = true;
    for change in &call.changes {
        let path = place(call, root, &change.path)
            .ok_or_else(|| format!("call {} changes a file outside of the repository", call.id))?;
        let moved = match &change.change {
            Change::Update { move_to, numbered: known, .. } => {
                numbered &= known;
                match move_to {
                    Some(to) => Some(
                        place(call, root, to)
                            .ok_or_else(|| format!("call {} moves a file out of the repository", call.id))?,
                    ),
                    None => None,
                }
            }
            _ => None,
        };
        let part = change.to_patch(&path, moved.as_deref());
        text += &part.ok_or_else(|| format!("the records do not say all that call {} changes", call.id))?;
    }
    Ok(Patch { text, numbered, call_id: call.id.clone() })
}

fn place(call: &Call, root: &str, path: &str) -> Option<String> {
    relative(root, call.cwd.as_deref(), path).filter(|path| !path.is_empty())
}

/// A patch file beside the records, if it is still what it was. The path is untrusted.
fn artifact(root: &Path, path: &str, sha256: &str) -> Option<String> {
    let file = spine::open_artifact(root, path).ok()?;
    let mut content = Vec::new();
    file.take(PATCH_LIMIT as u64 + 1).read_to_end(&mut content).ok()?;
    (sha256_hex(&content) == sha256.to_ascii_lowercase() && content.len() <= PATCH_LIMIT)
        .then(|| String::from_utf8(content).ok())
        .flatten()
}

/// The bodies that are known at the start of a window, and whether one is missing that the window changes.
fn synthetic(
    transcript: &Transcript,
    window: Window,
    root: &str,
) -> (BTreeMap<String, String>, Option<String>) {
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    let mut touched: Vec<String> = Vec::new();
    let mut wrong = None;
    let before = Window { first: 0, last: window.last };
    for (index, entry) in before.entries(transcript) {
        let What::CallClosed(call) = entry.what else { continue };
        let Some(call) = transcript.calls.get(call).filter(|call| call.outcome == CallOutcome::Succeeded)
        else {
            continue;
        };
        for change in &call.changes {
            let Some(path) = place(call, root, &change.path) else { continue };
            if index < window.first {
                carry_out(&mut files, &path, change, call, root);
                continue;
            }
            // What the window changes must have been known before.
            let is_new = matches!(change.change, Change::Add { .. });
            if !is_new && !touched.contains(&path) && !files.contains_key(&path) {
                wrong = Some(format!("the body of {path} before it was changed is not recorded"));
            }
            if let Change::Update { move_to: Some(to), .. } = &change.change {
                touched.extend(place(call, root, to));
            }
            touched.push(path);
        }
        if let Some(path) = printed(call, root).filter(|path| !touched.contains(path)) {
            files.entry(path).or_insert_with(|| call.output.clone());
        }
    }
    if files.values().map(String::len).sum::<usize>() > PATCH_LIMIT {
        return (BTreeMap::new(), Some(format!("the recorded bodies are larger than {PATCH_LIMIT} bytes")));
    }
    if files.is_empty() {
        wrong = Some("there is neither a remote to clone nor a recorded file".to_owned());
    }
    (files, wrong)
}

fn carry_out(files: &mut BTreeMap<String, String>, path: &str, change: &FileChange, call: &Call, root: &str) {
    match &change.change {
        Change::Add { content } => drop(files.insert(path.to_owned(), content.clone())),
        Change::Delete { .. } => drop(files.remove(path)),
        Change::Update { diff, move_to, .. } => {
            let Some(old) = files.remove(path) else { return };
            let to = move_to.as_ref().and_then(|to| place(call, root, to)).unwrap_or_else(|| path.to_owned());
            if let Some(new) = applied(&old, diff) {
                files.insert(to, new);
            }
        }
    }
}

/// The file that a command printed in full: `cat FILE`.
fn printed(call: &Call, root: &str) -> Option<String> {
    let script = shell::script(&call.command)?;
    let words = shlex::split(&script)?;
    let [program, path] = words.as_slice() else { return None };
    let plain = program == "cat"
        && !path.starts_with('-')
        && !path.contains(['*', '?', '$', '`', ';', '|', '>', '<', '&']);
    // What was cut says so at its end, and another command's text may hold anything.
    let whole = !call.output.contains("bytes left out]") && !call.output.contains("tokens truncated");
    (plain && whole && !script.contains('\n')).then(|| place(call, root, path)).flatten()
}

/// A text after the hunks of a unified diff; none when they do not fit.
pub(super) fn applied(text: &str, diff: &str) -> Option<String> {
    let mut lines: Vec<&str> = text.split('\n').collect();
    let ended = lines.last() == Some(&"");
    if ended {
        lines.pop();
    }
    let mut at = 0;
    for hunk in hunks(diff) {
        let old: Vec<&str> = hunk.iter().filter(|(sign, _)| *sign != '+').map(|(_, line)| *line).collect();
        let new: Vec<&str> = hunk.iter().filter(|(sign, _)| *sign != '-').map(|(_, line)| *line).collect();
        let fits = |start: &usize| lines.get(*start..start + old.len()) == Some(old.as_slice());
        let start = (at..=lines.len().saturating_sub(old.len())).find(fits)?;
        lines.splice(start..start + old.len(), new.iter().copied());
        at = start + new.len();
    }
    let mut out = lines.join("\n");
    if ended || text.is_empty() {
        out.push('\n');
    }
    Some(out)
}

fn hunks(diff: &str) -> Vec<Vec<(char, &str)>> {
    let mut hunks: Vec<Vec<(char, &str)>> = Vec::new();
    for line in diff.lines() {
        if line.starts_with("@@") {
            hunks.push(Vec::new());
        } else if let Some(hunk) = hunks.last_mut() {
            match line.chars().next() {
                Some(sign @ (' ' | '+' | '-')) => hunk.push((sign, &line[1..])),
                None => hunk.push((' ', "")),
                Some(_) => {}
            }
        }
    }
    hunks
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn hunks_are_found_where_they_fit() {
        let text = "a\nb\nc\nb\nd\n";
        assert_eq!(applied(text, "@@ -1,2 +1,2 @@\n-b\n+B\n d\n").unwrap(), "a\nb\nc\nB\nd\n");
        assert_eq!(applied(text, "@@ -1 +1 @@\n-x\n+y\n"), None);
        assert_eq!(applied("", "@@ -0,0 +1 @@\n+x\n").unwrap(), "x\n");
    }
}
