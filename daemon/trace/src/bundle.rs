//! Bundles: a session to take along, in the format `rollout_plus_v0`.
//!
//! ```text
//! bundle.json     what it is, and the hash of every other file
//! spine/          the segments and their meta files
//! rollout/        the rollout
//! artifacts/      patches and snapshots beside the records
//! lineage/<id>/   the same of sub-agents: segments and artifacts
//! ```
//!
//! `bundle.json` has the keys that earlier tools read, all texts, and beside them `files`, `lineage` and
//! `redaction`. Where redaction changes a file, the hashes that meta files and artifact records have of it are
//! those of the file as written, if they were right before: so a bundle verifies exactly as its source does.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::SessionId;
use crate::output::{Output, OutputError, hex, sha256_hex};
use crate::redact::{Redactor, Report};
use crate::session::Format;
use crate::spine;
use crate::transcript::{FilesError, SessionFiles};

/// The version that `bundle.json` declares.
pub const BUNDLE_VERSION: &str = "rollout_plus_v0";

/// A longer line cannot be redacted in one piece.
const LINE_LIMIT: u64 = 64 << 20;

/// A larger artifact is left out.
const ARTIFACT_LIMIT: u64 = 256 << 20;

/// `bundle.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`BUNDLE_VERSION`].
    pub bundle_version: String,
    /// The thread.
    pub thread_id: String,
    /// When the bundle was made, in RFC 3339.
    pub created_at: String,
    /// Of the spine; empty when there is none.
    pub spine_schema_version: String,
    /// Where the rollout was; empty when there was none.
    pub rollout_path: String,
    /// Every other file by its path.
    #[serde(default)]
    pub files: BTreeMap<String, FileEntry>,
    /// The sub-agents' threads, each below `lineage/`.
    #[serde(default)]
    pub lineage: Vec<String>,
    /// What was replaced; none if redaction was off.
    #[serde(default)]
    pub redaction: Option<Report>,
}

/// A file of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Lower-case hexadecimal.
    pub sha256: String,
    /// Its length.
    pub bytes: u64,
}

/// What goes into a bundle.
#[derive(Clone, Debug)]
pub struct Contents {
    /// The thread.
    pub thread: SessionId,
    /// Its spine, or its rollout where it has no spine but one that Spindle recorded beside it, which goes along.
    pub session: SessionFiles,
    /// The sub-agents' spines.
    pub lineage: Vec<(SessionId, SessionFiles)>,
    /// The time to write down.
    pub created_at: Timestamp,
}

/// A bundle cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// A file of the session cannot be read.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The output cannot be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// A line cannot be looked through.
    #[error("line {line} of {path} is longer than {LINE_LIMIT} bytes; redaction cannot look through it")]
    LongLine {
        /// The file.
        path: PathBuf,
        /// The line.
        line: u64,
    },
    /// The manifest cannot be put into JSON.
    #[error("cannot write bundle.json")]
    Json(#[from] serde_json::Error),
}

/// Writes a bundle into a new directory.
pub fn write(
    contents: &Contents,
    directory: &Path,
    redactor: &mut Redactor,
) -> Result<Manifest, BundleError> {
    let output = Output::begin(directory)?;
    let mut bundle = Bundle { output, redactor, files: BTreeMap::new() };
    let session = &contents.session;
    let is_spine = session.format == Format::Spine;
    let spine = if is_spine { Some(session) } else { session.recorded.as_deref() };
    let rollout =
        if is_spine { session.rollout.clone() } else { session.paths.first().map(|(_, path)| path.clone()) };
    let rollout = rollout.filter(|path| is_plain_file(path));
    let spines = spine.into_iter().chain(contents.lineage.iter().map(|(_, files)| files));
    bundle.foresee(spines, rollout.as_deref())?;
    if let Some(spine) = spine {
        bundle.spine(spine, "spine/", "artifacts/")?;
    }
    if let Some(path) = &rollout {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("rollout.jsonl");
        bundle.lines(path, &format!("rollout/{name}"), &HashMap::new())?;
    }
    for (thread, files) in &contents.lineage {
        bundle.spine(files, &format!("lineage/{thread}/"), &format!("lineage/{thread}/artifacts/"))?;
    }
    let Bundle { output, redactor, files } = bundle;
    redactor.enter("bundle.json");
    let rollout_path = rollout.map(|path| path.display().to_string()).unwrap_or_default();
    let manifest = Manifest {
        bundle_version: BUNDLE_VERSION.to_owned(),
        thread_id: contents.thread.to_string(),
        created_at: contents.created_at.to_string(),
        spine_schema_version: spine.map(|_| spine::SCHEMA_VERSION.to_owned()).unwrap_or_default(),
        rollout_path: redactor.text(&rollout_path).into_owned(),
        files,
        lineage: contents.lineage.iter().map(|(thread, _)| thread.to_string()).collect(),
        redaction: redactor.is_active().then(|| redactor.report()),
    };
    let mut text = serde_json::to_vec_pretty(&manifest)?;
    text.push(b'\n');
    output.write("bundle.json", &text)?;
    output.finish()?;
    Ok(manifest)
}

