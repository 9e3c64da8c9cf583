//! Datasets: tasks together, as Harbor runs them.
//!
//! ```text
//! <task>/…              each task under its own name
//! registry.json         an entry for a registry of Harbor
//! trace_evidence.json   where each task comes from
//! harbor_run.sh         runs all of them
//! ```
//!
//! A task that nothing can judge is left out unless it is asked for: its 0 would say nothing about an agent.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::json;
use trace::output::{Output, OutputError};

use crate::distill::{MISSING, Metadata};

/// A task of more bytes is refused.
const TASK_LIMIT: u64 = 256 << 20;

/// A task of more files is refused.
const FILES_LIMIT: usize = 20_000;

/// How a dataset is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Its name in the registry entry.
    pub name: String,
    /// Its version there.
    pub version: String,
    /// In a sentence.
    pub description: String,
    /// Whether tasks without a verifier come along.
    pub include_missing: bool,
    /// The agent that `harbor_run.sh` runs unless another is named.
    pub agent: String,
    /// The model likewise.
    pub model: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            name: "spindle-traces".to_owned(),
            version: "1.0".to_owned(),
            description: "Tasks distilled from sessions of the Codex CLI".to_owned(),
            include_missing: false,
            agent: "codex".to_owned(),
            model: None,
        }
    }
}

/// A dataset that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// Where it lies.
    pub directory: PathBuf,
    /// The tasks in it.
    pub tasks: Vec<String>,
    /// The tasks that were left out, with the reason.
    pub left_out: Vec<(PathBuf, String)>,
}

