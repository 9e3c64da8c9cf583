//! Patches: what a tool call changes, and as text that `git apply` takes.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A changed file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileChange {
    /// The path as recorded: absolute, or relative to where the patch was made.
    pub path: String,
    /// How it changes.
    pub change: Change,
}

/// How a file changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It is new.
    Add {
        /// Its content.
        content: String,
    },
    /// It is removed.
    Delete {
        /// What it held, where that is known.
        content: Option<String>,
    },
    /// It is changed or moved.
    Update {
        /// The hunks of a unified diff, without the lines that name the files.
        diff: String,
        /// Its new path.
        move_to: Option<String>,
        /// Whether the hunks have true line numbers. Those of the model's own format have none.
        numbered: bool,
    },
}

/// `changes` of an event: an object from path to change.
pub(super) fn changes(value: Option<&Value>) -> Vec<FileChange> {
    let Some(Value::Object(files)) = value else { return Vec::new() };
    files
        .iter()
        .filter_map(|(path, change)| {
            let text = |key: &str| change.get(key).and_then(Value::as_str).map(str::to_owned);
            // One dialect has the kind as the only key.
            let inner = |kind: &str| change.get(kind).filter(|inner| inner.is_object());
            let kind = text("type").or_else(|| {
                ["add", "delete", "update"].into_iter().find(|kind| inner(kind).is_some()).map(str::to_owned)
            })?;
            let field = |key: &str| text(key).or_else(|| inner(&kind)?.get(key)?.as_str().map(str::to_owned));
            let change = match kind.as_str() {
                "add" => Change::Add { content: field("content").unwrap_or_default() },
                "delete" => Change::Delete { content: field("content") },
                "update" => Change::Update {
                    diff: field("unified_diff").unwrap_or_default(),
                    move_to: field("move_path"),
                    numbered: true,
                },
                _ => return None,
            };
            Some(FileChange { path: path.clone(), change })
        })
        .collect()
}

/// The patch in a shell's command: `apply_patch <<'EOF'` and its lines.
pub(super) fn envelope_in_shell(words: &[String]) -> Option<String> {
    let script = words.last()?;
    if let [program, envelope] = words
        && program == "apply_patch"
    {
        return Some(envelope.clone());
    }
    if !script.contains("apply_patch") {
        return None;
    }
    let start = script.find("*** Begin Patch")?;
    let end = script.find("*** End Patch")?;
    // What comes before must do nothing but lead to the patch.
    let before = script[..start].trim();
    let leads = before.starts_with("apply_patch") || before.starts_with("cd ");
    (leads && start < end).then(|| script[start..end].to_owned() + "*** End Patch")
}

/// The model's own format: `*** Begin Patch`, then files, with hunks that have no line numbers.
pub(super) fn parse_envelope(text: &str) -> Vec<FileChange> {
    let mut files: Vec<FileChange> = Vec::new();
    let mut hunk: Vec<&str> = Vec::new();
    for line in text.lines() {
        let file = |label: &str| line.strip_prefix(label).map(|path| path.trim().to_owned());
        let new = file("*** Add File: ")
            .map(|path| FileChange { path, change: Change::Add { content: String::new() } })
            .or_else(|| {
                file("*** Delete File: ")
                    .map(|path| FileChange { path, change: Change::Delete { content: None } })
            })
            .or_else(|| {
                let change = Change::Update { diff: String::new(), move_to: None, numbered: false };
                file("*** Update File: ").map(|path| FileChange { path, change })
            });
        if let Some(new) = new {
            flush(&mut files, &mut hunk);
            files.push(new);
            continue;
        }
        let moved = file("*** Move to: ");
        match files.last_mut().map(|file| &mut file.change) {
            Some(Change::Add { content }) => {
                if let Some(added) = line.strip_prefix('+') {
                    content.push_str(added);
                    content.push('\n');
                }
            }
            Some(Change::Update { move_to, .. }) if moved.is_some() => *move_to = moved,
            Some(Change::Update { .. }) => {
                if line.starts_with("@@") || line.starts_with("***") {
                    flush(&mut files, &mut hunk);
                } else {
                    hunk.push(line);
                }
            }
            _ => {}
        }
    }
    flush(&mut files, &mut hunk);
    files
}

/// Writes the lines of a hunk with a head that has their numbers right, and a place that is not known.
fn flush(files: &mut [FileChange], hunk: &mut Vec<&str>) {
    let lines = std::mem::take(hunk);
    let Some(FileChange { change: Change::Update { diff, .. }, .. }) = files.last_mut() else { return };
    if lines.is_empty() {
        return;
    }
    let old = lines.iter().filter(|line| !line.starts_with('+')).count();
    let new = lines.iter().filter(|line| !line.starts_with('-')).count();
    let _ = writeln!(diff, "@@ -1,{old} +1,{new} @@");
    for line in lines {
        // An empty line of context often comes without its blank.
        let _ = writeln!(diff, "{}", if line.is_empty() { " " } else { line });
    }
}

impl FileChange {
    /// The change as a part of a patch, with paths relative to the repository; none when it says too little.
    ///
    /// Paths are written as git quotes them, so that none can be taken for something else.
    pub fn to_patch(&self, path: &str, moved_to: Option<&str>) -> Option<String> {
        let old = quoted("a", path);
        let new = quoted("b", moved_to.unwrap_or(path));
        let mut out = format!("diff --git {old} {new}\n");
        match &self.change {
            Change::Add { content } => {
                let _ = write!(out, "new file mode 100644\n--- /dev/null\n+++ {new}\n");
                out.push_str(&whole(content, '+'));
            }
            Change::Delete { content } => {
                let content = content.as_ref()?;
                let _ = write!(out, "deleted file mode 100644\n--- {old}\n+++ /dev/null\n");
                out.push_str(&whole(content, '-'));
            }
            Change::Update { diff, .. } => {
                if moved_to.is_some() {
                    let (from, to) = (quoted("", path), quoted("", moved_to.unwrap_or(path)));
                    let _ = write!(out, "rename from {from}\nrename to {to}\n");
                }
                let hunks = diff.find("@@ ").map(|start| &diff[start..]);
                if let Some(hunks) = hunks {
                    let _ = write!(out, "--- {old}\n+++ {new}\n{hunks}");
                    if !hunks.ends_with('\n') {
                        out.push('\n');
                    }
                } else if moved_to.is_none() {
                    return None;
                }
            }
        }
        Some(out)
    }
}

/// A hunk that is a whole file.
fn whole(content: &str, sign: char) -> String {
    let lines: Vec<&str> = content.split_inclusive('\n').collect();
    if lines.is_empty() {
        return String::new();
    }
    let mut out = match sign {
        '+' => format!("@@ -0,0 +1,{} @@\n", lines.len()),
        _ => format!("@@ -1,{} +0,0 @@\n", lines.len()),
    };
    for line in lines {
        out.push(sign);
        out.push_str(line);
        if !line.ends_with('\n') {
            out.push_str("\n\\ No newline at end of file\n");
        }
    }
    out
}

/// A path as git writes it in a patch: in quotes when it has more than plain characters.
fn quoted(prefix: &str, path: &str) -> String {
    let whole = if prefix.is_empty() { path.to_owned() } else { format!("{prefix}/{path}") };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/+@,=".contains(&byte);
    if whole.bytes().all(plain) {
        return whole;
    }
    let mut out = String::from("\"");
    for byte in whole.bytes() {
        match byte {
            b'"' | b'\\' => {
                out.push('\\');
                out.push(char::from(byte));
            }
            b' '..=b'~' => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "\\{byte:03o}");
            }
        }
    }
    out.push('"');
    out
}
