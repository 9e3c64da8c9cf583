//! Cursors: a row for each session, and further ones for the files of a session that has more than one row takes.

use engine::store::{Batch, Order, Reader, StoreError};
use prost::Message as _;

use super::tables::{CursorRow, Cursors, FileRow, Files, FilesRow};

/// How many bytes of files may stand in a row.
const LIMIT: usize = 4 * 1024;

/// The cursor of a session, with all of its files.
pub(crate) fn get(reader: &Reader, session: &str) -> Result<Option<CursorRow>, StoreError> {
    let key = session.to_owned();
    let row = reader.get::<Cursors>(&key)?;
    row.map(|row| with_all_files(reader, &key, row)).transpose()
}

/// All cursors, by session.
pub(crate) fn all(reader: &Reader) -> impl Iterator<Item = Result<(String, CursorRow), StoreError>> {
    let rows = reader.scan::<Cursors>(.., Order::Ascending);
    rows.map(move |row| {
        let (session, row) = row?;
        with_all_files(reader, &session, row).map(|row| (session, row))
    })
}

fn with_all_files(reader: &Reader, session: &String, mut row: CursorRow) -> Result<CursorRow, StoreError> {
    if row.put_away == 0 {
        return Ok(row);
    }
    let mut files = Vec::new();
    for rows in reader.scan_prefix::<Files, String>(session, Order::Ascending).take(row.rows_put_away()) {
        files.extend(rows?.1.files);
    }
    if files.len() as u64 != row.put_away {
        // It cannot be read on from what is not known.
        (row.version, row.put_away, row.file_rows) = (0, 0, 0);
    }
    files.append(&mut row.files);
    row.files = files;
    Ok(row)
}

/// Puts a cursor in place of the one that was there.
///
/// Of many files, those that have been read are put away into rows of their own, once: only the last one grows.
pub(crate) fn put(batch: &mut Batch, session: &str, cursor: &mut CursorRow) {
    let key = session.to_owned();
    while let Some(files) = too_many(cursor) {
        let count = files.len() as u64;
        batch.put::<Files>(&(key.clone(), cursor.file_rows), &FilesRow { files });
        cursor.file_rows += 1;
        cursor.put_away += count;
    }
    if cursor.put_away == 0 {
        batch.put::<Cursors>(&key, cursor);
        return;
    }
    let files = std::mem::take(&mut cursor.files);
    let row =
        CursorRow { files: files.iter().skip(cursor.files_put_away()).cloned().collect(), ..cursor.clone() };
    batch.put::<Cursors>(&key, &row);
    cursor.files = files;
}

/// The files that are to be put away next; none if a row can hold all that are left.
fn too_many(cursor: &CursorRow) -> Option<Vec<FileRow>> {
    let (_last, read) = cursor.files.get(cursor.files_put_away()..)?.split_last()?;
    let size = |file: &FileRow| file.encoded_len();
    if read.iter().map(size).sum::<usize>() <= LIMIT {
        return None;
    }
    let mut room = LIMIT;
    let fitting = read.iter().take_while(|file| {
        let fits = size(file) <= room;
        room = room.saturating_sub(size(file));
        fits
    });
    let count = fitting.count().max(1);
    Some(read.iter().take(count).cloned().collect())
}

/// Forgets which files were put away, and removes them: with the next cursor all are put anew.
pub(crate) fn clear_files(
    reader: &Reader,
    batch: &mut Batch,
    session: &str,
    cursor: &mut CursorRow,
) -> Result<(), StoreError> {
    let key = session.to_owned();
    for row in reader.scan_prefix::<Files, String>(&key, Order::Ascending) {
        batch.delete::<Files>(&row?.0);
    }
    (cursor.file_rows, cursor.put_away) = (0, 0);
    Ok(())
}

impl CursorRow {
    fn rows_put_away(&self) -> usize {
        usize::try_from(self.file_rows).unwrap_or(usize::MAX)
    }

    fn files_put_away(&self) -> usize {
        usize::try_from(self.put_away).unwrap_or(usize::MAX)
    }
}
