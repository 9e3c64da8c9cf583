//! What people and programs do wrong, by mistake or on purpose: each has an answer that says what happened, and none
//! disturbs the daemon.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod nest;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nest::{Nest, alive, outcome, reason, until, until_answered};
use spindle_client::v1::run_template::Workflow;
use spindle_client::v1::{
    AddScheduleRequest, AfterRun, BreakLeaseRequest, GetLeaseRequest, GetRunRequest, GetScheduleRequest,
    Leftovers, LogStream, OutputPolicy, Run, RunState, WaitRunRequest,
};
use tonic::Code;

/// What nobody could mean as an id.
const NO_IDS: [&str; 9] = [
    "",
    "..",
    "../../etc/passwd",
    "a/b",
    "/",
    "\u{1b}[31m",
    "0\n0",
    "xyz",
    "0123456789abcdef0123456789abcdef0",
];

/// A path or an argument that is not UTF-8.
const RAW: &[u8] = b"gr\xfc\xdfe-\xff";

async fn look_up(nest: &Nest, run: &str) -> Result<Run, tonic::Status> {
    let request = GetRunRequest { run: run.to_owned() };
    Ok(nest.client().await.runs().get_run(request).await?.into_inner().run.unwrap())
}

fn failure(run: &Run) -> &str {
    &run.failure.as_ref().unwrap().message
}

#[tokio::test]
async fn ids_that_are_none_are_refused_before_they_touch_anything() {
    let nest = Nest::new().await;
    for id in NO_IDS {
        let refused = look_up(&nest, id).await.unwrap_err();
        assert_eq!(reason(&refused), (Code::InvalidArgument, "INVALID_ID".to_owned()), "{id:?}");
        assert!(!refused.message().contains(char::is_control), "{refused:?}");
        let refused = nest.try_run(nest.sh("true").after(id, &[])).await.unwrap_err();
        assert_eq!(reason(&refused).1, "INVALID_ID", "{id:?}");
    }
    let unknown = look_up(&nest, "0123abcd").await.unwrap_err();
    assert_eq!(reason(&unknown), (Code::NotFound, "RUN_NOT_FOUND".to_owned()));
    assert!(unknown.message().contains("0123abcd"), "{unknown:?}");
}

#[tokio::test]
async fn a_prefix_that_fits_two_runs_names_both() {
    let nest = Nest::new().await;
    let (one, other) = (nest.finish(nest.sh("true")).await.id, nest.finish(nest.sh("true")).await.id);
    let alike = one.chars().zip(other.chars()).take_while(|(a, b)| a == b).count();
    let ambiguous = look_up(&nest, &one[..alike]).await.unwrap_err();
    assert_eq!(reason(&ambiguous), (Code::InvalidArgument, "AMBIGUOUS_ID".to_owned()));
    assert!(ambiguous.message().contains(&one) && ambiguous.message().contains(&other), "{ambiguous:?}");
    assert_eq!(look_up(&nest, &one[..=alike]).await.unwrap().id, one);
}

#[tokio::test]
async fn unknown_schedules_and_leases_are_not_found_whatever_they_are_called() {
    let nest = Nest::new().await;
    let client = nest.client().await;
    for name in NO_IDS {
        let request = GetScheduleRequest { schedule: name.to_owned() };
        let refused = client.schedules().get_schedule(request).await.unwrap_err();
        assert!(matches!(refused.code(), Code::NotFound | Code::InvalidArgument), "{name:?}: {refused:?}");
        let refused = client.leases().get_lease(GetLeaseRequest { key: name.to_owned() }).await.unwrap_err();
        assert_eq!(reason(&refused), (Code::NotFound, "LEASE_NOT_FOUND".to_owned()), "{name:?}");
        let request = BreakLeaseRequest { key: name.to_owned(), force: true };
        assert_eq!(
            client.leases().break_lease(request).await.unwrap_err().code(),
            Code::NotFound,
            "{name:?}"
        );
    }
    for name in ["", "..", "a/b", "two\nlines"] {
        let request = AddScheduleRequest {
            name: name.to_owned(),
            template: Some(nest.sh("true").into()),
            ..AddScheduleRequest::default()
        };
        assert_eq!(client.schedules().add_schedule(request).await.unwrap_err().code(), Code::InvalidArgument);
    }
}

