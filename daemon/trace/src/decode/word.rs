//! Eight bytes at a time: what is searched for in a line is mostly so near that a search with a long stride would cost
//! more to begin than it saves.

/// Marks with the highest bit of a byte where in eight bytes this one stands. Only the lowest mark can be relied on.
#[inline]
pub(super) fn marks(window: [u8; 8], byte: u8) -> u64 {
    let differing = u64::from_le_bytes(window) ^ repeated(byte);
    differing.wrapping_sub(repeated(0x01)) & !differing & repeated(0x80)
}

/// Which byte the lowest mark is at.
#[inline]
pub(super) fn first_marked(marks: u64) -> Option<usize> {
    (marks != 0).then(|| marks.trailing_zeros() as usize / 8)
}

#[inline]
const fn repeated(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}