/// A dataset cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// A directory is no task.
    #[error("{path} is no task: {reason}")]
    NoTask {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Two tasks have one name.
    #[error("{first} and {second} are both called {name}; a dataset needs a name for each")]
    Clash {
        /// One.
        first: PathBuf,
        /// The other.
        second: PathBuf,
        /// The name.
        name: String,
    },
    /// Nothing is left.
    #[error("no task is left for the dataset: {0}")]
    Empty(String),
    /// The output cannot be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// A document cannot be put into JSON.
    #[error("cannot write JSON")]
    Json(#[from] serde_json::Error),
}

/// Puts tasks together in a new directory.
pub fn build(tasks: &[PathBuf], options: &Options, directory: &Path) -> Result<Built, DatasetError> {
    let output = Output::begin(directory)?;
    let mut chosen: Vec<(String, &Path, toml::Table)> = Vec::new();
    let mut left_out = Vec::new();
    for path in tasks {
        let (name, metadata) = look(path)?;
        if metadata.get("verifier_type").and_then(toml::Value::as_str) == Some(MISSING)
            && !options.include_missing
        {
            let reason = metadata.get("verifier_missing_reason").and_then(toml::Value::as_str);
            left_out.push((
                path.clone(),
                format!("it has no verifier: {}", reason.unwrap_or("no reason is told")),
            ));
            continue;
        }
        // Names that differ in case only are one name on some systems.
        let clash = chosen.iter().find(|(known, ..)| known.eq_ignore_ascii_case(&name));
        if let Some((_, first, _)) = clash {
            return Err(DatasetError::Clash { first: (*first).to_owned(), second: path.clone(), name });
        }
        chosen.push((name, path, metadata));
    }
    if chosen.is_empty() {
        let reasons: Vec<String> =
            left_out.iter().map(|(path, reason)| format!("{}: {reason}", path.display())).collect();
        return Err(DatasetError::Empty(reasons.join("; ")));
    }
    for (name, path, _) in &chosen {
        let mut budget = Budget { bytes: TASK_LIMIT, files: FILES_LIMIT };
        copy(&output, path, path, name, &mut budget)?;
    }
    let evidence: Vec<_> =
        chosen.iter().map(|(name, _, metadata)| json!({"task": name, "metadata": metadata})).collect();
    write_json(&output, "trace_evidence.json", &evidence)?;
    let entries: Vec<_> = chosen.iter().map(|(name, ..)| json!({"name": name, "path": name})).collect();
    let registry = json!([{
        "name": options.name,
        "version": options.version,
        "description": options.description,
        "tasks": entries,
    }]);
    write_json(&output, "registry.json", &registry)?;
    output.write_program("harbor_run.sh", run_script(options).as_bytes())?;
    let tasks = chosen.iter().map(|(name, ..)| name.clone()).collect();
    Ok(Built { directory: output.finish()?, tasks, left_out })
}

/// The name and provenance of a task.
fn look(path: &Path) -> Result<(String, toml::Table), DatasetError> {
    let wrong = |reason: String| DatasetError::NoTask { path: path.to_owned(), reason };
    for name in ["task.toml", "instruction.md", "tests/test.sh", "environment"] {
        if !path.join(name).exists() {
            return Err(wrong(format!("{name} is missing")));
        }
    }
    let mut text = String::new();
    File::open(path.join("task.toml"))
        .and_then(|file| file.take(1 << 20).read_to_string(&mut text))
        .map_err(|error| wrong(format!("task.toml: {error}")))?;
    let config: toml::Table = text.parse().map_err(|error| wrong(format!("task.toml: {error}")))?;
    let metadata = config.get("metadata").and_then(toml::Value::as_table).cloned().unwrap_or_default();
    let told = metadata.clone().try_into::<Metadata>().map(|metadata| metadata.task_name).unwrap_or_default();
    let directory = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let name = if told.is_empty() { directory.to_owned() } else { told };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if name.is_empty() || name.len() > 128 || name.starts_with('.') || !name.bytes().all(plain) {
        return Err(wrong(format!(
            "{:?} is no name for a directory",
            name.chars().take(160).collect::<String>()
        )));
    }
    Ok((name, metadata))
}

struct Budget {
    bytes: u64,
    files: usize,
}

/// Copies files and directories; a link could lead anywhere and is refused.
fn copy(
    output: &Output,
    task: &Path,
    path: &Path,
    to: &str,
    budget: &mut Budget,
) -> Result<(), DatasetError> {
    let wrong = |reason: String| DatasetError::NoTask { path: task.to_owned(), reason };
    let failed = |error: std::io::Error| wrong(format!("{}: {error}", path.display()));
    output.directory(to)?;
    for entry in fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let name = name.to_str().ok_or_else(|| wrong(format!("{} is not UTF-8", entry.path().display())))?;
        let target = format!("{to}/{name}");
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_dir() {
            copy(output, task, &entry.path(), &target, budget)?;
        } else if kind.is_file() {
            let meta = entry.metadata().map_err(failed)?;
            let bytes = budget.bytes.checked_sub(meta.len()).zip(budget.files.checked_sub(1));
            let (bytes, files) = bytes.ok_or_else(|| wrong("it is too large".to_owned()))?;
            *budget = Budget { bytes, files };
            let content = fs::read(entry.path()).map_err(failed)?;
            if is_program(&meta) {
                output.write_program(&target, &content)?;
            } else {
                output.write(&target, &content)?;
            }
        } else {
            return Err(wrong(format!("{} is neither a file nor a directory", entry.path().display())));
        }
    }
    Ok(())
}

#[cfg(unix)]
fn is_program(meta: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    meta.permissions().mode() & 0o111 != 0
}

#[cfg(not(unix))]
fn is_program(_: &fs::Metadata) -> bool {
    false
}

fn write_json(output: &Output, name: &str, value: &impl Serialize) -> Result<(), DatasetError> {
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    Ok(output.write(name, &text)?)
}