#[tokio::test]
async fn a_start_that_makes_no_sense_is_refused_with_the_reason() {
    let nest = Nest::new().await;
    let mut relative = nest.sh("true");
    relative.exec.cwd = b"work".to_vec();
    let mut empty = nest.sh("true");
    empty.exec.argv.clear();
    let mut signal = nest.sh("true");
    signal.exec.stop_signal = Some(99);
    let mut after = nest.sh("true");
    let run = nest.finish(nest.sh("true")).await.id;
    after.options.after.push(AfterRun { run, outcomes: vec![RunState::Running.into()] });
    let cases = [
        (relative, "absolute"),
        (empty, "no command"),
        (signal, "99"),
        (after, "outcome"),
        (nest.argv(["tr\0ue"]), "NUL"),
        (nest.sh("true").timeout(Duration::ZERO), "timeout"),
        (nest.sh("true").lease("gpu\n0"), "control"),
        (nest.sh("true").named("two\nlines"), "control"),
        (nest.sh("true").env("A=B", "x"), "A=B"),
    ];
    for (work, word) in cases {
        let refused = nest.try_run(work).await.unwrap_err();
        assert_eq!(reason(&refused), (Code::InvalidArgument, "INVALID_SPEC".to_owned()), "{refused:?}");
        assert!(refused.message().contains(word), "{word} is not in {refused:?}");
    }
}

#[tokio::test]
async fn an_argument_of_ten_megabytes_is_refused_and_the_daemon_lives() {
    let nest = Nest::new().await;
    let refused = nest.try_run(nest.argv(["echo", &"x".repeat(10 << 20)])).await.unwrap_err();
    assert!(matches!(refused.code(), Code::OutOfRange | Code::ResourceExhausted), "{refused:?}");
    assert_eq!(outcome(&nest.finish(nest.sh("true")).await), "succeeded 0");
}

/// Linux takes 128 KiB in one argument.
#[tokio::test]
async fn an_argument_that_the_system_does_not_take_is_a_failure_to_start() {
    let nest = Nest::new().await;
    for size in [200 << 10, 3 << 20] {
        let run = nest.finish(nest.argv(["echo", &"x".repeat(size)])).await;
        assert_eq!(outcome(&run), "failed spawn 126");
        assert!(failure(&run).contains("Argument list too long"), "{run:?}");
        assert!(failure(&run).len() < 1000, "the message has {} bytes", failure(&run).len());
    }
}

#[tokio::test]
async fn an_environment_that_the_system_does_not_take_is_a_failure_to_start() {
    let nest = Nest::new().await;
    let run = nest.finish(nest.sh("true").env("HUGE", "x".repeat(200 << 10))).await;
    assert_eq!(run.state(), RunState::Failed);
    assert!(failure(&run).contains("Argument list too long"), "{run:?}");
    let log = nest.output(&run.id, LogStream::Stdout).await;
    assert_eq!(log, b"");
}

#[tokio::test]
async fn bytes_that_are_not_utf_8_pass_through_unchanged() {
    let nest = Nest::new().await;
    let raw = OsStr::from_bytes(RAW);
    let directory = nest.work_dir().join(raw);
    fs::create_dir(&directory).unwrap();
    let program = directory.join(raw);
    fs::write(
        &program,
        "#!/bin/sh\nprintf '%s|%s|' \"$1\" \"$SHOWN\"; pwd | tr -d '\\n'; printf '\\377' >&2\n",
    )
    .unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();

    let mut work = nest.argv([program.as_os_str(), raw]).env("SHOWN", raw);
    work.exec.cwd = directory.as_os_str().as_bytes().to_vec();
    let run = nest.finish(work.clone()).await;
    assert_eq!(outcome(&run), "succeeded 0");
    let expected = [RAW, b"|", RAW, b"|", directory.as_os_str().as_bytes()].concat();
    assert_eq!(nest.output(&run.id, LogStream::Stdout).await, expected);
    assert_eq!(nest.output(&run.id, LogStream::Stderr).await, b"\xff");
    let Some(Workflow::Exec(shown)) = nest.detail(&run.id).await.template.unwrap().workflow else {
        panic!("it is no command any more")
    };
    assert_eq!((shown.argv, shown.cwd), (work.exec.argv, work.exec.cwd));
}

