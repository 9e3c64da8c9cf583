//! A session's files against what is known of them: go on, begin anew, or nothing to do.

use std::fs::File;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use trace::source::{FileIdentity, SessionSource, SourceFile};

use crate::store::hash;
use crate::store::message::format_number;
use crate::store::tables::{CursorRow, FileRow};

/// How many bytes of a file's beginning, and before the place where reading stands, are remembered as a hash.
const SAMPLE: usize = 128;

/// So long at the most is between the time and the size of an append, as a stat sees them.
const APPENDING: Duration = Duration::from_millis(2);

/// What is to be done about a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// All that is there has been read.
    Nothing,
    /// The same, but it lies in another place now, or is there again.
    Moved,
    /// There may be more.
    GoOn,
    /// What was read is no longer what is there.
    Anew(Why),
}

/// Why a session is read anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// It has not been read before.
    First,
    /// It is read from another kind of file, or from another home.
    Source,
    /// A file was replaced by another.
    Replaced,
    /// A file is shorter than what was read of it, other bytes stand in it, or it was written to and nothing was
    /// appended.
    Rewritten,
    /// A file grew, or came, behind the place where reading stands.
    Late,
    /// The program's derivation or rules are others than those that read it.
    Version,
    /// What is needed to read on was not kept.
    NotKept,
}

/// What is to be done, by what a stat says.
pub(crate) fn plan(cursor: &CursorRow, version: u32, source: &SessionSource) -> Plan {
    let Some(last) = cursor.files.last() else { return Plan::Anew(Why::First) };
    if cursor.version != version {
        return Plan::Anew(Why::Version);
    }
    if cursor.format != format_number(source.format) || cursor.home != home(source) {
        return Plan::Anew(Why::Source);
    }
    let (mut more, mut moved) = (false, cursor.gone_at != 0);
    for file in &source.files {
        let Some(known) = cursor.files.iter().find(|known| known.index == file.index) else {
            if file.index < last.index {
                return Plan::Anew(Why::Late);
            }
            more = true;
            continue;
        };
        if identity(known) != file.identity {
            return Plan::Anew(Why::Replaced);
        }
        if file.len < known.offset {
            return Plan::Anew(Why::Rewritten);
        }
        let changed = file.len != known.size || modified(file) != known.modified;
        if changed && known.index != last.index {
            return Plan::Anew(Why::Late);
        }
        if changed && known.offset > 0 && file.len == known.size && is_at_rest(file) {
            return Plan::Anew(Why::Rewritten);
        }
        more |= changed;
        moved |= known.path != file.path.as_os_str().as_bytes();
    }
    match (more, moved) {
        (true, _) => Plan::GoOn,
        (false, true) => Plan::Moved,
        (false, false) => Plan::Nothing,
    }
}

/// Whether a file of the same size and another time is really one that nothing was appended to. While something is,
/// the time changes a moment before the size does.
fn is_at_rest(file: &SourceFile) -> bool {
    std::thread::sleep(APPENDING);
    std::fs::metadata(&file.path).is_ok_and(|now| {
        FileIdentity::of(&now) == file.identity
            && now.len() == file.len
            && now.modified().is_ok_and(|time| time == file.mtime)
    })
}

pub(crate) fn home(source: &SessionSource) -> &[u8] {
    source.home.as_os_str().as_bytes()
}

/// Whether a file that has been read in part is still the same.
pub(crate) fn is_same(known: &FileRow, file: &File) -> io::Result<bool> {
    Ok(known.offset == 0 || sample(file, known.offset)? == known.sample)
}

/// Whether the file that was read last is still the same, as far as it was read.
pub(crate) fn begins_as_read(cursor: &CursorRow, source: &SessionSource) -> bool {
    let Some(known) = cursor.files.last() else { return false };
    let file = source.files.iter().find(|file| file.index == known.index);
    file.and_then(|file| file.open().ok()).is_some_and(|file| is_same(known, &file).unwrap_or(false))
}

/// A hash of the beginning of a file and of what stands before an offset.
pub(crate) fn sample(file: &File, offset: u64) -> io::Result<u64> {
    let mut bytes = [0; 2 * SAMPLE];
    let (head, tail) = bytes.split_at_mut(SAMPLE);
    let length = usize::try_from(offset).map_or(SAMPLE, |offset| offset.min(SAMPLE));
    file.read_exact_at(&mut head[..length], 0).or_else(short)?;
    file.read_exact_at(&mut tail[..length], offset - length as u64).or_else(short)?;
    Ok(hash::hash(&bytes))
}

/// A file that is shorter than it was has another hash, which is all that is asked.
fn short(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::UnexpectedEof { Ok(()) } else { Err(error) }
}

/// The row of a file of which nothing has been read.
pub(crate) fn row(file: &SourceFile) -> FileRow {
    FileRow {
        index: file.index,
        path: file.path.clone().into_os_string().into_vec(),
        device: file.identity.device,
        inode: file.identity.inode,
        size: file.len,
        modified: modified(file),
        ..FileRow::default()
    }
}

/// A file as it was when it was listed.
pub(crate) fn listed(row: &FileRow) -> SourceFile {
    let since = std::time::Duration::from_nanos(u64::try_from(row.modified).unwrap_or_default());
    SourceFile {
        index: row.index,
        path: path(row),
        identity: identity(row),
        len: row.size,
        mtime: SystemTime::UNIX_EPOCH + since,
    }
}

pub(crate) fn path(row: &FileRow) -> PathBuf {
    std::ffi::OsString::from_vec(row.path.clone()).into()
}

fn identity(row: &FileRow) -> FileIdentity {
    FileIdentity { device: row.device, inode: row.inode }
}

/// When a file was last written, in nanoseconds since the epoch.
pub(crate) fn modified(file: &SourceFile) -> i64 {
    let since = file.mtime.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// When a session's files were last written.
pub(crate) fn changed_at(source: &SessionSource) -> Timestamp {
    let newest = source.files.iter().map(modified).max().unwrap_or_default();
    Timestamp::from_nanosecond(i128::from(newest)).unwrap_or_default()
}

/// What tells two states of a session's files apart, in a number that fits the board: all that [`plan`] looks at.
fn fingerprint<'a>(home: &[u8], files: impl Iterator<Item = (u32, FileIdentity, u64, i64, &'a [u8])>) -> u64 {
    let mut hash = hash::hash(home);
    for (index, identity, len, modified, path) in files {
        let modified = modified.cast_unsigned();
        for number in [u64::from(index), identity.device, identity.inode, len, modified] {
            hash = hash::go_on(hash, &number.to_le_bytes());
        }
        hash = hash::go_on(hash, path);
    }
    // 0 says that nothing is known.
    hash.max(1)
}

pub(crate) fn fingerprint_of_source(source: &SessionSource) -> u64 {
    let files = source
        .files
        .iter()
        .map(|file| (file.index, file.identity, file.len, modified(file), file.path.as_os_str().as_bytes()));
    fingerprint(home(source), files)
}

pub(crate) fn fingerprint_of_cursor(cursor: &CursorRow) -> u64 {
    let files = cursor
        .files
        .iter()
        .map(|file| (file.index, identity(file), file.size, file.modified, file.path.as_slice()));
    fingerprint(&cursor.home, files)
}
