//! Export and import: the whole store as lines of JSON.
//!
//! The first line describes the store, then every blob and every row has a line, and the last line counts
//! them and holds the SHA-256 of all bytes before it:
//!
//! ```json
//! {"kind":"store","format":1,"store":"0192…","commits":4711}
//! {"kind":"blob","blob":"9f86d0…","data":"74657374"}
//! {"kind":"row","table":"runs","key":"0192…","version":1,"value":"0a04…"}
//! {"kind":"end","rows":1,"blobs":1,"sha256":"d2a8…"}
//! ```
//!
//! `key`, `value` and `data` are hexadecimal; `key` is without the table's prefix byte, `value` is the prost
//! message without the schema version. An import takes its rows into a database beside the final place and
//! moves it there when the last line was right, so a broken export or a crash leaves nothing behind.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::ops::Bound;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::blob::{BlobId, Blobs, MAX_BLOB_BYTES};
use super::database::{Database, Identity};
use super::error::StoreError;
use super::files;
use super::hex::{hex, unhex};
use super::open::{self, Options};
use super::table::{META_PREFIX, TableInfo, Tables};
use super::watermark::{self, Watermark};

/// The version of the lines that this program writes and reads.
const FORMAT: u32 = 1;

/// The longest line: a blob of the greatest size, and room for what is around it.
const MAX_LINE_BYTES: u64 = 2 * MAX_BLOB_BYTES + 1024;

/// How many rows an import makes durable at a time.
const ROWS_PER_BATCH: u64 = 500;

/// What an export or an import moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transferred {
    /// The id of the store that was read (export) or made (import).
    pub store: Uuid,
    /// How many rows.
    pub rows: u64,
    /// How many blobs.
    pub blobs: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
enum Line {
    Store { format: u32, store: Uuid, commits: u64 },
    Blob { blob: String, data: String },
    Row { table: String, key: String, version: u8, value: String },
    End { rows: u64, blobs: u64, sha256: String },
}

/// Exports the store in `directory`, which nobody has open, into the file `to`. Blocks.
///
/// The store is not checked first, so that one that fails its check can still be saved as far as it can be
/// read.
pub fn export(
    directory: &Path,
    tables: &'static [TableInfo],
    options: &Options,
    to: &Path,
) -> Result<Transferred, StoreError> {
    let tables = Tables::new(tables)?;
    let _lock = open::lock(directory)?;
    let path = open::database_path(directory);
    let nothing =
        || StoreError::Database { action: "find", path: path.clone(), detail: "there is none".to_owned() };
    if !Database::exists(&path) {
        return Err(nothing());
    }
    let database = Database::open(&path, options.cache_bytes)?;
    let identity = database.identity()?.ok_or_else(nothing)?;
    export_database(&database, tables, &Blobs::open(directory)?, identity, to)
}

/// Exports an open database.
pub(super) fn export_database(
    database: &Database,
    tables: Tables,
    blobs: &Blobs,
    identity: Identity,
    to: &Path,
) -> Result<Transferred, StoreError> {
    let temporary = files::temporary_beside(to);
    files::write_via(&temporary, to, |file| {
        let mut lines = LineWriter { out: BufWriter::new(file), hash: Sha256::new(), path: &temporary };
        lines.write(&Line::Store { format: FORMAT, store: identity.id, commits: identity.commits })?;
        let mut done = Transferred { store: identity.id, rows: 0, blobs: 0 };
        for id in blobs.list()? {
            let data = hex(&blobs.read(&id, MAX_BLOB_BYTES)?);
            lines.write(&Line::Blob { blob: id.to_string(), data })?;
            done.blobs += 1;
        }
        for row in database.scan((Bound::Excluded(vec![META_PREFIX, u8::MAX]), Bound::Unbounded)) {
            let (key, value) = row?;
            let table = tables.by_prefix(key[0]).ok_or(StoreError::UnknownTable { prefix: key[0] })?;
            let (version, message) = value.split_first().unwrap_or((&0, &[]));
            let (key, value) = (hex(&key[1..]), hex(message));
            lines.write(&Line::Row { table: table.name.to_owned(), key, version: *version, value })?;
            done.rows += 1;
        }
        let sha256 = hex(&lines.hash.clone().finalize());
        lines.write(&Line::End { rows: done.rows, blobs: done.blobs, sha256 })?;
        lines.out.flush().map_err(StoreError::io("write", &temporary))?;
        Ok(done)
    })
}

struct LineWriter<'a, W: Write> {
    out: BufWriter<W>,
    hash: Sha256,
    path: &'a Path,
}

impl<W: Write> LineWriter<'_, W> {
    fn write(&mut self, line: &Line) -> Result<(), StoreError> {
        let line = format!("{}\n", serde_json::json!(line));
        self.hash.update(&line);
        self.out.write_all(line.as_bytes()).map_err(StoreError::io("write", self.path))
    }
}

/// Makes the store in `directory` from the export file `from`. Blocks. The new store has an id of its own,
/// so that nobody mistakes its future for that of the exported one. A directory that holds a store already
/// is refused.
pub fn import(
    directory: &Path,
    tables: &'static [TableInfo],
    options: &Options,
    from: &Path,
) -> Result<Transferred, StoreError> {
    let tables = Tables::new(tables)?;
    let file = File::open(from).map_err(StoreError::io("open", from))?;
    files::create_private_directory(directory)?;
    let _lock = open::lock(directory)?;
    open::require_space(directory, options.free_space_floor)?;
    let (mark, place) = (watermark::path(directory), open::database_path(directory));
    if Database::exists(&place) || mark.exists() {
        return Err(StoreError::NotEmpty { path: directory.to_owned() });
    }
    let aside = directory.join("importing");
    remove_tree(&aside)?;
    let blobs = Blobs::open(directory)?;
    let import = Import { lines: LineReader::new(file, from), tables, blobs: &blobs };
    let done = import.take_in(&aside, options).inspect_err(|_| {
        // Best effort; the next import removes it as well.
        let _ = fs::remove_dir_all(&aside);
    })?;
    remove_tree(&place)?;
    fs::rename(&aside, &place).map_err(StoreError::io("rename", &aside))?;
    files::sync_directory(directory)?;
    watermark::write(&mark, Watermark { store: done.store, commits: FIRST_COMMIT, clean: true })?;
    Ok(done)
}

