//! A scratch home with a daemon of its own, for the stories of this directory: started, killed and started again
//! at will, with nothing of it left when the test is over.
//!
//! Nothing here waits for a fixed time: [`until`] looks at a condition until it holds, or until a deadline has passed.

#![allow(dead_code, unused_imports, reason = "each story needs another part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod left;
mod work;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use spindle_client::v1::{self, Event, LogStream, Run, RunDetail, RunTemplate, StartRunRequest};
use spindle_client::{Client, LogReader, Paths, Reconnect};
use tempfile::TempDir;
use tonic::Code;
use tonic_types::StatusExt as _;

pub(crate) use left::{Leftover, alive};
pub(crate) use work::{Work, outcome};

/// So long a condition may take to come true, on a machine that does many other things.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Between two looks at a condition.
const LOOK: Duration = Duration::from_millis(5);

/// The lines of the daemon's log that a failed test shows.
const SHOWN_LINES: usize = 200;

/// Looks again and again until there is something to see.
pub(crate) async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < deadline, "after {PATIENCE:?} still not: {what}");
        tokio::time::sleep(LOOK).await;
    }
}

/// Asks again and again until the answer is the one that is wanted.
pub(crate) async fn until_answered<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "after {PATIENCE:?} still not: {what}");
        tokio::time::sleep(LOOK).await;
    }
}

