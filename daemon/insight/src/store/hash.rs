//! A hash that is the same in every version of the program.

/// FNV-1a over bytes. For telling apart what differs by chance; nobody is to be kept from making a collision.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    go_on(START, bytes)
}

/// The hash of nothing.
pub(crate) const START: u64 = 0xcbf2_9ce4_8422_2325;

/// Goes on with more bytes.
pub(crate) fn go_on(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}