/// The commit counter of a store just imported.
const FIRST_COMMIT: u64 = 1;

struct Import<'a> {
    lines: LineReader<'a>,
    tables: Tables,
    blobs: &'a Blobs,
}

impl Import<'_> {
    /// Makes a complete, closed database in `aside`.
    fn take_in(mut self, aside: &Path, options: &Options) -> Result<Transferred, StoreError> {
        match self.lines.next()? {
            Line::Store { format: FORMAT, .. } => {}
            Line::Store { format, .. } => {
                return Err(self.lines.wrong(format!("it has format {format}, this program reads {FORMAT}")));
            }
            _ => return Err(self.lines.wrong("this is not the beginning of an export")),
        }
        let mut done = Transferred { store: Uuid::now_v7(), rows: 0, blobs: 0 };
        let database = Database::open(aside, options.cache_bytes)?;
        let mut batch = sled::Batch::default();
        loop {
            let hash = self.lines.hash.clone();
            match self.lines.next()? {
                Line::Row { table, key, version, value } => {
                    let (key, row) = self.row(&table, &key, version, &value)?;
                    batch.insert(key, row);
                    done.rows += 1;
                    if done.rows.is_multiple_of(ROWS_PER_BATCH) {
                        database.apply(std::mem::take(&mut batch), FIRST_COMMIT)?;
                        database.make_durable()?;
                    }
                }
                Line::Blob { blob, data } => {
                    self.blob(&blob, &data)?;
                    done.blobs += 1;
                }
                Line::End { rows, blobs, sha256 } => {
                    self.end(&done, rows, blobs, &sha256, hash)?;
                    database.apply(batch, FIRST_COMMIT)?;
                    database.identify(Identity { id: done.store, commits: FIRST_COMMIT })?;
                    return Ok(done);
                }
                Line::Store { .. } => return Err(self.lines.wrong("a second export begins here")),
            }
        }
    }

    fn row(
        &self,
        table: &str,
        key: &str,
        version: u8,
        value: &str,
    ) -> Result<(Vec<u8>, Vec<u8>), StoreError> {
        let known = self
            .tables
            .by_name(table)
            .ok_or_else(|| self.lines.wrong(format!("table {table} is not known")))?;
        let with_first = |first: u8, digits: &str| {
            let rest = unhex(digits).ok_or_else(|| self.lines.wrong("not hexadecimal"))?;
            Ok([&[first], rest.as_slice()].concat())
        };
        let (key, row) = (with_first(known.prefix, key)?, with_first(version, value)?);
        (known.check)(&key, &row)
            .map_err(|problem| self.lines.wrong(format!("a row of table {table}: {problem}")))?;
        Ok((key, row))
    }

    fn blob(&self, blob: &str, data: &str) -> Result<(), StoreError> {
        let bytes = unhex(data).ok_or_else(|| self.lines.wrong("not hexadecimal"))?;
        let right = blob.parse() == Ok(BlobId::of(&bytes));
        right.then_some(()).ok_or_else(|| self.lines.wrong("the blob is not what its name says"))?;
        self.blobs.write(&bytes).map(drop)
    }

    fn end(
        &mut self,
        done: &Transferred,
        rows: u64,
        blobs: u64,
        sha256: &str,
        hash: Sha256,
    ) -> Result<(), StoreError> {
        if (rows, blobs) != (done.rows, done.blobs) || sha256 != hex(&hash.finalize()) {
            return Err(self
                .lines
                .wrong("the checksum is not that of the lines before; the file was changed"));
        }
        if self.lines.at_end()? { Ok(()) } else { Err(self.lines.wrong("there is more after the end")) }
    }
}

/// Lines of an export, with the hash of all that was read.
struct LineReader<'a> {
    input: BufReader<File>,
    hash: Sha256,
    number: u64,
    path: &'a Path,
}

impl<'a> LineReader<'a> {
    fn new(file: File, path: &'a Path) -> Self {
        Self { input: BufReader::new(file), hash: Sha256::new(), number: 0, path }
    }

    fn next(&mut self) -> Result<Line, StoreError> {
        let mut line = Vec::new();
        self.number += 1;
        (&mut self.input)
            .take(MAX_LINE_BYTES)
            .read_until(b'\n', &mut line)
            .map_err(StoreError::io("read", self.path))?;
        if line.last() != Some(&b'\n') {
            return Err(self.wrong("the file is cut off here"));
        }
        self.hash.update(&line);
        serde_json::from_slice(&line).map_err(|error| self.wrong(error.to_string()))
    }

    fn at_end(&mut self) -> Result<bool, StoreError> {
        Ok(self.input.fill_buf().map_err(StoreError::io("read", self.path))?.is_empty())
    }

    fn wrong(&self, problem: impl Into<String>) -> StoreError {
        StoreError::Import { path: self.path.to_owned(), line: self.number, problem: problem.into() }
    }
}

fn remove_tree(path: &Path) -> Result<(), StoreError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(StoreError::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}
