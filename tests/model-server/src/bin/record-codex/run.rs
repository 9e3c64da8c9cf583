//! Running one case.

use crate::cases::{Before, By, Case, End, IN_TOOL, Interrupt, Place, Reader};
use crate::index::Recording;
use crate::normalise::Normaliser;
use model_server::{MissingRelease, ModelServer, Options, Release, Scratch, ScratchError, StartError};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::env;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// No run takes longer, or something is wrong with it.
const DEADLINE: Duration = Duration::from_mins(1);

/// How often a running CLI is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Why a case could not be recorded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error(transparent)]
    Missing(#[from] MissingRelease),
    #[error(transparent)]
    Server(#[from] StartError),
    #[error(transparent)]
    Scratch(#[from] ScratchError),
    #[error("cannot run the CLI: {0}")]
    Io(#[from] io::Error),
    #[error("cannot signal the CLI: {0}")]
    Signal(#[from] nix::Error),
    #[error("the CLI ended before it printed {0:?}, or took too long")]
    NeverPrinted(&'static str),
    #[error("the CLI did not end within {} s", DEADLINE.as_secs())]
    Endless,
    #[error("the run before printed no thread id")]
    NoThread,
}

/// Runs a case in a scratch place of its own and gives what is to be kept.
pub(crate) fn record(case: &Case, release: Release) -> Result<Recording, RunError> {
    let server = ModelServer::start(Options::default())?;
    let scratch = Scratch::new(server.url())?;
    fs::write(scratch.root().join("schema.json"), r#"{"type":"object"}"#)?;
    let mut predecessor = None;
    if let Some(before) = &case.before {
        predecessor = Some(Predecessor::run(&scratch, &server, before, release)?);
    }
    if case.place == Place::BrokenConfig {
        fs::write(scratch.codex_home().join("config.toml"), "model = \n")?;
    }
    let thread = predecessor.as_ref().map(|predecessor| predecessor.thread.clone());
    let asked_before = server.requests().len();
    let arguments = arguments(case, &scratch, thread.as_deref())?;
    let started = Instant::now();
    let mut run = Run::start(
        &scratch,
        release,
        &Start {
            name: "run",
            arguments: &arguments,
            prompt: case.prompt,
            place: case.place,
            reader: case.reader,
        },
    )?;
    if let Some(interrupt) = case.interrupt {
        run.interrupt(&server, interrupt)?;
    }
    let status = run.wait()?;
    let seconds = (started.elapsed() + Duration::from_millis(500)).as_secs();
    let resume_requested = resume_id(&arguments);
    let mut normaliser = Normaliser::new(scratch.root(), server.url());
    let mut clean = |text: &str| normaliser.apply(text);
    Ok(Recording {
        case: case.name.to_owned(),
        version: release.version().to_owned(),
        resume_requested: resume_requested.map(|id| clean(&id)),
        argv: arguments.iter().map(|word| clean(word)).collect(),
        prompt: case.prompt.to_owned(),
        exit_code: status.code(),
        signal: status
            .signal()
            .and_then(|number| Signal::try_from(number).ok())
            .map(|signal| signal.to_string()),
        signal_sent: case.interrupt.map(|interrupt| interrupt.signal.to_string()),
        seconds,
        requests: server.requests().len() - asked_before,
        stdout: clean(&run.stdout()?),
        stderr: clean(&run.stderr()?).lines().map(str::to_owned).collect(),
    })
}

fn arguments(case: &Case, scratch: &Scratch, thread: Option<&str>) -> Result<Vec<String>, RunError> {
    let this_program = env::current_exe()?;
    let schema = scratch.root().join("schema.json");
    let fill = |word: &&str| {
        word.replace("{thread}", thread.unwrap_or_default())
            .replace("{schema}", &schema.to_string_lossy())
            .replace("{mcp-server}", &this_program.to_string_lossy())
    };
    let always = ["exec", "--json", "-s", "workspace-write"].iter();
    Ok(always.chain(case.arguments).chain(&["-"]).map(fill).collect())
}

/// The id or name that the run asks to resume.
fn resume_id(arguments: &[String]) -> Option<String> {
    let at = arguments.iter().position(|word| word == "resume")?;
    arguments.get(at + 1).filter(|word| !word.starts_with('-')).cloned()
}

/// The run before. One that still runs is killed when this is dropped.
struct Predecessor {
    thread: String,
    _run: Run,
}

impl Predecessor {
    fn run(
        scratch: &Scratch,
        server: &ModelServer,
        before: &Before,
        release: Release,
    ) -> Result<Self, RunError> {
        let release = match (before.by, release) {
            (By::TheSame, same) => same,
            (By::TheOther, Release::Current) => Release::Oldest,
            (By::TheOther, Release::Oldest) => Release::Current,
        };
        let arguments = ["exec", "--json", "-s", "workspace-write", "-"].map(str::to_owned);
        let mut run = Run::start(
            scratch,
            release,
            &Start {
                name: "before",
                arguments: &arguments,
                prompt: before.prompt,
                place: Place::Repository,
                reader: Reader::Stays,
            },
        )?;
        match before.end {
            End::Normal => drop(run.wait()?),
            End::Killed(signal) => {
                run.interrupt(server, Interrupt { signal, when_printed: IN_TOOL })?;
                run.wait()?;
            }
            End::StillRunning => run.wait_until_printed(IN_TOOL)?,
        }
        let stdout = run.stdout()?;
        let (_, rest) = stdout.split_once(r#""thread_id":""#).ok_or(RunError::NoThread)?;
        let thread = rest.split('"').next().unwrap_or_default().to_owned();
        Ok(Self { thread, _run: run })
    }
}

/// How a CLI is started.
struct Start<'a> {
    /// Tells the files of two runs in one scratch directory apart.
    name: &'a str,
    arguments: &'a [String],
    prompt: &'a str,
    place: Place,
    reader: Reader,
}

/// A running CLI, whose output goes to files.
struct Run {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
    deadline: Instant,
}

impl Run {
    fn start(scratch: &Scratch, release: Release, start: &Start<'_>) -> Result<Self, RunError> {
        let file = |kind: &str| scratch.root().join(format!("{}.{kind}", start.name));
        fs::write(file("stdin"), start.prompt)?;
        let mut stdout = File::create(file("stdout"))?;
        let mut command = scratch.command(release.binary()?);
        if start.place == Place::PlainDirectory {
            command.current_dir(scratch.home());
        }
        command
            .args(start.arguments)
            .stdin(File::open(file("stdin"))?)
            .stdout(stdout.try_clone()?)
            .stderr(File::create(file("stderr"))?);
        if start.reader == Reader::LeavesAfterOneLine {
            command.stdout(Stdio::piped());
        }
        let mut child = command.spawn()?;
        if let Some(pipe) = child.stdout.take() {
            let mut line = String::new();
            BufReader::new(pipe).read_line(&mut line)?;
            stdout.write_all(line.as_bytes())?;
        }
        Ok(Self {
            child,
            stdout: file("stdout"),
            stderr: file("stderr"),
            deadline: Instant::now() + DEADLINE,
        })
    }

    fn stdout(&self) -> Result<String, RunError> {
        lossy(&self.stdout)
    }

    fn stderr(&self) -> Result<String, RunError> {
        lossy(&self.stderr)
    }

    fn wait_until_printed(&mut self, text: &'static str) -> Result<(), RunError> {
        while !self.stdout()?.contains(text) {
            if self.child.try_wait()?.is_some() || Instant::now() > self.deadline {
                return Err(RunError::NeverPrinted(text));
            }
            thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    fn interrupt(&mut self, server: &ModelServer, interrupt: Interrupt) -> Result<(), RunError> {
        self.wait_until_printed(interrupt.when_printed)?;
        let printed_in_stream = interrupt.when_printed == "turn.started";
        while printed_in_stream && server.requests().is_empty() && Instant::now() < self.deadline {
            thread::sleep(LOOK_EVERY);
        }
        let pid = i32::try_from(self.child.id()).map_err(io::Error::other)?;
        // The child has not been waited for, so the number is still its own.
        Ok(kill(Pid::from_raw(pid), interrupt.signal)?)
    }

    fn wait(&mut self) -> Result<ExitStatus, RunError> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > self.deadline {
                return Err(RunError::Endless);
            }
            thread::sleep(LOOK_EVERY);
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // Both fail harmlessly for a run that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lossy(path: &Path) -> Result<String, RunError> {
    Ok(String::from_utf8_lossy(&fs::read(path)?).into_owned())
}
