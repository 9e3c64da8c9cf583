//! Where the tests start their processes.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use engine::process::{Adoption, Ended, Exit, Launch, Process, ShimCommand, Supervisor};
use tempfile::TempDir;

/// So long a condition may take to come true.
const PATIENCE: Duration = Duration::from_secs(20);

/// A directory for attempts, and a supervisor.
pub(crate) struct Lab {
    pub(crate) root: TempDir,
    pub(crate) supervisor: Supervisor,
    env: Vec<(OsString, OsString)>,
}

impl Lab {
    pub(crate) fn new() -> Self {
        // The test runs from `deps`, beside which cargo puts the examples.
        let own = std::env::current_exe().unwrap();
        let program = own.parent().unwrap().parent().unwrap().join("examples/shim");
        let supervisor = Supervisor::new(ShimCommand { program, args: Vec::new() }, None);
        let path = std::env::var_os("PATH").unwrap_or_default();
        Self { root: TempDir::new().unwrap(), supervisor, env: vec![("PATH".into(), path)] }
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// A launch of a shell script whose working directory is the lab's.
    pub(crate) fn script(&self, script: &str) -> Launch {
        Launch::new("/bin/sh", self.root.path()).args(["-c", script])
    }

    pub(crate) async fn start(&self, launch: &Launch) -> Process {
        self.supervisor.start(&self.path("attempt"), launch, self.env.clone()).await.unwrap()
    }

    /// Starts and waits for the end that the shim has told.
    pub(crate) async fn run(&self, launch: &Launch) -> Exit {
        exit_of(&self.start(launch).await).await
    }

    pub(crate) async fn adopt(&self) -> Adoption {
        self.supervisor.adopt(&self.path("attempt")).await.unwrap()
    }

    /// What was captured of a stream, as text.
    pub(crate) fn captured(&self, stream: &str) -> String {
        String::from_utf8(std::fs::read(self.path("attempt").join(stream)).unwrap()).unwrap()
    }

    /// Waits until a file of the lab is there and not empty, and reads it.
    pub(crate) async fn appears(&self, name: &str) -> String {
        let path = self.path(name);
        until(|| std::fs::read_to_string(&path).ok().filter(|text| text.ends_with('\n'))).await
    }

    /// Nothing is left of the lab's processes.
    pub(crate) fn expect_nobody(&self) {
        let living = self.living();
        assert!(living.is_empty(), "left over: {living:?}");
    }

    /// The processes that bear the mark of this lab, which [`Lab::marked`] sets.
    pub(crate) fn living(&self) -> Vec<i32> {
        let mark = self.mark();
        let processes = std::fs::read_dir("/proc").unwrap();
        let pids = processes.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse::<i32>().ok());
        pids.filter(|pid| {
            let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environ.split(|byte| *byte == 0).any(|entry| entry == mark.as_bytes())
        })
        .collect()
    }

    /// Gives every process of this lab a mark of its own.
    pub(crate) fn marked(mut self) -> Self {
        let root = self.root.path().to_owned();
        self.env.push(("LAB".into(), root.into()));
        self
    }

    fn mark(&self) -> String {
        format!("LAB={}", self.root.path().display())
    }
}

/// Waits for the end that the shim has told.
pub(crate) async fn exit_of(process: &Process) -> Exit {
    match process.wait().await.unwrap() {
        Ended::Exited(exit) => exit,
        other => panic!("no exit was recorded: {other:?}"),
    }
}

/// What `seq` prints, with a word before each number.
pub(crate) fn numbered(word: &str, numbers: impl Iterator<Item = u32>) -> String {
    use std::fmt::Write;
    let mut text = String::new();
    for number in numbers {
        writeln!(text, "{word}{number}").unwrap();
    }
    text
}

/// Waits until a question has an answer.
pub(crate) async fn until<T>(mut question: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = question() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited in vain");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Whether a process with this pid is there and not just a zombie.
pub(crate) fn lives(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with('Z'))
}

/// Kills a process as `kill -9` does.
pub(crate) fn kill_9(pid: i32) {
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(pid).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
}

pub(crate) fn number(text: &str) -> i32 {
    text.trim().parse().unwrap()
}

pub(crate) fn file(dir: &Path, name: &str) -> Vec<u8> {
    std::fs::read(dir.join(name)).unwrap()
}
