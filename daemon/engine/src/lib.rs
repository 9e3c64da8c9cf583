//! The engine: durable, supervised runs.

pub mod clock;
pub mod logs;
pub mod process;
pub mod schedule;
pub mod store;
