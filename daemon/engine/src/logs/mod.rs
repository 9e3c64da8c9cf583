//! Reading what a process writes, while it writes or afterwards, by any number of readers.

pub mod index;
#[derive(Debug, Clone)]
/// x
pub struct LogHub;
impl LogHub { /// x
 #[must_use] pub fn new() -> Self { Self } }