struct Bundle<'a> {
    output: Output,
    redactor: &'a mut Redactor,
    files: BTreeMap<String, FileEntry>,
}

impl Bundle<'_> {
    /// Shows everything to the redactor, so that a secret that one line tells is known in those before it as well.
    fn foresee<'f>(
        &mut self,
        spines: impl Iterator<Item = &'f SessionFiles>,
        rollout: Option<&'f Path>,
    ) -> Result<(), BundleError> {
        if !self.redactor.is_active() {
            return Ok(());
        }
        for files in spines {
            for path in files.root.iter().flat_map(|root| artifacts_below(root)) {
                self.redactor.foresee(&String::from_utf8_lossy(&read_artifact(&path)?));
            }
            files.paths.iter().try_for_each(|(_, path)| self.foresee_lines(path))?;
        }
        rollout.map_or(Ok(()), |path| self.foresee_lines(path))
    }

    fn foresee_lines(&mut self, path: &Path) -> Result<(), BundleError> {
        let failed = |source| FilesError::Read { path: path.to_owned(), source };
        let mut reader = BufReader::with_capacity(1 << 16, File::open(path).map_err(failed)?);
        let mut line = Vec::new();
        // A line that is too long is cut here, and refused when it is to be written.
        while reader.by_ref().take(LINE_LIMIT).read_until(b'\n', &mut line).map_err(failed)? > 0 {
            self.redactor.foresee_json(line.trim_ascii_end());
            line.clear();
        }
        Ok(())
    }

    /// Artifacts first: their records in the segments have their hashes.
    fn spine(&mut self, files: &SessionFiles, spine: &str, artifacts: &str) -> Result<(), BundleError> {
        let mut hashes = HashMap::new();
        if let Some(root) = &files.root {
            for path in artifacts_below(root) {
                let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
                let (before, after) = self.artifact(&path, &format!("{artifacts}{name}"))?;
                hashes.insert(before, after);
            }
        }
        for (_, path) in &files.paths {
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            let (before, after) = self.lines(path, &format!("{spine}{name}"), &hashes)?;
            let meta = path.with_extension("meta.json");
            if is_plain_file(&meta) {
                let name = format!("{spine}{}", name.replace(".jsonl", ".meta.json"));
                self.meta(&meta, &name, &before, &after)?;
            }
        }
        Ok(())
    }

    /// Copies a file of JSON lines. Gives what it was and what it has become.
    fn lines(
        &mut self,
        path: &Path,
        name: &str,
        hashes: &HashMap<String, String>,
    ) -> Result<(FileEntry, FileEntry), BundleError> {
        self.redactor.enter(name);
        let failed = |source| FilesError::Read { path: path.to_owned(), source };
        let mut reader = BufReader::with_capacity(1 << 16, File::open(path).map_err(failed)?);
        let mut written = Hashing::new(BufWriter::new(self.output.create(name)?));
        let mut before = Sums::default();
        let mut number = 0;
        let mut line = Vec::new();
        loop {
            line.clear();
            let limit = if self.redactor.is_active() { LINE_LIMIT } else { u64::MAX };
            let read = reader.by_ref().take(limit).read_until(b'\n', &mut line).map_err(failed)?;
            if read == 0 {
                break;
            }
            number += 1;
            before.add(&line);
            let ended = line.last() == Some(&b'\n');
            if !ended && read as u64 >= limit {
                return Err(BundleError::LongLine { path: path.to_owned(), line: number });
            }
            if ended {
                line.pop();
            }
            let mut new = self.redactor.json(&line);
            for (old_hash, new_hash) in hashes.iter().filter(|(old_hash, new_hash)| old_hash != new_hash) {
                if let Some(at) = find(&new, old_hash.as_bytes()) {
                    new.to_mut()[at..at + new_hash.len()].copy_from_slice(new_hash.as_bytes());
                }
            }
            let wrote =
                written.write_all(&new).and_then(|()| if ended { written.write_all(b"\n") } else { Ok(()) });
            wrote.map_err(|source| OutputError::Write { path: PathBuf::from(name), source })?;
        }
        let after = written.finish(name)?;
        self.files.insert(name.to_owned(), after.clone());
        Ok((before.finish(), after))
    }

    /// Copies a text. Gives its hash before and after.
    fn artifact(&mut self, path: &Path, name: &str) -> Result<(String, String), BundleError> {
        self.redactor.enter(name);
        let content = read_artifact(path)?;
        let before = sha256_hex(&content);
        let new: Cow<'_, [u8]> = if self.redactor.is_active() {
            Cow::Owned(self.redactor.text(&String::from_utf8_lossy(&content)).into_owned().into_bytes())
        } else {
            Cow::Borrowed(&content)
        };
        self.output.write(name, &new)?;
        let after = sha256_hex(&new);
        self.files.insert(name.to_owned(), FileEntry { sha256: after.clone(), bytes: new.len() as u64 });
        Ok((before, after))
    }

    /// Copies a meta file. One that was right about its segment stays right.
    fn meta(
        &mut self,
        path: &Path,
        name: &str,
        before: &FileEntry,
        after: &FileEntry,
    ) -> Result<(), BundleError> {
        self.redactor.enter(name);
        let failed = |source| FilesError::Read { path: path.to_owned(), source };
        let mut content = Vec::new();
        File::open(path).and_then(|file| file.take(1 << 20).read_to_end(&mut content)).map_err(failed)?;
        let told = serde_json::from_slice::<Value>(&content).ok();
        let told = told.as_ref().and_then(|told| told.get("sha256")?.as_str());
        if told == Some(&before.sha256) && before != after {
            let mut text = String::from_utf8_lossy(&content).replace(&before.sha256, &after.sha256);
            if let Ok(Value::Object(mut fields)) = serde_json::from_str(&text) {
                fields.insert("bytes".to_owned(), after.bytes.into());
                text = serde_json::to_string_pretty(&fields)?;
            }
            content = text.into_bytes();
        }
        let new = self.redactor.json(&content);
        self.output.write(name, &new)?;
        self.files.insert(name.to_owned(), FileEntry { sha256: sha256_hex(&new), bytes: new.len() as u64 });
        Ok(())
    }
}