#[tokio::test]
async fn a_working_directory_that_has_vanished_is_named() {
    let nest = Nest::new().await;
    let mut work = nest.sh("true");
    work.exec.cwd = b"/no/such/place".to_vec();
    let run = nest.finish(work).await;
    assert_eq!(outcome(&run), "failed spawn 126");
    assert!(failure(&run).contains("/no/such/place"), "{run:?}");
}

#[tokio::test]
async fn a_program_that_is_not_there_is_127_and_one_that_cannot_be_run_126() {
    let nest = Nest::new().await;
    let file = |name: &str, text: &str, mode| {
        let path = nest.work_dir().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    };
    let cases = [
        (PathBuf::from("no-such-program"), "failed spawn 127", "no-such-program"),
        (PathBuf::from("/no/such/program"), "failed spawn 127", "/no/such/program"),
        (file("closed", "#!/bin/sh\n", 0o644), "failed spawn 126", "Permission denied"),
        (file("lost", "#!/no/such/interpreter\n", 0o755), "failed spawn 126", "interpreter"),
        (nest.work_dir(), "failed spawn 126", "Permission denied"),
    ];
    for (program, expected, word) in cases {
        let run = nest.finish(nest.argv([&program])).await;
        assert_eq!(outcome(&run), expected, "{}", program.display());
        assert!(failure(&run).contains(word), "{run:?}");
    }
}

#[tokio::test]
async fn a_child_that_ignores_the_first_signal_is_killed_after_the_grace() {
    let nest = Nest::new().await;
    let deaf =
        nest.sh("trap '' TERM; echo up >up; while :; do sleep 0.05; done").grace(Duration::from_millis(200));
    let run = nest.run(deaf).await.id;
    nest.appears("up").await;
    nest.cancel(&run).await.unwrap();
    assert_eq!(outcome(&nest.wait(&run).await), "canceled canceled signal 9");
    nest.only_the_daemon_is_left().await;
}

#[tokio::test]
async fn what_a_child_leaves_behind_is_killed_unless_something_else_was_asked_for() {
    let nest = Nest::new().await;
    let script = "(setsid sh -c 'trap \"\" TERM; echo $$ >left; while :; do sleep 0.05; done' &) ; \
                  while [ ! -s left ]; do sleep 0.01; done; echo done";
    let run = nest.finish(nest.sh(script).grace(Duration::from_millis(100))).await;
    assert_eq!(outcome(&run), "succeeded 0");
    let pid = nest.appears("left").await.trim().parse().unwrap();
    assert!(!alive(pid));
}

#[tokio::test]
async fn a_run_can_wait_for_what_its_child_leaves_behind() {
    let nest = Nest::new().await;
    let script = "(while [ ! -e go ]; do sleep 0.01; done; echo late) & echo up >up; echo early";
    let mut work = nest.sh(script);
    work.exec.leftovers = Leftovers::Wait.into();
    let run = nest.run(work).await.id;
    nest.appears("up").await;
    assert_eq!(nest.look(&run).await.state(), RunState::Running);
    fs::write(nest.work_dir().join("go"), "").unwrap();
    assert_eq!(outcome(&nest.wait(&run).await), "succeeded 0");
    assert_eq!(nest.output(&run, LogStream::Stdout).await, b"early\nlate\n");
}

#[tokio::test]
async fn a_run_can_leave_alone_what_its_child_leaves_behind() {
    let nest = Nest::new().await;
    let mut work = nest.sh("(echo $$ >/dev/null; while [ ! -e go ]; do sleep 0.01; done) & echo $! >left");
    work.exec.leftovers = Leftovers::Keep.into();
    let run = nest.finish(work).await;
    assert_eq!(outcome(&run), "succeeded 0");
    let pid = nest.appears("left").await.trim().parse().unwrap();
    assert!(alive(pid));
    fs::write(nest.work_dir().join("go"), "").unwrap();
    until("what was left has ended", || (!alive(pid)).then_some(())).await;
}

