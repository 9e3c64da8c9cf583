//! Making the child: fork, wait for permission, become the program.

use std::ffi::{CString, NulError};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;

use super::super::launch::{Launch, OsText, Stdin};
use super::super::platform::{self, Fork};
use super::super::record::ExitStatus;

/// A child that was forked and waits for permission to become its program.
pub(super) struct Waiting {
    /// Its process id, which is also its process group.
    pub(super) pid: Pid,
    gate: File,
    report: File,
}

/// The end of the pipe through which a child tells why it could not become its program.
pub(super) struct Report(File);

/// The child's ends of its output pipes.
pub(super) struct Outputs {
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
}

/// What a child does between its permission and its program, for telling what failed.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Stage {
    Prepare = 0,
    Stdin = 1,
    Cwd = 2,
    Program = 3,
}

/// All that a child needs, made before the fork so that nothing can fail for a reason that cannot be told.
struct Plan {
    program: CString,
    argv: Vec<CString>,
    soft_nofile: Option<u64>,
}

impl Plan {
    fn new(launch: &Launch, soft_nofile: Option<u64>) -> Result<Self, NulError> {
        let program = CString::new(launch.program.as_bytes())?;
        let args = launch.args.iter().map(|arg| CString::new(arg.as_bytes()));
        let argv = std::iter::once(Ok(program.clone())).chain(args).collect::<Result<_, _>>()?;
        Ok(Self { program, argv, soft_nofile })
    }
}

/// Forks the child into a process group of its own. It runs nothing before [`Waiting::release`], and nothing at all
/// when the shim dies before that.
pub(super) fn fork(launch: &Launch, soft_nofile: Option<u64>, outputs: Outputs) -> io::Result<Waiting> {
    let plan = Plan::new(launch, soft_nofile)?;
    let (gate_out, gate_in) = pipe_with(PipeFlags::CLOEXEC)?;
    let (report_out, report_in) = pipe_with(PipeFlags::CLOEXEC)?;
    let shim = rustix::process::getpid();
    match platform::fork()? {
        Fork::Parent(pid) => {
            // The child does the same: whoever comes first, the group is there before it is recorded or signalled.
            let _ = rustix::process::setpgid(Some(pid), Some(pid));
            Ok(Waiting { pid, gate: gate_in.into(), report: report_out.into() })
        }
        Fork::Child => {
            // Or the gate would never say that the shim is gone.
            drop((gate_in, report_out));
            let mut report = File::from(report_in);
            let (stage, error) = become_program(launch, &plan, shim, gate_out.into(), &outputs);
            let errno = error.raw_os_error().unwrap_or(nix::libc::EIO);
            let [a, b, c, d] = errno.to_le_bytes();
            let _ = report.write_all(&[stage as u8, a, b, c, d]);
            platform::exit_now(127)
        }
    }
}

/// Runs in the child; returns only when something failed.
fn become_program(
    launch: &Launch,
    plan: &Plan,
    shim: Pid,
    gate: File,
    outputs: &Outputs,
) -> (Stage, io::Error) {
    if let Err(error) = prepare(plan, shim, gate, outputs) {
        return (Stage::Prepare, error);
    }
    if let Stdin::File(path) = &launch.stdin {
        let opened = File::open(path.as_os_str()).and_then(|file| Ok(nix::unistd::dup2_stdin(file)?));
        if let Err(error) = opened {
            return (Stage::Stdin, error);
        }
    }
    if let Err(error) = std::env::set_current_dir(launch.cwd.as_os_str()) {
        return (Stage::Cwd, error);
    }
    (Stage::Program, platform::exec(&plan.program, &plan.argv))
}

/// Waits for permission, then puts everything in place that a program inherits.
fn prepare(plan: &Plan, shim: Pid, mut gate: File, outputs: &Outputs) -> io::Result<()> {
    let _ = rustix::process::setpgid(None, None);
    platform::die_with_parent()?;
    // The shim may have died before the kernel was asked to watch it; and no permission means the same.
    if rustix::process::getppid() != Some(shim) || gate.read(&mut [0])? == 0 {
        platform::exit_now(127);
    }
    if let Some(soft) = plan.soft_nofile {
        platform::put_back_nofile(soft)?;
    }
    nix::unistd::dup2_stdout(outputs.stdout.as_fd())?;
    nix::unistd::dup2_stderr(outputs.stderr.as_fd())?;
    platform::reset_signals()
}

impl Waiting {
    /// Lets the child run.
    pub(super) fn release(mut self) -> io::Result<Report> {
        self.gate.write_all(&[1])?;
        Ok(Report(self.report))
    }
}

impl AsFd for Report {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Report {
    /// Reads what the child tells, once there is something to read: `None` when it has become its program.
    pub(super) fn read(mut self, launch: &Launch) -> Option<ExitStatus> {
        let mut bytes = [0; 5];
        self.0.read_exact(&mut bytes).ok()?;
        let [stage, errno @ ..] = bytes;
        Some(describe(launch, stage, i32::from_le_bytes(errno)))
    }
}

/// Says what failed as a person would, with the code that a shell would return.
fn describe(launch: &Launch, stage: u8, errno: i32) -> ExitStatus {
    let why = io::Error::from_raw_os_error(errno);
    let program = &launch.program;
    let (code, message) = if stage == Stage::Cwd as u8 {
        (126, format!("cannot enter the working directory {}: {why}", launch.cwd))
    } else if let (true, Stdin::File(path)) = (stage == Stage::Stdin as u8, &launch.stdin) {
        (126, format!("cannot open {path} as standard input: {why}"))
    } else if stage != Stage::Program as u8 {
        (126, format!("cannot prepare to run {program}: {why}"))
    } else if errno != nix::libc::ENOENT {
        (126, format!("cannot run {program}: {why}"))
    } else {
        match find(launch) {
            Some(path) => {
                (126, format!("cannot run {}: the interpreter it names is missing", path.display()))
            }
            None if has_slash(program) => (127, format!("cannot run {program}: {why}")),
            None => (127, format!("cannot run {program}: not found in PATH")),
        }
    };
    ExitStatus::SpawnFailed { errno, message, code }
}

fn has_slash(program: &OsText) -> bool {
    program.as_bytes().contains(&b'/')
}

/// Where the program's file is, if it is there.
fn find(launch: &Launch) -> Option<PathBuf> {
    let cwd = Path::new(launch.cwd.as_os_str());
    let program = launch.program.as_os_str();
    if program.is_empty() {
        return None;
    }
    if program.as_bytes().contains(&b'/') {
        return Some(cwd.join(program)).filter(|path| path.exists());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| cwd.join(dir).join(program)).find(|path| path.is_file())
}
