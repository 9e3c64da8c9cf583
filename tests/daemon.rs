//! The daemon as those who keep it running meet it: one per state directory, stopped, killed, replaced and upgraded
//! while runs go on.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod nest;

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use nest::{Nest, PATIENCE, alive, outcome, reason, until, until_answered};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::process::Uid;
use spindle_client::v1::daemon_service_client::DaemonServiceClient;
use spindle_client::v1::run_service_client::RunServiceClient;
use spindle_client::v1::{
    GetInfoRequest, ListRunsRequest, LogStream, PauseRequest, ReadLogRequest, ReloadRequest, ResumeRequest,
    RunState, StartRunRequest, StopRequest, WatchEventsRequest,
};
use spindle_client::{EventWatch, LogReader, PROTOCOL, PROTOCOL_HEADER};
use tonic::transport::Endpoint;
use tonic::{Code, Request};

/// The daemon ends within two seconds; the rest is for a machine that does other things too.
const END_WITHIN: Duration = Duration::from_secs(4);

/// A child that goes on until the test says so.
const UNTIL_TOLD: &str = "echo up >up; while [ ! -e go ]; do sleep 0.02; done; echo end";

async fn let_go(nest: &Nest, run: &str) {
    fs::write(nest.work_dir().join("go"), "").unwrap();
    assert_eq!(outcome(&nest.wait(run).await), "succeeded 0");
}

#[tokio::test]
async fn a_second_daemon_refuses_and_names_the_first() {
    let nest = Nest::new().await;
    let second = nest.spindled().output().unwrap();
    assert_eq!(second.status.code(), Some(5), "{second:?}");
    let message = String::from_utf8(second.stderr).unwrap();
    assert!(message.contains(&nest.pid().to_string()), "{message}");
    assert_eq!(outcome(&nest.finish(nest.sh("true")).await), "succeeded 0");
}

#[tokio::test]
async fn a_dead_daemons_socket_is_replaced() {
    let mut nest = Nest::new().await;
    nest.kill();
    let socket = nest.paths().socket;
    assert!(fs::symlink_metadata(&socket).unwrap().file_type().is_socket());
    nest.start().await;
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_socket_on_which_somebody_answers_is_left_alone() {
    let nest = Nest::empty();
    let socket = nest.paths().socket;
    fs::DirBuilder::new().mode(0o700).create(socket.parent().unwrap()).unwrap();
    let _other = UnixListener::bind(&socket).unwrap();
    let refused = nest.spindled().output().unwrap();
    assert_eq!(refused.status.code(), Some(5), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("spindled.sock"), "{refused:?}");
    assert!(socket.exists());
}

#[tokio::test]
async fn the_first_sigterm_leaves_children_alone_and_ends_the_daemon_soon() {
    let mut nest = Nest::new().await;
    let run = nest.run(nest.sh(UNTIL_TOLD)).await.id;
    nest.appears("up").await;
    let child = nest.detail(&run).await.steps[0].attempts[0].pid.unwrap();

    let asked = Instant::now();
    assert!(nest.terminate().await.success());
    assert!(asked.elapsed() < END_WITHIN, "it took {:?}", asked.elapsed());
    assert!(alive(child));
    assert!(!nest.paths().socket.exists());

    nest.start().await;
    assert_eq!(nest.look(&run).await.state(), RunState::Running);
    let_go(&nest, &run).await;
    assert_eq!(nest.output(&run, LogStream::Stdout).await, b"end\n");
}

#[tokio::test]
async fn the_second_signal_to_end_stops_all_runs_first() {
    let mut nest = Nest::new().await;
    let script = "trap 'echo told >told; exit 0' TERM; echo up >up; while :; do sleep 0.02; done";
    let run = nest.run(nest.sh(script)).await.id;
    nest.appears("up").await;
    // Two of the same kind that come at once would be one.
    nest.signal(Signal::SIGTERM);
    nest.signal(Signal::SIGINT);
    assert!(nest.ended().await.success());
    nest.appears("told").await;
    assert!(nest.leftovers().is_empty());
    nest.start().await;
    assert_eq!(nest.look(&run).await.state(), RunState::Canceled);
}

#[tokio::test]
async fn a_stop_by_call_can_stop_all_runs_too() {
    let mut nest = Nest::new().await;
    let run = nest.run(nest.sh("echo up >up; exec sleep 1000")).await.id;
    nest.appears("up").await;
    nest.client().await.daemon().stop(StopRequest { stop_runs: true }).await.unwrap();
    assert!(nest.ended().await.success());
    assert!(nest.leftovers().is_empty());
    nest.start().await;
    assert_eq!(nest.look(&run).await.state(), RunState::Canceled);
}

#[tokio::test]
async fn a_reload_takes_what_can_change_and_tells_what_cannot() {
    let nest = Nest::configured("[runs]\nslots = 3\n").await;
    let client = nest.client().await;
    assert_eq!(client.info().await.unwrap().slots, 3);

    nest.configure("[runs]\nslots = 5\n");
    nest.signal(Signal::SIGHUP);
    until_answered("the new setting is in force", async || {
        (client.info().await.unwrap().slots == 5).then_some(())
    })
    .await;

    nest.configure("[runs]\nslots = 6\n[store]\ncache = \"5MiB\"\n");
    let answer = client.daemon().reload(ReloadRequest {}).await.unwrap().into_inner();
    assert_eq!(answer.needs_restart, ["store.cache"]);
    until_answered("the new setting is in force", async || {
        (client.info().await.unwrap().slots == 6).then_some(())
    })
    .await;

    nest.configure("[runs]\nslot = 7\n");
    let refused = client.daemon().reload(ReloadRequest {}).await.unwrap_err();
    assert_eq!(reason(&refused), (Code::InvalidArgument, "INVALID_CONFIG".to_owned()));
    assert!(refused.message().contains("slots"), "no suggestion in {refused:?}");
    assert_eq!(client.info().await.unwrap().slots, 6);
}

#[tokio::test]
async fn a_wrong_configuration_is_no_reason_to_start_with_another() {
    let nest = Nest::empty();
    nest.configure("[runs]\nslot = 7\n");
    let refused = nest.spindled().output().unwrap();
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("slots"), "{refused:?}");
}

