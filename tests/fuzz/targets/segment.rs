//! Any bytes as a segment of a spine, cut into pieces of any size.

#![no_main]

#[path = "../checks.rs"]
#[allow(dead_code)]
mod checks;

use libfuzzer_sys::fuzz_target;
use trace::session::Format;

fuzz_target!(|data: &[u8]| checks::file(Format::Spine, data));
