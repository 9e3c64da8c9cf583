//! A scratch home, and daemons started in it.

use std::fs::{self, File};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use spindle_client::v1::run_template::Workflow;
use spindle_client::v1::{
    EnvironmentVariable, ExecSpec, PauseRequest, ResumeRequest, Run, RunTemplate, StartOptions,
    StartRunRequest, WaitRunRequest,
};
use spindle_client::{Client, Paths};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::Bench;
use crate::programs::Programs;

/// So long a daemon may take to be ready, or to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many clients start runs at once when a measurement only needs them to be there.
const STARTERS: usize = 32;

/// A home that goes with everything in it.
pub(crate) struct Home {
    state: TempDir,
    /// Apart from the state, because a socket's path must be short.
    sockets: TempDir,
    programs: Programs,
}

impl Home {
    /// A home whose daemon does `slots` runs at the same time and forgets none.
    pub(crate) fn new(bench: &Bench, slots: usize) -> Result<Self> {
        // Nothing of the user's own Codex is read beside what is measured.
        Self::configured(
            bench,
            &format!("[runs]\nslots = {slots}\nkeep = 1000000\n[traces]\nenabled = false\n"),
        )
    }

    /// A home whose daemon reads a Codex home, and does nothing else.
    pub(crate) fn reading(bench: &Bench, codex_home: &Path) -> Result<Self> {
        let path = codex_home.to_str().context("the scratch directory's name is no UTF-8")?;
        Self::configured(bench, &format!("[traces]\nhomes = [{path:?}]\n"))
    }

    fn configured(bench: &Bench, config: &str) -> Result<Self> {
        let state = tempfile::Builder::new().prefix("bench-").tempdir_in(&bench.scratch)?;
        let sockets = tempfile::Builder::new().prefix("bench-").tempdir()?;
        fs::write(state.path().join("config.toml"), config)?;
        Ok(Self { state, sockets, programs: bench.programs.clone() })
    }

    /// A directory on the disk that is measured.
    pub(crate) fn path(&self) -> &Path {
        self.state.path()
    }

    /// Where the daemon keeps its sled database.
    pub(crate) fn database(&self) -> PathBuf {
        self.path().join("state/store/sled")
    }

    fn socket(&self) -> PathBuf {
        self.sockets.path().join("spindled.sock")
    }

    /// The command `spindle`, to be used in this home.
    pub(crate) fn spindle<const N: usize>(&self, arguments: [&str; N]) -> Command {
        let mut command = self.command(&self.programs.spindle);
        command.args(arguments);
        command
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        for (name, place) in self.places() {
            command.env(name, place);
        }
        command.current_dir(self.path()).stdin(Stdio::null());
        command
    }

    fn places(&self) -> [(&'static str, PathBuf); 3] {
        [
            ("SPINDLE_STATE_DIR", self.path().join("state")),
            ("SPINDLE_CONFIG", self.path().join("config.toml")),
            ("SPINDLE_SOCKET", self.socket()),
        ]
    }

    /// Starts a daemon and waits until it is ready.
    pub(crate) fn start(&self) -> Result<Daemon<'_>> {
        let notify = self.sockets.path().join("notify");
        let ear = UnixDatagram::bind(&notify).context("cannot listen for the daemon's readiness")?;
        ear.set_read_timeout(Some(PATIENCE))?;
        let log = self.path().join("daemon.log");
        let mut command = self.command(&self.programs.spindled);
        command.env("NOTIFY_SOCKET", &notify);
        let output = File::options().append(true).create(true).open(&log)?;
        command.stdout(output.try_clone()?).stderr(output);

        let start = Instant::now();
        let child = command.spawn().context("cannot start the daemon")?;
        let mut daemon = Daemon { home: self, child, ready_after: Duration::ZERO };
        let mut buffer = [0; 4096];
        loop {
            let Ok(length) = ear.recv(&mut buffer) else {
                bail!("the daemon is not ready after {PATIENCE:?}; its log:\n{}", last_lines(&log));
            };
            if String::from_utf8_lossy(&buffer[..length]).lines().any(|line| line == "READY=1") {
                daemon.ready_after = start.elapsed();
                fs::remove_file(&notify)?;
                return Ok(daemon);
            }
        }
    }
}