#[tokio::test]
async fn detached_it_returns_when_it_is_ready() {
    let nest = Nest::empty();
    let started = nest.spindled().arg("--detach").output().unwrap();
    assert!(started.status.success(), "{started:?}");
    let info = nest.client().await.info().await.unwrap();
    assert_eq!(PathBuf::from(&info.log), nest.paths().log());
    assert!(nest.paths().log().exists());

    // A second one finds the place taken, and says so at once.
    let second = nest.spindled().arg("--detach").output().unwrap();
    assert_eq!(second.status.code(), Some(5), "{second:?}");
    assert!(String::from_utf8_lossy(&second.stderr).contains(&info.pid.to_string()), "{second:?}");

    assert_eq!(outcome(&nest.finish(nest.sh("true")).await), "succeeded 0");
    kill(Pid::from_raw(info.pid), Signal::SIGTERM).unwrap();
    until("it has ended", || (!alive(info.pid)).then_some(())).await;
}

#[tokio::test]
async fn runs_go_on_while_the_program_is_replaced() {
    let mut nest = Nest::empty();
    let program = nest.path("spindled");
    fs::copy(env!("CARGO_BIN_EXE_spindled"), &program).unwrap();
    nest.use_program(program.clone());
    nest.start().await;
    let run = nest.run(nest.sh(UNTIL_TOLD)).await.id;
    nest.appears("up").await;

    // As an installation does it: the new file takes the name, the old one has none any more.
    let new = nest.path("spindled.new");
    fs::copy(env!("CARGO_BIN_EXE_spindled"), &new).unwrap();
    fs::rename(&new, &program).unwrap();
    // The old daemon starts shims still, from a file that has no name.
    assert_eq!(outcome(&nest.finish(nest.sh("true")).await), "succeeded 0");

    assert!(nest.terminate().await.success());
    nest.start().await;
    let_go(&nest, &run).await;

    fs::remove_file(&program).unwrap();
    assert_eq!(outcome(&nest.finish(nest.sh("true")).await), "succeeded 0");
}

