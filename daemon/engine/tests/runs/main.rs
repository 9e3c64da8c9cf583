//! Runs, as a client and as a workflow see them: real stores, real shims, and engines that die.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod after;
mod approvals;
mod background;
mod ending;
mod events;
mod lab;
mod leases;
mod limits;
mod many;
mod random;
mod replay;
mod requests;
mod retries;
mod schedules;
mod slots;
mod unreadable;
mod waits;
