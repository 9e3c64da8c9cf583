//! Reading one stream.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::follow::{Following, Source};
use super::{CHUNK, LogError, Stream};
use crate::process::record::{self, LaunchRecord};
use crate::process::{AtOutputLimit, OutputLimit};

/// Reads one stream of an attempt.
pub struct LogReader(pub(super) Following<Place>);

/// Bytes of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// The place of the first byte in the stream. When it is larger than the end of the chunk before, what lies
    /// between was dropped.
    pub offset: u64,
    /// At least one, at most [`CHUNK`].
    pub bytes: Vec<u8>,
}

impl LogReader {
    /// The next bytes; `None` when all is read and, if the log is followed, the attempt is over.
    ///
    /// May be cancelled at any time without losing anything.
    pub async fn next(&mut self) -> Result<Option<Chunk>, LogError> {
        self.0.next().await
    }
}

impl std::fmt::Debug for LogReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogReader").finish_non_exhaustive()
    }
}

/// A place in a stream.
pub(super) struct Place {
    file: KeptFile,
    offset: u64,
}

impl Place {
    pub(super) fn open(dir: &Path, stream: Stream, from: u64) -> Result<Self, LogError> {
        let kept = kept(dir)?;
        Ok(Self { file: KeptFile::new(dir.join(stream.file_name()), kept), offset: from })
    }
}

impl Source for Place {
    type Item = Chunk;

    fn read(&mut self) -> Result<Option<Chunk>, LogError> {
        let chunk = self.file.read(self.offset, u64::MAX)?;
        if let Some(chunk) = &chunk {
            self.offset = chunk.offset + chunk.bytes.len() as u64;
        }
        Ok(chunk)
    }
}

/// How many of the last bytes of each stream are kept, if not all.
pub(super) fn kept(dir: &Path) -> Result<Option<u64>, LogError> {
    if !dir.is_dir() {
        return Err(LogError::NoAttempt { dir: dir.to_owned() });
    }
    let launch: Option<LaunchRecord> = record::read(&dir.join(record::LAUNCH))?;
    Ok(match launch.and_then(|record| record.launch.limits.output) {
        Some(OutputLimit { bytes, then: AtOutputLimit::DropOldest }) => Some(bytes),
        _ => None,
    })
}

/// A file that grows at its end, and of which perhaps only the last bytes are kept.
pub(super) struct KeptFile {
    path: PathBuf,
    /// Opened when it is there: a reader may be earlier than the shim.
    file: Option<File>,
    kept: Option<u64>,
}

impl KeptFile {
    pub(super) fn new(path: PathBuf, kept: Option<u64>) -> Self {
        Self { path, file: None, kept }
    }

    fn failed(&self, source: io::Error) -> LogError {
        LogError::Read { path: self.path.clone(), source }
    }

    fn open(&mut self) -> Result<Option<&File>, LogError> {
        if self.file.is_none() {
            match File::open(&self.path) {
                Ok(file) => self.file = Some(file),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(self.failed(error)),
            }
        }
        Ok(self.file.as_ref())
    }

    /// The length of the file; 0 as long as it is not there.
    pub(super) fn length(&mut self) -> Result<u64, LogError> {
        let length = self.open()?.map_or(Ok(0), |file| file.metadata().map(|file| file.len()));
        length.map_err(|error| self.failed(error))
    }

    /// The first offset that is kept.
    pub(super) fn start(&mut self) -> Result<u64, LogError> {
        match self.kept {
            Some(kept) => Ok(self.length()?.saturating_sub(kept)),
            None => Ok(0),
        }
    }

    /// Reads at most a chunk of what lies between `from` and `end`, or of what is kept of that; `None` when that is
    /// nothing.
    pub(super) fn read(&mut self, from: u64, end: u64) -> Result<Option<Chunk>, LogError> {
        let mut offset = from.max(self.start()?);
        loop {
            let wanted = usize::try_from(end.saturating_sub(offset)).unwrap_or(CHUNK).min(CHUNK);
            let mut bytes = vec![0; wanted];
            let Some(file) = self.open()? else { return Ok(None) };
            let length = file.read_at(&mut bytes, offset).map_err(|error| self.failed(error))?;
            bytes.truncate(length);
            if bytes.is_empty() {
                return Ok(None);
            }
            // Bytes are given up only when the file is longer by what is kept, so a look at its length afterwards
            // shows whether these were still there when they were read.
            let start = self.start()?;
            if start <= offset {
                return Ok(Some(Chunk { offset, bytes }));
            }
            offset = start;
        }
    }
}