fn artifacts_below(root: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(root.join("artifacts"))
        .map(|entries| {
            entries.flatten().map(|entry| entry.path()).filter(|path| is_plain_file(path)).collect()
        })
        .unwrap_or_default();
    found.sort();
    found
}

fn read_artifact(path: &Path) -> Result<Vec<u8>, FilesError> {
    let mut content = Vec::new();
    File::open(path)
        .and_then(|file| file.take(ARTIFACT_LIMIT).read_to_end(&mut content))
        .map_err(|source| FilesError::Read { path: path.to_owned(), source })?;
    Ok(content)
}

fn is_plain_file(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file())
}

fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    text.windows(needle.len()).position(|window| window == needle)
}

/// The hash and length of what passes.
#[derive(Default)]
struct Sums {
    sha256: Sha256,
    bytes: u64,
}

impl Sums {
    fn add(&mut self, content: &[u8]) {
        self.sha256.update(content);
        self.bytes = self.bytes.saturating_add(content.len() as u64);
    }

    fn finish(self) -> FileEntry {
        FileEntry { sha256: hex(&self.sha256.finalize()), bytes: self.bytes }
    }
}

/// A file that knows what was written into it.
struct Hashing {
    file: BufWriter<File>,
    sums: Sums,
}

impl Hashing {
    fn new(file: BufWriter<File>) -> Self {
        Self { file, sums: Sums::default() }
    }