/// The daemon serves its own user, and root.
#[tokio::test]
async fn another_user_is_not_served() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can be somebody else");
        return;
    }
    let mut nest = Nest::empty();
    // Where others may enter and connect, so that it is the daemon who refuses.
    let open = tempfile::Builder::new().prefix("spindle-open-").tempdir().unwrap();
    fs::set_permissions(open.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let socket = open.path().join("spindled.sock");
    nest.set("SPINDLE_SOCKET", socket.to_str().unwrap());
    nest.start().await;
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
    assert!(is_served(0, &socket));
    assert!(!is_served(65534, &socket));
    assert!(nest.log().contains("65534"), "the log does not name the stranger");
}

/// Whether somebody who connects as this user is answered.
fn is_served(uid: u32, socket: &Path) -> bool {
    /// How a client of HTTP/2 begins, and its first frame, in which it has no wishes.
    const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

    let connect = || {
        // Of this thread alone.
        let uid = Uid::from_raw(uid);
        rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
        let mut connection = UnixStream::connect(socket).unwrap();
        // Who is refused may find the connection closed already.
        let _ = connection.write_all(HELLO);
        connection.read(&mut [0]).is_ok_and(|bytes| bytes > 0)
    };
    std::thread::scope(|scope| scope.spawn(connect).join().unwrap())
}

/// What a service manager hears, and would do.
struct ServiceManager(UnixDatagram);