#[tokio::test]
async fn a_child_that_closes_its_output_is_still_waited_for() {
    let nest = Nest::new().await;
    let run = nest
        .run(nest.sh("echo last; exec >&- 2>&-; while [ ! -e go ]; do sleep 0.01; done; exit 3"))
        .await
        .id;
    until_answered("its output has come", async || {
        (nest.output(&run, LogStream::Stdout).await == b"last\n").then_some(())
    })
    .await;
    assert_eq!(nest.look(&run).await.state(), RunState::Running);
    fs::write(nest.work_dir().join("go"), "").unwrap();
    assert_eq!(outcome(&nest.wait(&run).await), "failed exit 3");
}

#[tokio::test]
async fn output_without_a_newline_is_kept_as_it_is() {
    let nest = Nest::new().await;
    let run = nest.finish(nest.sh("printf 'no end'; printf '\\0\\r\\n\\t' >&2")).await.id;
    assert_eq!(nest.output(&run, LogStream::Stdout).await, b"no end");
    assert_eq!(nest.output(&run, LogStream::Stderr).await, b"\0\r\n\t");
}

#[tokio::test]
async fn a_limit_of_output_stops_a_child_at_exactly_that_byte() {
    let nest = Nest::new().await;
    let mut work = nest.sh("seq 1 100000");
    work.exec.max_output = Some(5000);
    let run = nest.finish(work).await;
    assert_eq!(run.state(), RunState::Failed);
    assert_eq!(run.failure.as_ref().unwrap().kind, "output-limit");
    assert_eq!(nest.output(&run.id, LogStream::Stdout).await, &numbers(100_000)[..5000]);

    // The limit itself is allowed.
    let mut work = nest.sh("printf 12345");
    work.exec.max_output = Some(5);
    let run = nest.finish(work).await;
    assert_eq!(outcome(&run), "succeeded 0");
    assert_eq!(nest.output(&run.id, LogStream::Stdout).await, b"12345");
}

#[tokio::test]
async fn a_limit_of_output_can_keep_the_newest_bytes_instead() {
    let nest = Nest::new().await;
    let mut work = nest.sh("seq 1 100000");
    work.exec.max_output = Some(5000);
    work.exec.output_policy = OutputPolicy::DropOldest.into();
    let run = nest.finish(work).await;
    assert_eq!(outcome(&run), "succeeded 0");
    let all = numbers(100_000);
    assert_eq!(nest.output(&run.id, LogStream::Stdout).await, &all[all.len() - 5000..]);
    assert_eq!(nest.detail(&run.id).await.steps[0].attempts[0].stdout_bytes, all.len() as u64);
}

#[tokio::test]
async fn limits_of_time_end_a_child_and_say_which_it_was() {
    let nest = Nest::new().await;
    let wall = nest
        .run(nest.sh("while :; do echo busy; sleep 0.05; done").timeout(Duration::from_millis(400)))
        .await;
    let mut idle = nest.sh("echo once; sleep 1000");
    idle.exec.idle_timeout = Some(Duration::from_millis(400).try_into().unwrap());
    let idle = nest.run(idle).await;
    assert_eq!(outcome(&nest.wait(&wall.id).await), "failed timeout signal 15");
    assert_eq!(outcome(&nest.wait(&idle.id).await), "failed idle-timeout signal 15");
    assert_eq!(nest.output(&idle.id, LogStream::Stdout).await, b"once\n");
}

/// `seq 1 last`.
fn numbers(last: u32) -> Vec<u8> {
    let lines: Vec<String> = (1..=last).map(|number| format!("{number}\n")).collect();
    lines.concat().into_bytes()
}

/// A small disk of its own in some place, until it is dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Only root can mount.
    fn mount(at: &Path, megabytes: u32) -> Self {
        fs::create_dir_all(at).unwrap();
        let options = format!("size={megabytes}m,mode=700");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(at).status().unwrap();
        assert!(mounted.success(), "cannot mount a small disk at {}", at.display());
        Self(at.to_owned())
    }

    /// Leaves no room.
    fn fill(&self) {
        let mut ballast = fs::File::create(self.0.join("ballast")).unwrap();
        let block = vec![1; 4096];
        while std::io::Write::write_all(&mut ballast, &block).is_ok() {}
    }

    fn make_room(&self) {
        fs::remove_file(self.0.join("ballast")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the daemon may still be there when a test fails.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

fn only_root_can_mount() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("skipped: only root can mount a small disk");
    }
    !root
}