/// `harbor_run.sh`: options given to it come last, so that they win.
fn run_script(options: &Options) -> String {
    let word = |text: &str| shlex::try_quote(text).map(std::borrow::Cow::into_owned).unwrap_or_default();
    let model = options.model.as_deref().map(|model| format!(" -m {}", word(model))).unwrap_or_default();
    format!(
        "#!/bin/bash\n\
         # Runs every task of this dataset. Options of `harbor run` may follow: --model, --n-concurrent, …\n\
         set -euo pipefail\n\
         here=$(cd -- \"$(dirname -- \"$0\")\" && pwd)\n\
         exec harbor run -p \"$here\" -a {}{model} \"$@\"\n",
        word(&options.agent),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn task(root: &Path, name: &str, metadata: &str) -> PathBuf {
        let path = root.join(name);
        for directory in ["tests", "environment"] {
            fs::create_dir_all(path.join(directory)).unwrap();
        }
        fs::write(path.join("task.toml"), format!("version = \"1.0\"\n[metadata]\n{metadata}\n")).unwrap();
        fs::write(path.join("instruction.md"), "x").unwrap();
        fs::write(path.join("tests/test.sh"), "#!/bin/sh\n").unwrap();
        path
    }

    #[test]
    fn a_dataset_has_its_tasks_by_their_own_names_and_where_they_come_from() {
        let dir = tempfile::tempdir().unwrap();
        let tasks = [
            task(dir.path(), "one", "task_name = \"exec-failure-1\"\nverifier_type = \"exec_command\""),
            task(
                dir.path(),
                "two",
                "verifier_type = \"missing\"\nverifier_missing_reason = \"nothing passed\"",
            ),
            task(dir.path(), "three", ""),
        ];
        let out = dir.path().join("out");
        let built = build(&tasks, &Options::default(), &out).unwrap();
        assert_eq!(built.tasks, ["exec-failure-1", "three"]);
        assert_eq!(built.left_out[0].1, "it has no verifier: nothing passed");
        assert!(out.join("exec-failure-1/tests/test.sh").exists() && !out.join("two").exists());
        let evidence: serde_json::Value =
            serde_json::from_slice(&fs::read(out.join("trace_evidence.json")).unwrap()).unwrap();
        assert_eq!(evidence[0]["metadata"]["verifier_type"], "exec_command");
        let registry: serde_json::Value =
            serde_json::from_slice(&fs::read(out.join("registry.json")).unwrap()).unwrap();
        assert_eq!(registry[0]["tasks"][0], json!({"name": "exec-failure-1", "path": "exec-failure-1"}));
        let all = Options { include_missing: true, ..Options::default() };
        assert_eq!(build(&tasks, &all, &dir.path().join("all")).unwrap().tasks.len(), 3);
    }

    #[test]
    fn two_tasks_of_one_name_are_refused_and_nothing_is_left_behind() {
        let dir = tempfile::tempdir().unwrap();
        let tasks =
            [task(dir.path(), "one", "task_name = \"x\""), task(dir.path(), "two", "task_name = \"X\"")];
        let out = dir.path().join("out");
        assert!(matches!(build(&tasks, &Options::default(), &out), Err(DatasetError::Clash { .. })));
        assert!(!out.exists());
    }

    #[test]
    fn what_is_no_task_or_leads_elsewhere_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let refused = |path: &Path| {
            matches!(build(&[path.to_owned()], &Options::default(), &out), Err(DatasetError::NoTask { .. }))
        };
        assert!(refused(&dir.path().join("nowhere")));
        assert!(refused(&task(dir.path(), "evil", "task_name = \"../x\"")));
        let linked = task(dir.path(), "linked", "");
        #[cfg(unix)]
        std::os::unix::fs::symlink("/etc/passwd", linked.join("environment/passwd")).unwrap();
        assert!(refused(&linked));
    }

    #[test]
    fn a_dataset_of_nothing_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let tasks =
            [task(dir.path(), "two", "verifier_type = \"missing\"\nverifier_missing_reason = \"so\"")];
        let error = build(&tasks, &Options::default(), &dir.path().join("out")).unwrap_err();
        assert!(error.to_string().contains("it has no verifier: so"), "{error}");
    }
}
