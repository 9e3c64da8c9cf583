//! The daemon's life, from its claim on the state directory to its end.

use std::convert::Infallible;
use std::env;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::pin::pin;
use std::process::{Command, ExitCode};
use std::thread::available_parallelism;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use spindle_client::Paths;
use tokio::runtime::{Builder, Runtime};

use crate::config::{Config, Source};
use crate::detach;
use crate::failure::Failure;
use crate::listen::{Listener, SocketFile};
use crate::lock::StateLock;
use crate::logging::Log;
use crate::notify::Starter;
use crate::power::keep_awake;
use crate::serve::{Daemon, ServeError, Start};
use crate::signals::{self, Request};

/// While runs are at work, a first signal waits this long for a second one, which is for them too. The end
/// of open calls and of the store have the rest of two seconds.
const SECOND_SIGNAL: Duration = Duration::from_millis(700);

/// What still blocks a thread after the store is closed may do so for this long.
const LAST_TASKS: Duration = Duration::from_millis(200);

/// Where the daemon works, and who started it.
pub(crate) struct Life {
    pub(crate) paths: Paths,
    pub(crate) source: Source,
    pub(crate) starter: Starter,
    /// Whether its standard error belongs to the process that started it, and the log goes to a file.
    pub(crate) in_background: bool,
}

impl Life {
    /// Is the daemon, until its end. It tells itself what goes wrong.
    pub(crate) fn live(mut self) -> ExitCode {
        let (config, _lock) = match self.claim() {
            Ok(claimed) => claimed,
            // There is no log yet.
            Err(failure) => return failure.print(),
        };
        let log = Log::begin(&config.daemon.log_level, config.daemon.log_format);
        let starter = self.starter.clone();
        let Err(failure) = self.run(config, log) else { return ExitCode::SUCCESS };
        if let Failure::Serve(ServeError::StoreBroken(problem)) = &failure {
            tracing::warn!(problem, "starting anew, in place: the store may be whole again");
            let Err(error) = start_anew();
            tracing::error!(%error, "cannot start anew");
        }
        tracing::error!("{failure}");
        starter.failed(&failure.to_string());
        failure.exit_code()
    }

    /// Makes the state directory ours.
    fn claim(&mut self) -> Result<(Config, StateLock), Failure> {
        let config = self.source.load()?.config;
        self.paths.prepare()?;
        let lock = StateLock::acquire(&self.paths.state_dir)?;
        if self.in_background {
            detach::write_to_log(&self.paths.log()).map_err(Failure::system("write to the log file"))?;
        }
        Ok((config, lock))
    }

    fn run(self, config: Config, log: Log) -> Result<(), Failure> {
        let runtime = runtime().map_err(Failure::system("start threads"))?;
        let result = runtime.block_on(self.work(config, log));
        runtime.shutdown_timeout(LAST_TASKS);
        result
    }

    async fn work(self, config: Config, log: Log) -> Result<(), Failure> {
        // Before anything that takes long: a signal that comes during it is not lost.
        let requests = signals::requests().map_err(Failure::system("listen for signals"))?;
        let (incoming, socket) = Listener::bind(&self.paths.socket).await?.into_incoming();
        let log_place = if self.in_background {
            self.paths.log().display().to_string()
        } else {
            "standard error".to_owned()
        };
        let source = self.source;
        let start = Start {
            paths: self.paths,
            config: config.clone(),
            log: log_place,
            incoming,
            reload: Box::new(move || {
                let new = source.load().map_err(|problems| problems.to_string())?.config;
                log.set_level(&new.daemon.log_level);
                Ok(new)
            }),
        };
        let daemon = self.starter.while_starting("opening the store", Daemon::start(start)).await?;
        let inhibit_sleep = config.power.inhibit_sleep;
        tracing::info!(version = env!("CARGO_PKG_VERSION"), socket = %socket.path().display(), "ready");
        self.starter.ready("serving");
        tokio::select! {
            () = answer(&daemon, requests, &self.starter) => {}
            () = self.starter.watchdog(async || daemon.probe().await) => {}
            () = keep_awake(daemon.busy()), if inhibit_sleep => {}
            () = SocketFile::keep_fresh(socket.path()) => {}
        }
        self.starter.stopping();
        daemon.end().await?;
        tracing::info!("ended");
        Ok(())
    }
}

/// Answers signals until it is time to end.
async fn answer(daemon: &Daemon, mut requests: impl Stream<Item = Request> + Unpin, starter: &Starter) {
    loop {
        let request = tokio::select! {
            () = daemon.stopping() => return,
            request = requests.next() => request,
        };
        match request {
            Some(Request::Reload) => {
                starter.reloading();
                starter.ready(&reload(daemon));
            }
            Some(Request::Terminate | Request::TerminateAgain) | None => break,
        }
    }
    daemon.terminate();
    if !*daemon.busy().borrow() {
        return;
    }
    tracing::info!("ending; processes of runs go on. Another signal stops them first");
    let second = requests.filter(|request| std::future::ready(*request == Request::TerminateAgain));
    if tokio::time::timeout(SECOND_SIGNAL, pin!(second).next()).await.is_ok() {
        daemon.terminate();
    }
}

/// Reads the configuration again, and says how that went.
fn reload(daemon: &Daemon) -> String {
    match daemon.reload() {
        Ok(differ) if differ.is_empty() => {
            tracing::info!("the configuration was read again");
            "serving".to_owned()
        }
        Ok(differ) => {
            let keys = differ.join(", ");
            tracing::warn!(keys, "the configuration was read again; these settings wait for the next start");
            format!("serving; at the next start change: {keys}")
        }
        Err(problems) => {
            tracing::error!("the configuration is not valid, and the old one stays:\n{problems}");
            "serving; the changed configuration is not valid".to_owned()
        }
    }
}

/// What the daemon does is waiting, mostly: more threads only cost memory.
fn runtime() -> io::Result<Runtime> {
    let threads = available_parallelism().map_or(2, |cores| cores.get().clamp(2, 4));
    Builder::new_multi_thread().worker_threads(threads).thread_name("spindled").enable_all().build()
}

/// Takes the place of this process with the same program and the same arguments.
fn start_anew() -> Result<Infallible, io::Error> {
    Err(Command::new(env::current_exe()?).args(env::args_os().skip(1)).exec())
}
