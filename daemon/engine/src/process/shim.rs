//! The shim: the process between the daemon and a child, which outlives the daemon.
//!
//! Plain blocking code in one thread. Its whole life is [`main`], from top to bottom; what it promises at each point
//! is in the description of the attempt's files ([`super::record`]), and a test kills it after every step.

mod capture;
mod child;
mod failpoint;
mod leftovers;
mod stop;

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, Signal, WaitStatus};

use super::launch::{FirstSignal, Launch, Leftovers as Policy};
use super::platform::{self, Signals};
use super::record::{self, Cause, Exit, ExitStatus, Fate, LaunchRecord, ProcessId, ProcessRecord, UnixNanos};
use capture::Capture;
use child::Report;
use failpoint::{Step, done};
use leftovers::Leftovers;
use stop::{Action, Stop};

pub use failpoint::{DIE_AT, STEPS};

/// Space reserved for the exit record. The largest has [`Exit::MAX_SURVIVORS`] command lines of 160 characters and a
/// message with two paths.
const RESERVED: u64 = 32 << 10;

/// Why the shim could not do its work.
#[derive(Debug, thiserror::Error)]
enum ShimError {
    #[error("cannot {action}: {source}")]
    System { action: &'static str, source: io::Error },
    #[error("cannot {action} {file}: {source}")]
    File { action: &'static str, file: &'static str, source: io::Error },
    #[error(transparent)]
    Record(#[from] record::RecordError),
    #[error("{file} is missing", file = record::LAUNCH)]
    NoLaunch,
}

/// Adds to an error of the system what was attempted.
trait Attempted<T> {
    fn attempted(self, action: &'static str) -> Result<T, ShimError>;
    fn attempted_on(self, action: &'static str, file: &'static str) -> Result<T, ShimError>;
}

impl<T, E: Into<io::Error>> Attempted<T> for Result<T, E> {
    fn attempted(self, action: &'static str) -> Result<T, ShimError> {
        self.map_err(|error| ShimError::System { action, source: error.into() })
    }

    fn attempted_on(self, action: &'static str, file: &'static str) -> Result<T, ShimError> {
        self.map_err(|error| ShimError::File { action, file, source: error.into() })
    }
}

/// Runs as the shim of the attempt in this directory, from the start of the child to its recorded end.
///
/// To be called before the process has opened any file or started any thread.
/// The caller is the daemon, which passes the locked `lock` file as standard input. The code is 0 when the end was
/// recorded.
pub fn main(dir: &Path) -> ExitCode {
    match run(dir) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

/// Writes down what went wrong in the shim itself; nobody reads its standard error.
fn log(message: &str) {
    if let Ok(mut file) = File::options().create(true).append(true).open(record::SHIM_LOG) {
        let _ = writeln!(file, "{message}");
    }
}

fn run(dir: &Path) -> Result<(), ShimError> {
    platform::block_signals().attempted("block signals")?;
    done(Step::SignalsBlocked);
    std::env::set_current_dir(dir).attempted("enter the attempt's directory")?;
    std::panic::set_hook(Box::new(|panic| log(&panic.to_string())));
    let _lock = detach()?;
    done(Step::Detached);

    let started_at = UnixNanos::now();
    match Attempt::begin(started_at) {
        Ok(attempt) => attempt.see_to_the_end(),
        Err(error) => {
            // Nothing has run. Told as well as possible: where even this cannot be written, a free lock without any
            // record says the same.
            let status = ExitStatus::ShimFailed { message: error.to_string() };
            let exit = Exit {
                version: record::VERSION,
                status,
                cause: Cause::Ended,
                started_at,
                finished_at: UnixNanos::now(),
                usage: record::Usage::default(),
                stdout: record::StreamTotals::default(),
                stderr: record::StreamTotals::default(),
                survivors: Vec::new(),
                survivors_not_listed: 0,
            };
            // The space may be reserved already, so the file is not made anew.
            let mut file = File::options()
                .write(true)
                .create(true)
                .truncate(false)
                .open(record::EXIT_RESERVED)
                .attempted_on("make", record::EXIT_RESERVED)?;
            write_exit(&mut file, &exit)?;
            Err(error)
        }
    }
}

/// Cuts the ties to the daemon. The lock that came as standard input stays open, out of the child's reach.
fn detach() -> Result<File, ShimError> {
    // Kernels before 5.9 cannot; then what was left open stays open.
    let _ = platform::close_inherited();
    let stdin = io::stdin();
    let lock = rustix::io::fcntl_dupfd_cloexec(&stdin, 3).attempted("keep the lock")?;
    let null = File::open("/dev/null").attempted_on("open", "/dev/null")?;
    nix::unistd::dup2_stdin(null).attempted("let go of standard input")?;
    // Fails only for the leader of a process group, which a shim started by hand may be.
    let _ = rustix::process::setsid();
    platform::become_subreaper().attempted("become the parent of orphans")?;
    Ok(lock.into())
}

/// A child and all that is held for it.
struct Attempt {
    launch: Launch,
    process: ProcessRecord,
    signals: Signals,
    capture: Capture,
    report: Option<Report>,
    exit_file: File,
    stop: Stop,
    leftovers: Leftovers,
    /// Why the program could not be started.
    spawn_failure: Option<ExitStatus>,
    /// How the child ended, once it was waited for.
    ended: Option<WaitStatus>,
    /// Whether no child is left, and so no descendant.
    alone: bool,
}

impl Attempt {
    /// Prepares everything and lets the child run.
    fn begin(started_at: UnixNanos) -> Result<Self, ShimError> {
        let LaunchRecord { attempt, launch, soft_nofile, .. } =
            record::read(Path::new(record::LAUNCH))?.ok_or(ShimError::NoLaunch)?;
        done(Step::LaunchRead);
        let signals = Signals::open().attempted("listen to signals")?;
        let (capture, outputs) = Capture::new(launch.limits.output).attempted("make the output files")?;
        done(Step::OutputsMade);
        let exit_file = reserve_exit()?;
        done(Step::ExitReserved);

        let waiting = child::fork(&launch, soft_nofile, outputs).attempted("fork the child")?;
        done(Step::Forked);
        let process = ProcessRecord {
            version: record::VERSION,
            attempt,
            child: identify(waiting.pid)?,
            pgid: raw(waiting.pid),
            shim: identify(rustix::process::getpid())?,
            boot_id: platform::boot_id().attempted("read the boot id")?,
            started_at,
        };
        write_process(&process)?;

        let now = Instant::now();
        let mut attempt = Self {
            stop: Stop::new(launch.limits, now),
            launch,
            process,
            signals,
            capture,
            report: None,
            exit_file,
            leftovers: Leftovers::default(),
            spawn_failure: None,
            ended: None,
            alone: false,
        };
        // A stop that came until now is obeyed before the program begins: letting the child see the gate close
        // makes it end.
        attempt.hear();
        if attempt.stop.under_way() {
            drop(waiting);
            attempt.spawn_failure = Some(ExitStatus::NotStarted);
        } else {
            attempt.report = Some(waiting.release().attempted("let the child run")?);
            done(Step::Released);
        }
        Ok(attempt)
    }

    /// Captures, watches and stops until nothing is left to wait for, then writes down how it ended.
    fn see_to_the_end(mut self) -> Result<(), ShimError> {
        self.reap();
        let fate = loop {
            if let Some(fate) = self.decide(Instant::now()) {
                break fate;
            }
            self.wait_for_something()?;
        };
        done(Step::LeftoversKnown);
        self.capture.finish();
        done(Step::Captured);
        self.record_end(fate)
    }

    /// Does what is due; at the end, says what is the fate of those who are still alive.
    fn decide(&mut self, now: Instant) -> Option<Fate> {
        let grace = self.launch.stop.grace;
        if self.ended.is_some() {
            if self.alone {
                return Some(Fate::Unkillable);
            }
            if !self.stop.under_way() {
                self.leftovers.look();
                match self.launch.leftovers {
                    Policy::Keep => return Some(Fate::Kept),
                    Policy::Kill => self.stop.ask(Cause::Ended, grace),
                    Policy::Wait => {}
                }
            }
        }
        self.stop.check_limits(now, self.capture.last_output(), self.capture.exceeded(), grace);
        match self.stop.action(now) {
            Action::Wait => {}
            Action::Ask => self.send_first_signal(),
            Action::GiveUp if self.ended.is_some() => return Some(Fate::Unkillable),
            // The child itself is never given up: how it ended could not be told.
            Action::Kill | Action::GiveUp => self.send_kill(),
        }
        None
    }

    fn send_first_signal(&mut self) {
        if self.ended.is_some() {
            // Not SIGINT: a shell has its background jobs ignore that.
            self.leftovers.signal(Signal::TERM);
        } else {
            let group = self.group();
            platform::signal_group(group, signal_number(self.launch.stop.first_signal));
            // A child that is stopped could not act on it.
            platform::signal_group(group, Signal::CONT);
        }
        done(Step::StopSent);
    }

    fn send_kill(&mut self) {
        if self.ended.is_none() {
            // The child was not waited for, so its pid, and with it the group's number, is still its own.
            platform::signal_group(self.group(), Signal::KILL);
        }
        self.leftovers.signal(Signal::KILL);
    }

    fn group(&self) -> Pid {
        // A recorded pid was a pid.
        Pid::from_raw(self.process.pgid).unwrap_or(Pid::INIT)
    }

    /// Sleeps until there is output, a signal, or a time to act, and takes what has come.
    fn wait_for_something(&mut self) -> Result<(), ShimError> {
        let timeout = self.stop.next_look(self.capture.last_output()).map(until);
        let pipes = self.capture.pipes();
        let sources = [Some(self.signals.as_fd()), self.report.as_ref().map(AsFd::as_fd), pipes[0], pipes[1]];
        // A source that is closed gives its place to one that is always there and is asked for nothing.
        let mut polled = sources.map(|source| match source {
            Some(source) => PollFd::from_borrowed_fd(source, PollFlags::IN),
            None => PollFd::new(&self.signals, PollFlags::empty()),
        });
        match rustix::event::poll(&mut polled, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).attempted("wait for output and signals"),
        }
        let [signals, report, stdout, stderr] = polled.map(|polled| polled.revents());
        if !report.is_empty() {
            self.read_report();
        }
        for (place, ready) in [(0, stdout), (1, stderr)] {
            if !ready.is_empty() {
                self.capture.drain(place, ready);
            }
        }
        if !signals.is_empty() && self.hear() {
            self.reap();
        }
        Ok(())
    }

    /// Takes the signals that have come; whether a child may have ended.
    fn hear(&mut self) -> bool {
        let mut child_ended = false;
        while let Some(signal) = self.signals.next() {
            match signal {
                Signal::TERM => self.stop.ask(Cause::Stopped, self.launch.stop.grace),
                Signal::QUIT => self.stop.kill(Instant::now()),
                _ => child_ended = true,
            }
        }
        child_ended
    }

    /// Waits for those who have ended.
    fn reap(&mut self) {
        let mut child_ended = false;
        self.alone = loop {
            match platform::reap() {
                Ok(Some((pid, status))) if raw(pid) == self.process.child.pid => {
                    self.ended = Some(status);
                    child_ended = true;
                }
                Ok(Some(_)) => {}
                Ok(None) => break false,
                Err(_) => break true,
            }
        };
        if child_ended {
            self.read_report();
            done(Step::ChildEnded);
            if self.stop.under_way() && !self.alone {
                self.send_first_signal();
            }
        }
    }

    fn read_report(&mut self) {
        if let Some(report) = self.report.take() {
            self.spawn_failure = report.read(&self.launch);
            done(Step::Started);
        }
    }

    fn record_end(mut self, fate: Fate) -> Result<(), ShimError> {
        let child = self.process.child.pid;
        let (survivors, survivors_not_listed) = std::mem::take(&mut self.leftovers).survivors(child, fate);
        let [stdout, stderr] = self.capture.totals();
        let exit = Exit {
            version: record::VERSION,
            status: self.spawn_failure.take().unwrap_or_else(|| told_by(self.ended)),
            cause: self.stop.cause(),
            started_at: self.process.started_at,
            finished_at: UnixNanos::now(),
            usage: platform::usage_of_children(),
            stdout,
            stderr,
            survivors,
            survivors_not_listed,
        };
        self.capture.sync();
        done(Step::OutputSynced);
        write_exit(&mut self.exit_file, &exit)
    }
}

fn told_by(status: Option<WaitStatus>) -> ExitStatus {
    let signal = status.and_then(WaitStatus::terminating_signal).map(ExitStatus::Signal);
    let code = status.and_then(WaitStatus::exit_status).map(ExitStatus::Code);
    // Nothing else is asked of `wait` than those two, and the loop ends only with one of them.
    signal.or(code).unwrap_or(ExitStatus::NotStarted)
}

fn signal_number(first: FirstSignal) -> Signal {
    match first {
        FirstSignal::Term => Signal::TERM,
        FirstSignal::Int => Signal::INT,
        FirstSignal::Hup => Signal::HUP,
        FirstSignal::Usr1 => Signal::USR1,
    }
}

fn until(moment: Instant) -> Timespec {
    let rest = moment.saturating_duration_since(Instant::now());
    // More than can be expressed is never reached.
    Timespec::try_from(rest).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 })
}

fn raw(pid: Pid) -> i32 {
    pid.as_raw_nonzero().get()
}

fn identify(pid: Pid) -> Result<ProcessId, ShimError> {
    let gone = || io::Error::from(io::ErrorKind::NotFound);
    platform::identify(raw(pid)).ok_or_else(gone).attempted("identify a process")
}

/// Makes sure that the end can be told even when the disk is full by then.
fn reserve_exit() -> Result<File, ShimError> {
    let file = File::create_new(record::EXIT_RESERVED).attempted_on("make", record::EXIT_RESERVED)?;
    platform::reserve(&file, RESERVED).attempted_on("reserve space for", record::EXIT)?;
    Ok(file)
}

/// Writes down who runs, so that it survives a loss of power from before the child may run.
///
/// Written in place: a half-written record is known by its missing end, and means the same as none.
fn write_process(process: &ProcessRecord) -> Result<(), ShimError> {
    let mut file = File::create_new(record::PROCESS).attempted_on("make", record::PROCESS)?;
    record::write(&mut file, process).attempted_on("write", record::PROCESS)?;
    done(Step::ProcessWritten);
    file.sync_all().attempted_on("sync", record::PROCESS)?;
    done(Step::ProcessSynced);
    // The directory itself is as new as the file.
    sync_directory(".")?;
    sync_directory("..")?;
    done(Step::ProcessDurable);
    Ok(())
}

fn write_exit(file: &mut File, exit: &Exit) -> Result<(), ShimError> {
    let length = record::write(file, exit).attempted_on("write", record::EXIT)?;
    file.set_len(length).attempted_on("cut", record::EXIT)?;
    done(Step::ExitWritten);
    file.sync_all().attempted_on("sync", record::EXIT)?;
    done(Step::ExitSynced);
    std::fs::rename(record::EXIT_RESERVED, record::EXIT).attempted_on("name", record::EXIT)?;
    done(Step::ExitNamed);
    sync_directory(".")?;
    done(Step::ExitDurable);
    Ok(())
}

fn sync_directory(path: &'static str) -> Result<(), ShimError> {
    let directory = File::open(path).attempted_on("open", path)?;
    directory.sync_all().attempted_on("sync", path)
}
