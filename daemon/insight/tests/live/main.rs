//! The live pipeline through a real store: what is written becomes rows and signals, however it is cut, and
//! whatever dies in between.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod chunks;
mod exported;
mod following;
mod found;
mod hard;
mod kills;
mod lab;
mod owners;
mod replaced;
mod restart;
mod single;
mod spine;
mod triggers;