impl ServiceManager {
    fn hears(&self, wanted: &str) {
        let deadline = Instant::now() + PATIENCE;
        let mut datagram = [0; 4096];
        loop {
            assert!(Instant::now() < deadline, "{wanted} was not said");
            let length = self.0.recv(&mut datagram).unwrap();
            let text = String::from_utf8_lossy(&datagram[..length]);
            if text.lines().any(|line| line == wanted) {
                return;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_manager_hears_of_the_start_of_life_and_of_the_end() {
    let mut nest = Nest::empty();
    let socket = nest.path("notify");
    let manager = ServiceManager(UnixDatagram::bind(&socket).unwrap());
    manager.0.set_read_timeout(Some(PATIENCE)).unwrap();
    nest.set("NOTIFY_SOCKET", socket.to_str().unwrap());
    nest.set("WATCHDOG_USEC", "200000");
    nest.spawn();
    manager.hears("READY=1");
    // Ready means that it can be asked at once.
    assert_eq!(nest.client().await.info().await.unwrap().pid, nest.pid());
    manager.hears("WATCHDOG=1");
    manager.hears("WATCHDOG=1");
    nest.signal(Signal::SIGHUP);
    manager.hears("RELOADING=1");
    manager.hears("READY=1");

    // What it says is not for the children to say.
    let run = nest.finish(nest.sh("env")).await;
    let environment = String::from_utf8(nest.output(&run.id, LogStream::Stdout).await).unwrap();
    assert!(!environment.contains("NOTIFY_SOCKET") && !environment.contains("WATCHDOG"), "{environment}");

    nest.signal(Signal::SIGTERM);
    manager.hears("STOPPING=1");
    assert!(nest.ended().await.success());
}

#[tokio::test]
async fn a_pause_survives_a_restart_and_keeps_runs_waiting() {
    let mut nest = Nest::new().await;
    let under_way = nest.run(nest.sh(UNTIL_TOLD)).await.id;
    nest.appears("up").await;
    assert!(nest.client().await.daemon().pause(PauseRequest {}).await.unwrap().into_inner().paused);
    let waiting = nest.run(nest.sh("true")).await.id;
    let client = nest.kill_and_start().await;
    assert!(client.info().await.unwrap().paused);
    let_go(&nest, &under_way).await;
    assert_eq!(nest.look(&waiting).await.state(), RunState::Queued);
    assert!(!client.daemon().resume(ResumeRequest {}).await.unwrap().into_inner().paused);
    assert_eq!(outcome(&nest.wait(&waiting).await), "succeeded 0");
}

#[tokio::test]
async fn a_client_of_another_protocol_is_told_to_be_upgraded() {
    let nest = Nest::new().await;
    let endpoint = Endpoint::from_shared(format!("unix://{}", nest.paths().socket.display())).unwrap();
    let channel = endpoint.connect().await.unwrap();
    let ask = async |protocol: Option<u32>| {
        let mut request = Request::new(ListRunsRequest::default());
        if let Some(protocol) = protocol {
            request.metadata_mut().insert(PROTOCOL_HEADER, protocol.into());
        }
        RunServiceClient::new(channel.clone()).list_runs(request).await
    };
    let refused = ask(Some(PROTOCOL + 1)).await.unwrap_err();
    assert_eq!(reason(&refused), (Code::FailedPrecondition, "VERSION_MISMATCH".to_owned()));
    assert!(refused.message().contains(&(PROTOCOL + 1).to_string()), "{refused:?}");
    assert!(ask(Some(PROTOCOL)).await.is_ok());
    // Other people's clients need not know of it.
    assert!(ask(None).await.is_ok());

    // Who is to be upgraded can be asked, and stopped, by anybody.
    let mut request = Request::new(GetInfoRequest {});
    request.metadata_mut().insert(PROTOCOL_HEADER, (PROTOCOL + 1).into());
    let info = DaemonServiceClient::new(channel).get_info(request).await.unwrap().into_inner();
    assert_eq!(info.protocol, PROTOCOL);
}

#[tokio::test]
async fn streams_end_with_the_daemon_and_say_that_it_was_not_their_end() {
    let mut nest = Nest::new().await;
    let run = nest.run(nest.sh(UNTIL_TOLD)).await.id;
    nest.appears("up").await;
    let client = nest.client().await;
    let request = ReadLogRequest { run: run.clone(), follow: true, ..ReadLogRequest::default() };
    let mut log = client.runs().read_log(request).await.unwrap().into_inner();
    let request = WatchEventsRequest { from_seq: Some(1), ..WatchEventsRequest::default() };
    let mut events = client.runs().watch_events(request).await.unwrap().into_inner();
    assert!(events.message().await.unwrap().is_some());

    let asked = Instant::now();
    assert!(nest.terminate().await.success());
    assert!(asked.elapsed() < END_WITHIN, "it took {:?}", asked.elapsed());
    assert_eq!(log.message().await.unwrap_err().code(), Code::Unavailable);
    let cut = loop {
        match events.message().await {
            Ok(Some(_)) => {}
            other => break other,
        }
    };
    assert_eq!(cut.unwrap_err().code(), Code::Unavailable);

    nest.start().await;
    let_go(&nest, &run).await;
}

#[tokio::test]
async fn who_follows_sees_everything_though_the_daemon_is_replaced_in_between() {
    let mut nest = Nest::new().await;
    let script = "for part in 1 2 3 4; do echo part $part; echo up >up$part; \
                  while [ ! -e go$part ]; do sleep 0.02; done; done";
    let run = nest.run(nest.sh(script)).await.id;
    let client = nest.client().await;
    let request = ReadLogRequest { run: run.clone(), follow: true, ..ReadLogRequest::default() };
    let mut log = LogReader::new(client.clone(), request, Nest::patience());
    let request = WatchEventsRequest {
        from_seq: Some(1),
        run: run.clone(),
        until_finished: true,
        ..WatchEventsRequest::default()
    };
    let mut watch = EventWatch::new(client, request, Nest::patience());
    let log = tokio::spawn(async move {
        let mut bytes = Vec::new();
        while let Some(chunk) = log.next().await.unwrap() {
            bytes.extend(chunk.data);
        }
        bytes
    });
    let events = tokio::spawn(async move {
        let mut types = Vec::new();
        while let Some(event) = watch.next().await.unwrap() {
            types.push(event.r#type);
        }
        types
    });
    for part in 1..=4 {
        nest.appears(&format!("up{part}")).await;
        match part {
            1 => nest.kill(),
            2 => assert!(nest.terminate().await.success()),
            _ => {}
        }
        fs::write(nest.work_dir().join(format!("go{part}")), "").unwrap();
        if part <= 2 {
            nest.start().await;
        }
    }
    assert_eq!(log.await.unwrap(), b"part 1\npart 2\npart 3\npart 4\n");
    let expected = ["run.created", "run.started", "step.started", "step.finished", "run.finished"];
    assert_eq!(events.await.unwrap(), expected);
}

#[tokio::test]
async fn who_stops_following_a_run_that_is_silent_costs_the_others_nothing() {
    let nest = Nest::new().await;
    let client = nest.client().await;
    client.daemon().pause(PauseRequest {}).await.unwrap();
    let run = nest.run(nest.sh("true")).await.id;
    // More than the daemon has threads.
    for _ in 0..16 {
        let request = ReadLogRequest { run: run.clone(), follow: true, ..ReadLogRequest::default() };
        drop(nest.client().await.runs().read_log(request).await.unwrap());
    }
    for _ in 0..16 {
        nest.client().await.info().await.unwrap();
    }
    client.daemon().resume(ResumeRequest {}).await.unwrap();
    assert_eq!(client.wait_run(&run, &mut Nest::patience()).await.unwrap().exit_code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_of_a_log_costs_the_others_nothing() {
    let nest = Nest::new().await;
    let run =
        nest.run(nest.sh("seq 1 2000000; echo up >up; while [ ! -e go ]; do sleep 0.02; done")).await.id;
    let request = ReadLogRequest { run: run.clone(), follow: true, ..ReadLogRequest::default() };
    // Takes one piece, and then no more for as long as the others need.
    let mut slow = nest.client().await.runs().read_log(request).await.unwrap().into_inner();
    let first = slow.message().await.unwrap().unwrap();
    nest.appears("up").await;
    let whole = nest.output(&run, LogStream::Stdout).await;
    assert_eq!(whole.len(), 14_888_896);
    assert_eq!(outcome(&nest.finish(nest.sh("true")).await), "succeeded 0");
    let_go(&nest, &run).await;

    // And gets the rest whenever it wants it.
    let mut seen = first.data.len();
    while let Some(chunk) = slow.message().await.unwrap() {
        assert_eq!(chunk.offset, seen as u64);
        assert!(whole[seen..].starts_with(&chunk.data));
        seen += chunk.data.len();
    }
    assert_eq!(seen, whole.len());
}

/// With the soft limit of open files that systems set by default.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_processes_at_once_survive_their_daemon() {
    const MANY: usize = 1000;

    let mut nest = Nest::empty();
    let limited = nest.path("limited");
    let program = env!("CARGO_BIN_EXE_spindled");
    fs::write(&limited, format!("#!/bin/sh\nulimit -Sn 1024\nexec {program} \"$@\"\n")).unwrap();
    fs::set_permissions(&limited, fs::Permissions::from_mode(0o755)).unwrap();
    nest.use_program(limited);
    nest.configure(&format!("[runs]\nslots = {MANY}\n"));
    let client = nest.start().await;

    // Each waits for the other end of a pipe to be closed, which costs nothing and needs no other process.
    let gate = nest.work_dir().join("gate");
    nix::unistd::mkfifo(&gate, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    let holder = fs::File::options().read(true).write(true).open(&gate).unwrap();
    let template = Some(nest.argv(["cat", "gate"]).into());
    let runs = join_all((0..MANY).map(async |_| {
        let request = StartRunRequest { request_id: String::new(), template: template.clone() };
        client.runs().start_run(request).await.unwrap().into_inner().id
    }))
    .await;
    let all_run = async |client: &spindle_client::Client| {
        (usize::try_from(client.info().await.unwrap().running).unwrap() == MANY).then_some(())
    };
    until_answered("all are at work", async || all_run(&client).await).await;
    let pids = || nest.leftovers().len();
    until("all have shims and children", || (pids() == 2 * MANY + 1).then_some(())).await;

    let client = nest.kill_and_start().await;
    until_answered("all are taken up again", async || all_run(&client).await).await;
    drop(holder);
    for run in &runs {
        assert_eq!(outcome(&client.wait_run(run, &mut Nest::patience()).await.unwrap()), "succeeded 0");
    }
    nest.only_the_daemon_is_left().await;
}

#[tokio::test]
async fn what_a_daemon_prints_on_its_way_out_is_one_line_that_says_what_to_do() {
    let nest = Nest::new().await;
    let mut second = nest.spindled().stderr(Stdio::piped()).spawn().unwrap();
    let mut message = String::new();
    second.stderr.take().unwrap().read_to_string(&mut message).unwrap();
    second.wait().unwrap();
    assert_eq!(message.lines().count(), 1, "{message}");
    assert!(message.starts_with("spindled: "), "{message}");
}