#[tokio::test]
async fn a_full_disk_under_the_store_loses_nothing_that_was_acknowledged() {
    if only_root_can_mount() {
        return;
    }
    let mut nest = Nest::empty();
    let disk = SmallDisk::mount(&nest.state_dir().join("store"), 24);
    nest.configure("[store]\nfree_space_floor = \"1MiB\"\n");
    nest.start().await;
    let before = nest.run(nest.sh("while [ ! -e go ]; do sleep 0.01; done; echo end >end")).await.id;
    until_answered("it runs", async || (nest.look(&before).await.state() == RunState::Running).then_some(()))
        .await;

    disk.fill();
    let mut acknowledged = vec![before];
    // What room the store has still for itself may take a few.
    let refused = until_answered("a start is refused", async || match nest.try_run(nest.sh("true")).await {
        Ok(run) => {
            acknowledged.push(run.id);
            None
        }
        Err(refused) => Some(refused),
    })
    .await;
    assert_eq!(reason(&refused), (Code::Unavailable, "STORE_FAILED".to_owned()), "{refused:?}");
    assert!(refused.message().contains("No space left"), "{refused:?}");
    fs::write(nest.work_dir().join("go"), "").unwrap();
    nest.appears("end").await;
    let request = WaitRunRequest { run: acknowledged[0].clone() };
    let told = nest.client().await.runs().wait_run(request).await.unwrap_err();
    assert_eq!(reason(&told).1, "STORE_FAILED", "who waits is told at once: {told:?}");

    disk.make_room();
    nest.kill_and_start().await;
    for run in &acknowledged {
        assert_eq!(outcome(&nest.wait(run).await), "succeeded 0");
    }
    assert_eq!(outcome(&nest.finish(nest.sh("true")).await), "succeeded 0");
    assert!(nest.terminate().await.success());
    drop(nest);
    drop(disk);
}

#[tokio::test]
async fn a_daemon_that_cannot_write_its_store_ends_when_it_is_told_to() {
    if only_root_can_mount() {
        return;
    }
    let mut nest = Nest::empty();
    let disk = SmallDisk::mount(&nest.state_dir().join("store"), 24);
    nest.configure("[store]\nfree_space_floor = \"1MiB\"\n");
    nest.start().await;
    disk.fill();
    until_answered("a start is refused", async || nest.try_run(nest.sh("true")).await.err()).await;
    disk.make_room();
    assert!(nest.terminate().await.success(), "it does not start anew instead");
    nest.start().await;
    assert_eq!(outcome(&nest.finish(nest.sh("true")).await), "succeeded 0");
    assert!(nest.terminate().await.success());
    drop(nest);
    drop(disk);
}

#[tokio::test]
async fn a_full_disk_under_the_logs_stops_no_child_and_loses_no_outcome() {
    if only_root_can_mount() {
        return;
    }
    let mut nest = Nest::empty();
    let disk = SmallDisk::mount(&nest.state_dir().join("runs"), 2);
    nest.start().await;
    let run = nest.finish(nest.sh("head -c 8000000 /dev/zero; echo end >end; exit 4")).await;
    assert_eq!(outcome(&run), "failed exit 4");
    nest.appears("end").await;
    let kept = nest.output(&run.id, LogStream::Stdout).await;
    assert!(!kept.is_empty() && kept.len() < 2 << 20, "{} bytes are kept", kept.len());

    let refused = nest.finish(nest.sh("true")).await;
    assert_eq!(refused.state(), RunState::Failed, "{refused:?}");
    assert!(failure(&refused).contains("No space left"), "{refused:?}");

    let request = spindle_client::v1::DeleteRunRequest { run: run.id };
    nest.client().await.runs().delete_run(request).await.unwrap();
    assert_eq!(outcome(&nest.finish(nest.sh("true")).await), "succeeded 0");
    assert!(nest.terminate().await.success());
    drop(nest);
    drop(disk);
}
