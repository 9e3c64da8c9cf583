//! Any bytes as a rollout, cut into pieces of any size.

#![no_main]

#[path = "../checks.rs"]
#[allow(dead_code)]
mod checks;

use libfuzzer_sys::fuzz_target;
use trace::session::Format;

fuzz_target!(|data: &[u8]| checks::file(Format::Rollout, data));
