//! The keeper as a process: what other tools see, and what signals do to it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use autorunner::keeper::{END_SIGNAL, EXIT_REFUSED, KeeperStatus, Mailbox};
use autorunner::lock::{self, Assessment, Evidence, StaleReason};
use autorunner::repo::Layout;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

struct Scene {
    dir: tempfile::TempDir,
    layout: Layout,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::of_root(dir.path().join("repo"));
        std::fs::create_dir_all(layout.dir()).unwrap();
        Self { dir, layout }
    }

    fn mailbox(&self, name: &str) -> Mailbox {
        let dir = self.dir.path().join(name);
        std::fs::create_dir_all(&dir).unwrap();
        Mailbox::new(dir)
    }

    fn start(&self, name: &str) -> (Keeper, Mailbox) {
        let mailbox = self.mailbox(name);
        let child = Command::new(program())
            .args([self.layout.root(), "run-1".as_ref(), &self.dir.path().join(name)])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        (Keeper(child), mailbox)
    }

    fn assess(&self) -> Assessment {
        lock::assess(&self.layout.lock()).unwrap()
    }
}

/// A keeper that does not outlive its test.
struct Keeper(Child);

impl Keeper {
    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id().try_into().unwrap()), signal).unwrap();
    }

    fn exit_code(&mut self) -> Option<i32> {
        self.0.wait().unwrap().code()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Cargo puts examples beside the directory of the test programs.
fn program() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    own.parent().unwrap().parent().unwrap().join("examples/keeper")
}

fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "no {what} within 30 s");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_keeper_holds_the_lock_with_its_own_pid_until_the_loop_ends() {
    let scene = Scene::new();
    let (mut keeper, mailbox) = scene.start("a");
    let status = wait_for("status", || mailbox.status().unwrap());
    assert_eq!(status, KeeperStatus::Holding { pid: keeper.0.id() });
    let Assessment::Held { holder: Some(holder), evidence: Evidence::OsLock } = scene.assess() else {
        panic!("{:?}", scene.assess())
    };
    assert_eq!(holder.pid, keeper.0.id());

    keeper.signal(END_SIGNAL);
    assert_eq!(keeper.exit_code(), Some(0));
    assert_eq!(scene.assess(), Assessment::Free);
    assert_eq!(mailbox.status().unwrap(), Some(KeeperStatus::Released));
    assert_eq!(mailbox.stop_request().unwrap(), None);
}

#[test]
fn a_sigterm_from_another_tool_becomes_a_stop_request_and_the_keeper_lives_on() {
    let scene = Scene::new();
    let (mut keeper, mailbox) = scene.start("a");
    wait_for("status", || mailbox.status().unwrap());
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        keeper.signal(signal);
    }
    let request = wait_for("stop request", || mailbox.stop_request().unwrap());
    assert!(request.by.starts_with("SIG") && request.by.ends_with("to the keeper"), "{}", request.by);
    assert!(keeper.0.try_wait().unwrap().is_none());
    assert!(matches!(scene.assess(), Assessment::Held { .. }));

    keeper.signal(END_SIGNAL);
    assert_eq!(keeper.exit_code(), Some(0));
    assert_eq!(scene.assess(), Assessment::Free);
}

#[test]
fn a_second_keeper_is_told_who_holds_the_lock_and_takes_nothing() {
    let scene = Scene::new();
    let (first, mailbox) = scene.start("a");
    wait_for("status", || mailbox.status().unwrap());
    let (mut second, refused) = scene.start("b");
    assert_eq!(second.exit_code(), Some(i32::from(EXIT_REFUSED)));
    let Some(KeeperStatus::Refused { message }) = refused.status().unwrap() else { panic!() };
    assert!(message.contains(&format!("process {}", first.0.id())), "{message}");
    assert!(matches!(scene.assess(), Assessment::Held { .. }));
}

#[test]
fn a_killed_keeper_leaves_a_stale_lock_that_the_next_one_replaces() {
    let scene = Scene::new();
    let (mut first, mailbox) = scene.start("a");
    wait_for("status", || mailbox.status().unwrap());
    first.signal(Signal::SIGKILL);
    assert_eq!(first.exit_code(), None);
    let stale = scene.assess();
    assert!(matches!(stale, Assessment::Stale { reason: StaleReason::ProcessGone, .. }), "{stale:?}");
    let (next, mailbox) = scene.start("b");
    let status = wait_for("status", || mailbox.status().unwrap());
    assert_eq!(status, KeeperStatus::Holding { pid: next.0.id() });
}

#[cfg(target_os = "linux")]
#[test]
fn a_lock_that_another_tool_deletes_comes_back() {
    let scene = Scene::new();
    let (mut keeper, mailbox) = scene.start("a");
    wait_for("status", || mailbox.status().unwrap());
    std::fs::remove_file(scene.layout.lock()).unwrap();
    wait_for("lock", || matches!(scene.assess(), Assessment::Held { .. }).then_some(()));
    keeper.signal(END_SIGNAL);
    assert_eq!(keeper.exit_code(), Some(0));
    assert_eq!(scene.assess(), Assessment::Free);
    assert_eq!(mailbox.stop_request().unwrap(), None);
}

#[cfg(target_os = "linux")]
#[test]
fn a_keeper_whose_lock_is_taken_over_by_force_asks_its_loop_to_stop() {
    let scene = Scene::new();
    let (mut keeper, mailbox) = scene.start("a");
    wait_for("status", || mailbox.status().unwrap());
    let own_pid = std::process::id().to_string();
    std::fs::write(scene.layout.lock(), &own_pid).unwrap();
    let request = wait_for("stop request", || mailbox.stop_request().unwrap());
    assert!(request.by.contains(&format!("process {own_pid}")), "{}", request.by);
    keeper.signal(END_SIGNAL);
    assert_eq!(keeper.exit_code(), Some(0));
    assert_eq!(std::fs::read_to_string(scene.layout.lock()).unwrap(), own_pid);
}
