//! Where a record stands.

use serde::{Deserialize, Serialize};

/// Where a record stands in the files of its session, so that evidence can be opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// Which file of the session: the segment's index for a spine, 0 for a rollout.
    pub file: u32,
    /// The line, from 1.
    pub line: u64,
    /// The offset of the line's first byte.
    pub offset: u64,
    /// The line's length in bytes, without its newline.
    pub len: u32,
}
