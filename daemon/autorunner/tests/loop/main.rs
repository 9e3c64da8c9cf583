//! The loop as a run of a real engine, with real shims, a real keeper and real git. Codex is a script that prints
//! what the real one prints; the tests in `real_codex` use the real one.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod crashes;
mod endings;
mod keeping;
mod real_codex;
mod scene;
mod working;
