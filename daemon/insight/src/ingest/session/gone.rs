//! Sessions whose files are gone.

use engine::store::{Batch, Reader, StoreError};
use jiff::Timestamp;
use trace::SessionId;

use super::Live;
use crate::store::chunk;
use crate::store::page::{self, Kind};
use crate::store::tables::{ByTime, Cursors, Sessions};

impl Live {
    /// Notes that the files are gone, and that all else stays. None if it is known already.
    pub(crate) fn note_gone(
        reader: &Reader,
        id: &SessionId,
        now: Timestamp,
    ) -> Result<Option<Batch>, StoreError> {
        let key = id.as_str().to_owned();
        let Some(mut cursor) = reader.get::<Cursors>(&key)?.filter(|cursor| cursor.gone_at == 0) else {
            return Ok(None);
        };
        let mut batch = Batch::new();
        cursor.gone_at = now.as_microsecond().max(1);
        if let Some(mut row) = reader.get::<Sessions>(&key)? {
            row.gone_at = cursor.gone_at;
            batch.put::<Sessions>(&key, &row);
        }
        batch.put::<Cursors>(&key, &cursor);
        Ok(Some(batch))
    }

    /// Removes all that was derived of a session.
    pub(crate) fn forget(reader: &Reader, id: &SessionId) -> Result<Option<Batch>, StoreError> {
        let key = id.as_str().to_owned();
        let Some(cursor) = reader.get::<Cursors>(&key)? else { return Ok(None) };
        let mut batch = Batch::new();
        for kind in Kind::ALL {
            page::clear(reader, &mut batch, id, kind)?;
        }
        chunk::delete(&mut batch, &key, cursor.state_chunks);
        if let Some(place) = cursor.indexed_at {
            batch.delete::<ByTime>(&(place, key.clone()));
        }
        batch.delete::<Sessions>(&key);
        batch.delete::<Cursors>(&key);
        Ok(Some(batch))
    }
}
