//! Processes, shims and logs, with real shims and real children.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod adopting;
mod dying;
mod lab;
mod launching;
mod limiting;
mod reading;
mod stopping;
