//! Starting programs, and telling how they ended.

use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;

use engine::process::{Cause, ExitStatus, Launch, OsText, ProcessError, Stdin};

use crate::lab::Lab;

fn spawn_failure(status: &ExitStatus) -> (i32, &str) {
    match status {
        ExitStatus::SpawnFailed { code, message, .. } => (*code, message),
        other => panic!("it was started: {other:?}"),
    }
}

#[tokio::test]
async fn a_program_that_succeeds_is_told_with_code_0() {
    let lab = Lab::new();
    let exit = lab.run(&Launch::new("true", "/")).await;
    assert_eq!((&exit.status, exit.cause), (&ExitStatus::Code(0), Cause::Ended));
    assert!(exit.success());
    assert!(exit.started_at <= exit.finished_at);
    assert!(exit.usage.max_rss_bytes > 0);
}

#[tokio::test]
async fn a_code_and_a_signal_are_told_as_they_were() {
    let lab = Lab::new();
    assert_eq!(lab.run(&lab.script("exit 7")).await.status, ExitStatus::Code(7));
    let lab = Lab::new();
    assert_eq!(lab.run(&lab.script("kill -USR1 $$")).await.status, ExitStatus::Signal(10));
}

#[tokio::test]
async fn both_streams_are_captured_byte_for_byte() {
    let lab = Lab::new();
    let exit = lab.run(&lab.script("printf 'a\\000b'; printf 'no newline' >&2")).await;
    assert_eq!(lab.captured("stdout"), "a\0b");
    assert_eq!(lab.captured("stderr"), "no newline");
    assert_eq!((exit.stdout.bytes, exit.stderr.bytes), (3, 10));
}

#[tokio::test]
async fn arguments_and_directories_need_not_be_utf8() {
    let lab = Lab::new();
    let odd = std::ffi::OsString::from_vec(b"odd-\xff".to_vec());
    let cwd = lab.root.path().join(&odd);
    std::fs::create_dir(&cwd).unwrap();
    let launch = Launch::new("/bin/sh", &*cwd).args([
        OsText::from("-c"),
        OsText::from("printf %s \"$1\"; pwd >&2"),
        OsText::from("sh"),
        OsText::from(odd),
    ]);
    assert!(lab.run(&launch).await.success());
    let dir = lab.path("attempt");
    assert_eq!(crate::lab::file(&dir, "stdout"), b"odd-\xff");
    assert!(crate::lab::file(&dir, "stderr").ends_with(b"odd-\xff\n"));
}

#[tokio::test]
async fn the_environment_is_exactly_the_given_one_and_the_mark() {
    let lab = Lab::new().env("WORD", "x y");
    lab.run(&Launch::new("env", "/")).await;
    let output = lab.captured("stdout");
    let mut names: Vec<_> = output.lines().filter_map(|line| line.split('=').next()).collect();
    names.sort_unstable();
    assert_eq!(names, ["PATH", "SPINDLE_ATTEMPT", "WORD"]);
    assert!(output.contains("WORD=x y\n"));
}

#[tokio::test]
async fn the_environment_never_touches_the_disk() {
    let lab = Lab::new().env("SECRET", "hush-hush-value");
    lab.run(&Launch::new("true", "/")).await;
    for file in std::fs::read_dir(lab.path("attempt")).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(15).any(|window| window == b"hush-hush-value"));
    }
}

#[tokio::test]
async fn standard_input_is_empty_or_a_file() {
    let lab = Lab::new();
    assert!(lab.run(&Launch::new("cat", "/")).await.success());
    assert_eq!(lab.captured("stdout"), "");

    let lab = Lab::new();
    std::fs::write(lab.path("prompt"), "hello").unwrap();
    let launch = Launch { stdin: Stdin::File(OsText::from(lab.path("prompt"))), ..Launch::new("cat", "/") };
    assert!(lab.run(&launch).await.success());
    assert_eq!(lab.captured("stdout"), "hello");
}

#[tokio::test]
async fn a_missing_input_file_is_named() {
    let lab = Lab::new();
    let launch = Launch { stdin: Stdin::File("/nowhere/prompt".into()), ..Launch::new("cat", "/") };
    let exit = lab.run(&launch).await;
    let (code, message) = spawn_failure(&exit.status);
    assert_eq!(code, 126);
    assert!(message.contains("/nowhere/prompt"), "{message}");
}

#[tokio::test]
async fn a_program_that_is_not_there_is_127() {
    for program in ["no-such-program-here", "/no/such/program", ""] {
        let lab = Lab::new();
        let exit = lab.run(&Launch::new(program, "/")).await;
        let (code, message) = spawn_failure(&exit.status);
        assert_eq!(code, 127, "{message}");
        assert!(message.contains(program), "{message}");
    }
}

#[tokio::test]
async fn a_file_without_run_permission_is_126() {
    let lab = Lab::new();
    std::fs::write(lab.path("data"), "x").unwrap();
    let exit = lab.run(&Launch::new(lab.path("data"), "/")).await;
    let (code, message) = spawn_failure(&exit.status);
    assert_eq!(code, 126, "{message}");
    assert!(message.contains("data"), "{message}");
}