    fn finish(mut self, name: &str) -> Result<FileEntry, OutputError> {
        let failed = |source| OutputError::Write { path: PathBuf::from(name), source };
        self.file.flush().map_err(failed)?;
        self.file.get_ref().sync_all().map_err(failed)?;
        Ok(self.sums.finish())
    }
}

impl Write for Hashing {
    fn write(&mut self, content: &[u8]) -> std::io::Result<usize> {
        let written = self.file.write(content)?;
        self.sums.add(&content[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use crate::transcript;
    use crate::verify::Code;

    fn fixtures() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
    }

    /// The fixture with an artifact, a rollout beside it and a sub-agent.
    fn contents(home: &Path) -> Contents {
        let fixtures = fixtures();
        let spine = home.join("spine");
        fs::create_dir_all(spine.join("artifacts")).unwrap();
        for name in ["segment-000.jsonl", "segment-000.meta.json", "segment-001.jsonl"] {
            fs::copy(fixtures.join("spine-repair").join(name), spine.join(name)).unwrap();
        }
        let patch = "+password=hunter2!\n";
        fs::write(spine.join("artifacts/git_diff.patch"), patch).unwrap();
        let record = serde_json::json!({
            "schema_version": "codex_trace_spine_v1", "thread_id": "01930f5e-77aa-7c01-9b1d-2f0f6a0c4e11", "seq": 900,
            "timestamp": "2026-03-02T09:00:00Z", "type": "artifact_ref",
            "payload": {"kind": "git_diff", "artifact_path": "artifacts/git_diff.patch", "sha256": sha256_hex(patch.as_bytes())},
        });
        let mut last = File::options().append(true).open(spine.join("segment-001.jsonl")).unwrap();
        writeln!(last, "{record}").unwrap();
        let mut session = SessionFiles::at(&spine).unwrap();
        session.rollout = Some(fixtures.join("rollout-0.75.0-repair.jsonl"));
        let child = SessionFiles::at(&fixtures.join("spine-repair")).unwrap();
        Contents {
            thread: "01930f5e-77aa-7c01-9b1d-2f0f6a0c4e11".parse().unwrap(),
            session,
            lineage: vec![("child".parse().unwrap(), child)],
            created_at: "2026-03-02T10:00:00Z".parse().unwrap(),
        }
    }

    /// Everything below a directory as one text.
    fn all(directory: &Path) -> String {
        let mut text = String::new();
        for entry in fs::read_dir(directory).unwrap().flatten() {
            text += &if entry.path().is_dir() {
                all(&entry.path())
            } else {
                fs::read_to_string(entry.path()).unwrap()
            };
        }
        text
    }

    #[test]
    fn a_bundle_has_everything_with_its_hash_and_no_secret() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("bundle");
        let manifest = write(&contents(dir.path()), &out, &mut Redactor::new()).unwrap();
        let names: Vec<&str> = manifest.files.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "artifacts/git_diff.patch",
                "lineage/child/segment-000.jsonl",
                "lineage/child/segment-000.meta.json",
                "lineage/child/segment-001.jsonl",
                "rollout/rollout-0.75.0-repair.jsonl",
                "spine/segment-000.jsonl",
                "spine/segment-000.meta.json",
                "spine/segment-001.jsonl",
            ]
        );
        for (name, entry) in &manifest.files {
            let content = fs::read(out.join(name)).unwrap();
            assert_eq!(
                (sha256_hex(&content), content.len() as u64),
                (entry.sha256.clone(), entry.bytes),
                "{name}"
            );
        }
        let text = all(&out);
        for secret in ["s3cretpw", "hunter2", "/home/dev"] {
            assert!(!text.contains(secret), "{secret}");
        }
        assert!(manifest.redaction.unwrap().total() > 0);
    }

    #[test]
    fn a_secret_that_a_later_line_tells_is_known_in_what_comes_before() {
        let dir = tempfile::tempdir().unwrap();
        let (out, contents) = (dir.path().join("bundle"), contents(dir.path()));
        let spine = dir.path().join("spine");
        fs::write(spine.join("artifacts/git_diff.patch"), "+mysql -phunter2xyz\n").unwrap();
        let mut last = File::options().append(true).open(spine.join("segment-001.jsonl")).unwrap();
        writeln!(last, "{{\"say\":\"hunter2xyz\"}}\n{{\"say\":\"PASSWORD=hunter2xyz\"}}").unwrap();
        let manifest = write(&contents, &out, &mut Redactor::new()).unwrap();
        assert!(!all(&out).contains("hunter2xyz"));
        let patch = fs::read_to_string(out.join("artifacts/git_diff.patch")).unwrap();
        assert!(patch.starts_with("+mysql -p[secret:"), "{patch}");
        let counted = manifest.redaction.unwrap().replaced;
        let of_patch: Vec<_> =
            counted.iter().filter(|replaced| replaced.file == "artifacts/git_diff.patch").collect();
        assert_eq!(of_patch.iter().map(|replaced| replaced.count).sum::<u64>(), 1, "{of_patch:?}");
    }

    #[test]
    fn hashes_that_were_right_are_right_in_the_bundle() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("bundle");
        let manifest = write(&contents(dir.path()), &out, &mut Redactor::new()).unwrap();
        let meta: Value =
            serde_json::from_slice(&fs::read(out.join("spine/segment-000.meta.json")).unwrap()).unwrap();
        let segment = &manifest.files["spine/segment-000.jsonl"];
        assert_eq!(meta["sha256"], segment.sha256);
        assert_eq!(meta["bytes"], segment.bytes);
        let records = fs::read_to_string(out.join("spine/segment-001.jsonl")).unwrap();
        assert!(records.contains(&manifest.files["artifacts/git_diff.patch"].sha256));
    }

    #[test]
    fn a_redacted_bundle_verifies_as_its_source_does() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("bundle");
        let contents = contents(dir.path());
        write(&contents, &out, &mut Redactor::new()).unwrap();
        let told = |path: &Path| -> Vec<_> {
            crate::verify::verify(path).into_iter().map(|finding| finding.code).collect()
        };
        let expected: Vec<_> = told(&dir.path().join("spine"))
            .into_iter()
            .chain(told(&fixtures().join("spine-repair")))
            // The directories of the fixtures are not named after their threads.
            .filter(|code| *code != Code::WrongName)
            .collect();
        let found: Vec<_> = told(&out).into_iter().filter(|code| *code != Code::WrongName).collect();
        assert_eq!(found, expected);
        assert!(!expected.contains(&Code::HashMismatch) && !expected.contains(&Code::OverwrittenArtifact));

        fs::write(out.join("artifacts/git_diff.patch"), "changed").unwrap();
        let changed = told(&out);
        assert!(changed.contains(&Code::HashMismatch) && changed.contains(&Code::OverwrittenArtifact));
    }

    #[test]
    fn without_redaction_every_byte_is_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("bundle");
        let contents = contents(dir.path());
        let manifest = write(&contents, &out, &mut Redactor::inactive()).unwrap();
        for (_, path) in &contents.session.paths {
            let name = path.file_name().unwrap().to_str().unwrap();
            assert_eq!(fs::read(path).unwrap(), fs::read(out.join("spine").join(name)).unwrap());
        }
        assert_eq!(manifest.redaction, None);
    }

    #[test]
    fn a_bundle_is_read_as_the_session_that_it_holds() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("bundle");
        let contents = contents(dir.path());
        write(&contents, &out, &mut Redactor::new()).unwrap();
        let (before, after) = (
            transcript::read(&contents.session).unwrap(),
            transcript::read(&SessionFiles::at(&out).unwrap()).unwrap(),
        );
        assert_eq!(before.entries.len(), after.entries.len());
        assert!(matches!(
            write(&contents, &out, &mut Redactor::new()),
            Err(BundleError::Output(OutputError::Occupied(_)))
        ));
    }
}
