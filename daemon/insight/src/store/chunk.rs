//! A large value in several rows: the stored state of a session.

use engine::store::{Batch, Order, Reader, StoreError};

use super::hash::hash;
use super::tables::{Bytes, States};

/// The bytes of a chunk. Small enough that a leaf of the store, which is rewritten as a whole, stays small.
const CHUNK: usize = 6 * 1024;

/// The most bytes that a stored state may have, compressed; a session whose state is larger is read anew after
/// a restart when more of it comes.
const LIMIT: usize = 1024 * 1024;

/// Puts a value in place of what was there in `before` chunks; gives the number of chunks. A value that is
/// too large is not stored, which is 0 chunks.
///
/// `like` is what such a value looks like at first: what is the same in it costs nothing.
pub(crate) fn put(batch: &mut Batch, key: &str, value: &[u8], like: &[u8], before: u64) -> u64 {
    let mut packed = hash(like).to_le_bytes().to_vec();
    packed.extend(lz4_flex::block::compress_prepend_size_with_dict(value, like));
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

/// The value; none if it is not there as it was written, or was written by a program for which such values look
/// different at first.
pub(crate) fn get(
    reader: &Reader,
    key: &str,
    like: &[u8],
    chunks: u64,
) -> Result<Option<Vec<u8>>, StoreError> {
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
    let Some((same, packed)) = packed.split_first_chunk().filter(|_| chunks == found) else {
        return Ok(None);
    };
    if u64::from_le_bytes(*same) != hash(like) {
        return Ok(None);
    }
    let Some((size, packed)) = size_of(packed) else { return Ok(None) };
    Ok(lz4_flex::block::decompress_with_dict(packed, size, like).ok())
}

/// How large a packed value is, with a limit on it.
fn size_of(packed: &[u8]) -> Option<(usize, &[u8])> {
    let sized = lz4_flex::block::uncompressed_size(packed).ok();
    sized.filter(|(size, _)| *size <= 64 * LIMIT)
}

/// Undoes the compression of a page.
pub(super) fn unpack(packed: &[u8]) -> Option<Vec<u8>> {
    let (size, rest) = size_of(packed)?;
    lz4_flex::block::decompress(rest, size).ok()
}