/// The JSON document that a command printed, which must have succeeded.
pub(crate) fn object(output: &Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A home, and the daemon in it.
pub(crate) struct Nest {
    root: TempDir,
    program: PathBuf,
    variables: Vec<(String, String)>,
    daemon: Option<Child>,
}

impl Nest {
    /// A home without a daemon.
    pub(crate) fn empty() -> Self {
        let root = tempfile::Builder::new().prefix("spindle-nest-").tempdir().unwrap();
        for directory in ["home", "config", "work"] {
            fs::create_dir(root.path().join(directory)).unwrap();
        }
        let program = PathBuf::from(env!("CARGO_BIN_EXE_spindled"));
        Self { root, program, variables: Vec::new(), daemon: None }
    }

    /// A home whose daemon is ready.
    pub(crate) async fn new() -> Self {
        let mut nest = Self::empty();
        nest.start().await;
        nest
    }

    /// The same with a configuration file.
    pub(crate) async fn configured(toml: &str) -> Self {
        let mut nest = Self::empty();
        nest.configure(toml);
        nest.start().await;
        nest
    }

    /// Writes the configuration file; a daemon takes it up when it starts or reloads.
    pub(crate) fn configure(&self, toml: &str) {
        fs::write(self.paths().config, toml).unwrap();
    }

    /// Starts this program as the daemon from now on.
    pub(crate) fn use_program(&mut self, program: PathBuf) {
        self.program = program;
    }

    /// Sets a variable in the environment of the daemon and of `spindle`.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.variables.push((name.to_owned(), value.into()));
    }

    /// A path below the scratch directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// The working directory of runs, for what they leave there.
    pub(crate) fn work_dir(&self) -> PathBuf {
        self.path("work")
    }

    /// The state directory.
    pub(crate) fn state_dir(&self) -> PathBuf {
        self.paths().state_dir
    }

    /// Where daemon and client meet.
    pub(crate) fn paths(&self) -> Paths {
        let set = |name: &str| {
            self.variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.into())
        };
        let find = |name: &str| match name {
            "SPINDLE_STATE_DIR" => Some(self.root.path().join("state").into_os_string()),
            "SPINDLE_CONFIG" => Some(self.root.path().join("config/config.toml").into_os_string()),
            other => set(other),
        };
        Paths::resolve(&find).unwrap()
    }

    /// A command in this home's environment, and in no other.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let paths = self.paths();
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path("home"))
            .env("SPINDLE_STATE_DIR", &paths.state_dir)
            .env("SPINDLE_CONFIG", &paths.config)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(self.work_dir())
            .stdin(Stdio::null());
        command
    }

    /// The daemon's program, with arguments still to come.
    pub(crate) fn spindled(&self) -> Command {
        self.command(&self.program)
    }

    /// Runs `spindle` to its end.
    pub(crate) fn spindle<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Output {
        self.command(env!("CARGO_BIN_EXE_spindle")).args(arguments).output().unwrap()
    }

    /// The daemon's log.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.path("daemon.log")).unwrap_or_default()).into_owned()
    }

    /// Starts a daemon and does not wait for it.
    pub(crate) fn spawn(&mut self) {
        assert!(self.daemon.is_none(), "this nest has a daemon");
        let log = File::options().create(true).append(true).open(self.path("daemon.log")).unwrap();
        let mut command = self.spindled();
        // In a group of its own, as a service manager would have it: what is typed at the test's
        // terminal is not for the daemon.
        command.stdout(log.try_clone().unwrap()).stderr(log).process_group(0);
        self.daemon = Some(command.spawn().unwrap());
    }

    /// Waits until the daemon answers; says how soon it ended instead.
    pub(crate) async fn answers(&mut self) -> Result<Client, ExitStatus> {
        let paths = self.paths();
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.daemon.as_mut().and_then(|daemon| daemon.try_wait().unwrap()) {
                self.daemon = None;
                return Err(status);
            }
            if let Ok(client) = Client::connect(&paths).await
                && client.info().await.is_ok()
            {
                return Ok(client);
            }
            assert!(Instant::now() < deadline, "the daemon does not answer");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Starts the daemon and waits until it answers.
    pub(crate) async fn start(&mut self) -> Client {
        self.spawn();
        match self.answers().await {
            Ok(client) => client,
            Err(status) => panic!("the daemon did not start: {status}\n{}", self.log()),
        }
    }

    /// The daemon's process id.
    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.daemon.as_ref().expect("there is a daemon").id()).unwrap()
    }

    /// Sends the daemon a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    /// Kills the daemon in the midst of whatever it does.
    pub(crate) fn kill(&mut self) {
        let mut daemon = self.daemon.take().expect("there is a daemon");
        daemon.kill().unwrap();
        daemon.wait().unwrap();
    }

    /// Waits until the daemon has ended by itself.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let mut daemon = self.daemon.take().expect("there is a daemon");
        until("the daemon has ended", || daemon.try_wait().unwrap()).await
    }

    /// Asks the daemon to end and waits until it has.
    pub(crate) async fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.ended().await
    }

    /// Kills the daemon and starts another.
    pub(crate) async fn kill_and_start(&mut self) -> Client {
        self.kill();
        self.start().await
    }

    /// Checks the whole store, while there is no daemon.
    pub(crate) fn verify_store(&self) {
        let checked = self.spindled().arg("verify").output().unwrap();
        assert!(checked.status.success(), "{checked:?}");
    }

    /// A connection to the daemon.
    pub(crate) async fn client(&self) -> Client {
        Client::connect(&self.paths()).await.unwrap()
    }

    /// Patience for calls in whose midst the daemon may be killed.
    pub(crate) fn patience() -> Reconnect {
        Reconnect::new(PATIENCE)
    }

    /// A shell script to be run in this nest.
    pub(crate) fn sh(&self, script: &str) -> Work {
        self.argv(["/bin/sh", "-c", script])
    }

    /// A command to be run in this nest.
    pub(crate) fn argv<S: AsRef<OsStr>>(&self, argv: impl IntoIterator<Item = S>) -> Work {
        Work::new(argv, &self.work_dir(), &self.path("home"))
    }

    /// Starts a run.
    pub(crate) async fn run(&self, work: impl Into<RunTemplate>) -> Run {
        self.try_run(work).await.unwrap()
    }

    /// Starts a run, which may be refused.
    pub(crate) async fn try_run(&self, work: impl Into<RunTemplate>) -> Result<Run, tonic::Status> {
        let request = StartRunRequest { request_id: String::new(), template: Some(work.into()) };
        Ok(self.client().await.runs().start_run(request).await?.into_inner())
    }

    /// Waits for the end of a run, whatever becomes of the daemon meanwhile.
    pub(crate) async fn wait(&self, run: &str) -> Run {
        self.client().await.wait_run(run, &mut Self::patience()).await.unwrap()
    }

    /// Starts a run and waits for its end.
    pub(crate) async fn finish(&self, work: impl Into<RunTemplate>) -> Run {
        let run = self.run(work).await;
        self.wait(&run.id).await
    }

    /// All that there is to know about a run.
    pub(crate) async fn detail(&self, run: &str) -> RunDetail {
        let request = v1::GetRunRequest { run: run.to_owned() };
        self.client().await.runs().get_run(request).await.unwrap().into_inner()
    }

    /// A run as it is now.
    pub(crate) async fn look(&self, run: &str) -> Run {
        self.detail(run).await.run.unwrap()
    }

    /// What a run wrote.
    pub(crate) async fn output(&self, run: &str, stream: LogStream) -> Vec<u8> {
        let request = v1::ReadLogRequest {
            run: run.to_owned(),
            stream: stream.into(),
            ..v1::ReadLogRequest::default()
        };
        let mut reader = LogReader::new(self.client().await, request, Self::patience());
        let mut bytes = Vec::new();
        while let Some(chunk) = reader.next().await.unwrap() {
            bytes.extend(chunk.data);
        }
        bytes
    }

    /// What has happened since the store was made, in order. Unlike the daemon's log, it misses nothing that a
    /// daemon did in its last moment.
    pub(crate) async fn events(&self) -> Vec<Event> {
        let client = self.client().await;
        let last = client.info().await.unwrap().last_seq;
        let request = v1::WatchEventsRequest { from_seq: Some(1), ..v1::WatchEventsRequest::default() };
        let mut stream = client.runs().watch_events(request).await.unwrap().into_inner();
        let mut events: Vec<Event> = Vec::new();
        while events.last().map_or(0, |event| event.seq) < last {
            events.push(stream.message().await.unwrap().expect("the stream goes on"));
        }
        events
    }

    /// Asks a run to end.
    pub(crate) async fn cancel(&self, run: &str) -> Result<Run, tonic::Status> {
        let request = v1::CancelRunRequest { run: run.to_owned(), reason: String::new() };
        Ok(self.client().await.runs().cancel_run(request).await?.into_inner())
    }

    /// Waits until a file below the working directory ends with a line, and reads it.
    pub(crate) async fn appears(&self, name: &str) -> String {
        let path = self.work_dir().join(name);
        until(&format!("{name} has been written"), || {
            fs::read_to_string(&path).ok().filter(|text| text.ends_with('\n'))
        })
        .await
    }

    /// The processes that this nest has brought into the world, its daemon among them.
    pub(crate) fn leftovers(&self) -> Vec<Leftover> {
        left::processes_of(self.root.path())
    }

    /// Waits until there is no process left but the daemon.
    pub(crate) async fn only_the_daemon_is_left(&self) {
        let daemon = self.daemon.as_ref().map(Child::id).and_then(|pid| i32::try_from(pid).ok());
        let others = || -> Vec<_> {
            self.leftovers().into_iter().filter(|process| Some(process.pid) != daemon).collect()
        };
        let deadline = Instant::now() + PATIENCE;
        while !others().is_empty() {
            assert!(Instant::now() < deadline, "still there: {:?}", others());
            tokio::time::sleep(LOOK).await;
        }
    }

    fn stop(&mut self) {
        let Some(mut daemon) = self.daemon.take() else { return };
        let _ = kill(Pid::from_raw(i32::try_from(daemon.id()).unwrap()), Signal::SIGTERM);
        let deadline = Instant::now() + Duration::from_secs(10);
        while daemon.try_wait().is_ok_and(|status| status.is_none()) {
            if Instant::now() > deadline {
                let _ = daemon.kill();
                let _ = daemon.wait();
                return;
            }
            std::thread::sleep(LOOK);
        }
    }

    fn show_log(&self) {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let skipped = lines.len().saturating_sub(SHOWN_LINES);
        eprintln!("--- the daemon's log, without its first {skipped} lines");
        for line in &lines[skipped..] {
            eprintln!("{line}");
        }
        eprintln!("--- end of the daemon's log");
    }
}

/// Nothing may be left of a nest: what is, fails the test, and is killed.
impl Drop for Nest {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show_log();
        }
        self.stop();
        let deadline = Instant::now() + Duration::from_secs(5);
        let mut left = self.leftovers();
        while !left.is_empty() && !std::thread::panicking() && Instant::now() < deadline {
            std::thread::sleep(LOOK);
            left = self.leftovers();
        }
        for process in &left {
            let _ = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
        }
        if !left.is_empty() && !std::thread::panicking() {
            self.show_log();
            panic!("the test leaves processes behind: {left:#?}");
        }
    }
}

/// The code of a refusal, and the reason that programs read.
pub(crate) fn reason(status: &tonic::Status) -> (Code, String) {
    let details = status.get_details_error_info();
    (status.code(), details.map(|info| info.reason).unwrap_or_default())
}
