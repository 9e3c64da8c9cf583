//! Verifying a bundle: every file as its list says, and the sessions in it as any other.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use super::report::{At, Code, Report};
use super::segment;
use crate::bundle::{BUNDLE_VERSION, Manifest};
use crate::spine::open_artifact;

/// The largest list that is read.
const LIMIT: u64 = 64 << 20;

pub(super) fn verify(directory: &Path, report: &mut Report) {
    let list = directory.join("bundle.json");
    let mut text = Vec::new();
    let read = File::open(&list).and_then(|file| file.take(LIMIT).read_to_end(&mut text));
    if let Err(error) = read {
        return report.add(Code::Unreadable, &list, At::File, format!("it cannot be read: {error}"));
    }
    let manifest: Manifest = match serde_json::from_slice(&text) {
        Ok(manifest) => manifest,
        Err(error) => {
            return report.add(Code::BadMeta, &list, At::File, format!("it is no bundle's list: {error}"));
        }
    };
    if manifest.bundle_version != BUNDLE_VERSION {
        let message = format!("it is a bundle of version {:?}", manifest.bundle_version);
        report.add(Code::WrongVersion, &list, At::File, message);
    }
    for (name, entry) in &manifest.files {
        let path = directory.join(name);
        // A list may name anything; only what lies below it is looked at.
        let hash = open_artifact(directory, name).map_err(io::Error::other).and_then(|file| {
            let mut file = super::Hashing::new(file);
            io::copy(&mut file, &mut io::sink()).map(|_| file.finish().0)
        });
        match hash {
            Ok(hash) if hash == entry.sha256 => {}
            Ok(_) => report.add(Code::HashMismatch, &path, At::File, "it is not what the bundle's list says"),
            Err(error) => {
                report.add(Code::Unreadable, &path, At::File, format!("it cannot be read: {error}"));
            }
        }
    }
    let spine = directory.join("spine");
    if spine.is_dir() {
        let thread = segment::verify_bundled(&spine, directory, report);
        if let Some(thread) = thread.filter(|thread| *thread != manifest.thread_id) {
            let message =
                format!("the bundle is of thread {:?}, its records say {thread:?}", manifest.thread_id);
            report.add(Code::WrongThread, &list, At::File, message);
        }
    }
    for thread in manifest.lineage.iter().filter(|thread| thread.parse::<crate::SessionId>().is_ok()) {
        segment::verify_all(&directory.join("lineage").join(thread), report);
    }
}
