//! Reading what a process writes, while it writes or afterwards, by any number of readers.

pub mod index;
