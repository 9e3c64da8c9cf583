//! Any bytes as one record, of any format.

#![no_main]

#[path = "../checks.rs"]
#[allow(dead_code)]
mod checks;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|line: &[u8]| checks::record(line));
