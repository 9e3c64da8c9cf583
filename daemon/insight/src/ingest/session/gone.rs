//! Sessions whose files are gone, or lie elsewhere now.

use std::os::unix::ffi::OsStrExt as _;

use engine::store::{Batch, Reader, StoreError};
use jiff::Timestamp;
use trace::SessionId;
use trace::source::SessionSource;

use super::Live;
use crate::store::page::{self, Kind};
use crate::store::tables::{ByTime, CursorRow, Cursors, Sessions};
use crate::store::{chunk, cursor};

impl Live {
    /// Notes that the files are gone, and that all else stays. None if it is known already.
    pub(crate) fn note_gone(
        reader: &Reader,
        id: &SessionId,
        now: Timestamp,
    ) -> Result<Option<Batch>, StoreError> {
        let key = id.as_str().to_owned();
        let Some(mut cursor) = cursor::get(reader, &key)?.filter(|cursor| cursor.gone_at == 0) else {
            return Ok(None);
        };
        let mut batch = Batch::new();
        cursor.gone_at = now.as_microsecond().max(1);
        if let Some(mut row) = reader.get::<Sessions>(&key)? {
            row.gone_at = cursor.gone_at;
            batch.put::<Sessions>(&key, &row);
        }
        cursor::put(&mut batch, &key, &mut cursor);
        Ok(Some(batch))
    }

    /// Notes where the files of a session lie now that were moved, or came back.
    pub(super) fn note_moved(
        reader: &Reader,
        mut cursor: CursorRow,
        source: &SessionSource,
    ) -> Result<Batch, StoreError> {
        let key = source.id.as_str().to_owned();
        for file in &source.files {
            if let Some(row) = cursor.files.iter_mut().find(|row| row.index == file.index) {
                row.path = file.path.as_os_str().as_bytes().to_vec();
            }
        }
        cursor.gone_at = 0;
        let mut batch = Batch::new();
        if let Some(mut row) = reader.get::<Sessions>(&key)? {
            row.gone_at = 0;
            row.path = cursor.files.first().map(|file| file.path.clone()).unwrap_or_default();
            batch.put::<Sessions>(&key, &row);
        }
        cursor::clear_files(reader, &mut batch, &key, &mut cursor)?;
        cursor::put(&mut batch, &key, &mut cursor);
        Ok(batch)
    }

    /// Removes all that was derived of a session.
    pub(crate) fn forget(reader: &Reader, id: &SessionId) -> Result<Option<Batch>, StoreError> {
        let key = id.as_str().to_owned();
        let Some(mut cursor) = cursor::get(reader, &key)? else { return Ok(None) };
        let mut batch = Batch::new();
        for kind in Kind::ALL {
            page::clear(reader, &mut batch, id, kind)?;
        }
        chunk::delete(&mut batch, &key, cursor.state_chunks);
        if let Some(place) = cursor.indexed_at {
            batch.delete::<ByTime>(&(place, key.clone()));
        }
        batch.delete::<Sessions>(&key);
        cursor::clear_files(reader, &mut batch, &key, &mut cursor)?;
        batch.delete::<Cursors>(&key);
        Ok(Some(batch))
    }
}
