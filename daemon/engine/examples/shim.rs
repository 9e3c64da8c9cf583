//! The shim as a program of its own, for tests and measurements: `shim DIR`.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(dir) = std::env::args_os().nth(1) else {
        eprintln!("usage: shim DIR");
        return ExitCode::from(2);
    };
    engine::process::shim::main(Path::new(&dir))
}