#[tokio::test]
async fn a_missing_interpreter_is_not_mistaken_for_a_missing_program() {
    let lab = Lab::new();
    std::fs::write(lab.path("tool"), "#!/no/such/interpreter\n").unwrap();
    std::fs::set_permissions(lab.path("tool"), PermissionsExt::from_mode(0o755)).unwrap();
    let exit = lab.run(&Launch::new("./tool", lab.root.path())).await;
    let (code, message) = spawn_failure(&exit.status);
    assert_eq!(code, 126);
    assert!(message.contains("interpreter"), "{message}");
}

#[tokio::test]
async fn a_working_directory_that_vanished_is_named() {
    let lab = Lab::new();
    let exit = lab.run(&Launch::new("true", "/no/such/place")).await;
    let (code, message) = spawn_failure(&exit.status);
    assert_eq!(code, 126);
    assert!(message.contains("/no/such/place"), "{message}");
}

#[tokio::test]
async fn an_argument_of_ten_megabytes_is_refused_with_a_reason() {
    let lab = Lab::new();
    let exit = lab.run(&Launch::new("true", "/").args(["x".repeat(10_000_000)])).await;
    let ExitStatus::SpawnFailed { errno, code, .. } = exit.status else { panic!("it was started") };
    assert_eq!((errno, code), (nix::libc::E2BIG, 126));
}

#[tokio::test]
async fn an_argument_with_a_nul_is_told_as_a_failure_of_the_start() {
    let lab = Lab::new();
    let exit = lab.run(&Launch::new("true", "/").args(["a\0b"])).await;
    assert!(matches!(exit.status, ExitStatus::ShimFailed { .. }), "{:?}", exit.status);
}

#[tokio::test]
async fn a_child_starts_with_nothing_ignored_blocked_or_open() {
    let lab = Lab::new();
    let script = "grep -E '^Sig(Blk|Ign):' /proc/self/status; ls /proc/self/fd";
    assert!(lab.run(&lab.script(script)).await.success());
    // `ls` itself opens the directory as 3.
    let output = lab.captured("stdout");
    let (signals, files) = output.split_at(output.find("0\n1\n").unwrap());
    assert_eq!(files, "0\n1\n2\n3\n");
    // 32 and 33 belong to the C library, which lets nobody change them.
    let libc_own = 0b11 << 31;
    for line in signals.lines() {
        let mask = u64::from_str_radix(line.split('\t').nth(1).unwrap(), 16).unwrap();
        assert_eq!(mask & !libc_own, 0, "{line}");
    }
}

#[tokio::test]
async fn the_soft_limit_of_open_files_is_put_back_for_the_child() {
    let mut lab = Lab::new();
    let program = std::env::current_exe().unwrap();
    let program = program.parent().unwrap().parent().unwrap().join("examples/shim");
    let shim = engine::process::ShimCommand { program, args: Vec::new() };
    lab.supervisor = engine::process::Supervisor::new(shim, Some(321));
    assert!(lab.run(&lab.script("ulimit -Sn")).await.success());
    assert_eq!(lab.captured("stdout"), "321\n");
}

#[tokio::test]
async fn a_directory_is_never_used_twice() {
    let lab = Lab::new();
    lab.run(&Launch::new("true", "/")).await;
    let again = lab.supervisor.start(&lab.path("attempt"), &Launch::new("true", "/"), Vec::new()).await;
    assert!(matches!(again, Err(ProcessError::Exists { .. })));
}

#[tokio::test]
async fn paths_must_be_absolute() {
    let lab = Lab::new();
    let started = lab.supervisor.start(&lab.path("attempt"), &Launch::new("true", "."), Vec::new()).await;
    assert!(matches!(started, Err(ProcessError::Relative { .. })));
    assert!(!lab.path("attempt").exists());
}

#[tokio::test]
async fn a_child_that_closes_its_output_goes_on() {
    let lab = Lab::new();
    let exit = lab.run(&lab.script("echo before; exec >&- 2>&-; echo after > done; exit 3")).await;
    assert_eq!(exit.status, ExitStatus::Code(3));
    assert_eq!(lab.captured("stdout"), "before\n");
    assert_eq!(std::fs::read_to_string(lab.path("done")).unwrap(), "after\n");
}

#[tokio::test]
async fn many_run_at_once() {
    let lab = Lab::new();
    let mut running = Vec::new();
    for number in 0..50 {
        let dir = lab.path(&format!("attempt-{number}"));
        let launch = lab.script(&format!("exit {number}"));
        running.push(lab.supervisor.start(&dir, &launch, Vec::new()).await.unwrap());
    }
    for (number, process) in (0..).zip(&running) {
        assert_eq!(crate::lab::exit_of(process).await.status, ExitStatus::Code(number));
    }
}
