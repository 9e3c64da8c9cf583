//! A large value in several rows: the stored state of a session.

use engine::store::{Batch, Order, Reader, StoreError};

use super::tables::{Bytes, States};

/// The bytes of a chunk. Small enough that a leaf of the store, which is rewritten as a whole, stays small.
const CHUNK: usize = 6 * 1024;

/// The most bytes that a stored state may have, compressed; a session whose state is larger is read anew after
/// a restart when more of it comes.
const LIMIT: usize = 1024 * 1024;

/// Puts a value in place of what was there in `before` chunks; gives the number of chunks. A value that is
/// too large is not stored, which is 0 chunks.
pub(crate) fn put(batch: &mut Batch, key: &str, value: &[u8], before: u64) -> u64 {
    let packed = lz4_flex::block::compress_prepend_size(value);
    let mut chunks = 0;
    if packed.len() <= LIMIT {
        for part in packed.chunks(CHUNK) {
            batch.put::<States>(&(key.to_owned(), chunks), &Bytes { bytes: part.to_vec() });
            chunks += 1;
        }
    }
    for old in chunks..before {
        batch.delete::<States>(&(key.to_owned(), old));
    }
    chunks
}

/// Removes a value of so many chunks.
pub(crate) fn delete(batch: &mut Batch, key: &str, chunks: u64) {
    for chunk in 0..chunks {
        batch.delete::<States>(&(key.to_owned(), chunk));
    }
}

/// The value; none if it is not there as it was written.
pub(crate) fn get(reader: &Reader, key: &str, chunks: u64) -> Result<Option<Vec<u8>>, StoreError> {
    let mut packed = Vec::new();
    let mut found = 0;
    for row in reader.scan_prefix::<States, String>(&key.to_owned(), Order::Ascending) {
        let ((_, number), part) = row?;
        if number != found {
            return Ok(None);
        }
        packed.extend_from_slice(&part.bytes);
        found += 1;
    }
    Ok(if chunks == 0 || found != chunks { None } else { unpack(&packed) })
}

/// Undoes the compression, with a limit on what comes out.
pub(super) fn unpack(packed: &[u8]) -> Option<Vec<u8>> {
    let (size, rest) = lz4_flex::block::uncompressed_size(packed).ok()?;
    if size > 64 * LIMIT {
        return None;
    }
    lz4_flex::block::decompress(rest, size).ok()
}