fn last_lines(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}

/// A daemon at work; killed when it goes out of scope.
pub(crate) struct Daemon<'a> {
    home: &'a Home,
    child: Child,
    /// How long it took from its start until it was ready.
    pub(crate) ready_after: Duration,
}

impl Daemon<'_> {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) async fn connect(&self) -> Result<Client> {
        let places = self.home.places();
        let place =
            |name: &str| places.iter().find(|place| place.0 == name).map(|place| place.1.clone().into());
        Ok(Client::connect(&Paths::resolve(&place)?).await?)
    }

    /// The address of its socket for other gRPC clients.
    pub(crate) fn address(&self) -> String {
        format!("unix://{}", self.home.socket().display())
    }

    /// Ends it in order.
    pub(crate) fn terminate(mut self) -> Result<()> {
        let pid =
            i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("no such process id")?;
        kill_process(pid, Signal::TERM)?;
        let deadline = Instant::now() + PATIENCE;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                bail!("the daemon did not end after SIGTERM");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        // It may have ended already; processes of runs end by themselves.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A request to run a program.
pub(crate) fn request(program: &Path, arguments: &[std::ffi::OsString]) -> StartRunRequest {
    use std::os::unix::ffi::OsStrExt as _;

    let words = std::iter::once(program.as_os_str()).chain(arguments.iter().map(AsRef::as_ref));
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
    let path = EnvironmentVariable { name: "PATH".to_owned(), value: path.as_bytes().to_vec() };
    let spec = ExecSpec {
        argv: words.map(|word| word.as_bytes().to_vec()).collect(),
        cwd: b"/".to_vec(),
        ..ExecSpec::default()
    };
    StartRunRequest {
        request_id: uuid::Uuid::now_v7().to_string(),
        template: Some(RunTemplate {
            workflow: Some(Workflow::Exec(spec)),
            options: Some(StartOptions { environment: vec![path], ..StartOptions::default() }),
        }),
    }
}

/// A request to run `true`.
pub(crate) fn request_true() -> StartRunRequest {
    request(Path::new("true"), &[])
}

/// Starts runs of `true` that wait, because the daemon is paused, and gives their ids.
pub(crate) async fn queue_up(client: &Client, number: usize) -> Result<Vec<String>> {
    client.daemon().pause(PauseRequest {}).await?;
    let mut starters = JoinSet::new();
    for starter in 0..STARTERS {
        let mut runs = client.runs();
        starters.spawn(async move {
            let mut ids = Vec::new();
            for _ in (starter..number).step_by(STARTERS) {
                ids.push(runs.start_run(request_true()).await?.into_inner().id);
            }
            Ok::<_, tonic::Status>(ids)
        });
    }
    let mut ids: Vec<String> = Vec::with_capacity(number);
    while let Some(started) = starters.join_next().await {
        ids.extend(started??);
    }
    // An id begins with the time of its run.
    ids.sort_unstable();
    Ok(ids)
}

/// Lets the daemon begin what waits, and returns when all these runs have ended.
pub(crate) async fn work_off(client: &Client, ids: &[String]) -> Result<()> {
    client.daemon().resume(ResumeRequest {}).await?;
    let mut runs = client.runs();
    for id in ids {
        succeeded(&runs.wait_run(WaitRunRequest { run: id.clone() }).await?.into_inner())?;
    }
    Ok(())
}

/// A run that did anything else was not what is measured.
pub(crate) fn succeeded(run: &Run) -> Result<()> {
    if run.exit_code != Some(0) {
        bail!("run {} of the measurement did not succeed: {:?}", run.id, run.failure);
    }
    Ok(())
}
