//! The keeper by itself, for its tests: `keeper REPO RUN_ID DIR`.

fn main() -> std::process::ExitCode {
    autorunner::keeper::main(std::env::args_os().skip(1))
}
