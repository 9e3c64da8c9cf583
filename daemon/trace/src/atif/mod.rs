//! Trajectories in the format that Harbor reads: ATIF-v1.4, one file per context of the model.
//!
//! A compaction gives the model another history, so what follows is another trajectory: `trajectory.json`,
//! `trajectory.cont-1.json`, … Each says in `extra` and `notes` which one it continues; the field for that came
//! only with v1.5, and validators of v1.4 reject it.

mod build;
mod schema;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use build::trajectories;
pub use schema::*;

use crate::output::{Output, OutputError};
use crate::redact::{Redactor, Report};
use crate::transcript::{self, FilesError, SessionFiles};

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The directory.
    pub directory: PathBuf,
    /// The files in it, in order.
    pub files: Vec<String>,
    /// The steps of all of them.
    pub steps: usize,
    /// Lines of the session that are no records.
    pub unreadable: u64,
    /// What was replaced.
    pub redaction: Report,
}

/// Trajectories cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum AtifError {
    /// The session cannot be read.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The output cannot be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// A trajectory cannot be put into JSON.
    #[error("cannot write a trajectory as JSON")]
    Json(#[from] serde_json::Error),
}

/// Writes the trajectories of a session into a new directory.
pub fn write(files: &SessionFiles, directory: &Path, redactor: &mut Redactor) -> Result<Written, AtifError> {
    let output = Output::begin(directory)?;
    let transcript = transcript::read(files)?;
    let trajectories = trajectories(&transcript);
    let mut names = Vec::new();
    for trajectory in &trajectories {
        redactor.foresee_json(&serde_json::to_vec(trajectory)?);
    }
    for (number, trajectory) in trajectories.iter().enumerate() {
        let name = build::file_name(number);
        redactor.enter(&name);
        let mut text = serde_json::to_vec_pretty(trajectory)?;
        text.push(b'\n');
        output.write(&name, &redactor.json(&text))?;
        names.push(name);
    }
    Ok(Written {
        directory: output.finish()?,
        files: names,
        steps: trajectories.iter().map(|trajectory| trajectory.steps.len()).sum(),
        unreadable: transcript.unreadable,
        redaction: redactor.report(),
    })
}
