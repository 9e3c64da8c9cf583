//! The shim by itself, for the tests of the loop: `loop-shim DIR`.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::args_os().nth(1) {
        Some(dir) => engine::process::shim::main(Path::new(&dir)),
        None => ExitCode::from(2),
    }
}
