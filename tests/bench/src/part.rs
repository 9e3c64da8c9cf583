//! What this program becomes when a measurement needs another process.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::programs::OWN;

/// The word before a part's own arguments.
const WORD: &str = "play-part";

/// How sled is opened by the daemon, bytes of its cache.
const CACHE: u64 = 8 << 20;

/// The parts.
#[derive(Debug)]
pub(crate) enum Part {
    /// A gRPC server with one method that does nothing, on this socket.
    Echo(PathBuf),
    /// Opens a sled database, writes one row and sleeps.
    OpenStore(PathBuf),
    /// Writes blocks of `block` bytes to standard output, `total` bytes in all.
    Write {
        /// Bytes of one write.
        block: usize,
        /// Bytes in all.
        total: usize,
    },
}

impl Part {
    /// The part that this process was started for, if it was for one.
    pub(crate) fn from_arguments() -> Option<Result<Self>> {
        let mut arguments = std::env::args_os().skip(1);
        arguments.next().filter(|word| word == WORD)?;
        Some(Self::parse(&arguments.collect::<Vec<_>>()))
    }

    fn parse(arguments: &[OsString]) -> Result<Self> {
        let text: Vec<String> = arguments.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        match text.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["echo", socket] => Ok(Self::Echo(socket.into())),
            ["open-store", path] => Ok(Self::OpenStore(path.into())),
            ["write", block, total] => Ok(Self::Write { block: block.parse()?, total: total.parse()? }),
            _ => bail!("no such part: {text:?}"),
        }
    }

    /// The arguments that make this program play the part.
    pub(crate) fn arguments(&self) -> Vec<OsString> {
        let mut words: Vec<OsString> = vec![WORD.into()];
        match self {
            Self::Echo(socket) => words.extend(["echo".into(), socket.into()]),
            Self::OpenStore(path) => words.extend(["open-store".into(), path.into()]),
            Self::Write { block, total } => {
                words.extend(["write".into(), block.to_string().into(), total.to_string().into()]);
            }
        }
        words
    }

    /// A process that plays the part.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&*OWN);
        command.args(self.arguments());
        command
    }

    pub(crate) fn play(self) -> Result<()> {
        match self {
            Self::Echo(socket) => echo(&socket),
            Self::OpenStore(path) => open_store(&path),
            Self::Write { block, total } => write(block, total).context("cannot write"),
        }
    }
}

struct Echo;

#[tonic::async_trait]
impl Health for Echo {
    type WatchStream = tokio_stream::Empty<Result<HealthCheckResponse, Status>>;

    async fn check(&self, _: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        Ok(Response::new(HealthCheckResponse { status: ServingStatus::Serving.into() }))
    }

    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("this server only answers"))
    }
}

fn echo(socket: &std::path::Path) -> Result<()> {
    // As many threads as the daemon has.
    let threads = std::thread::available_parallelism().map_or(2, |cores| cores.get().clamp(2, 4));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    runtime.block_on(async {
        let incoming = UnixListenerStream::new(UnixListener::bind(socket)?);
        let server = tonic::transport::Server::builder().add_service(HealthServer::new(Echo));
        server.serve_with_incoming(incoming).await.context("the echo server has failed")
    })
}

fn open_store(path: &std::path::Path) -> Result<()> {
    let store = sled::Config::new().path(path).cache_capacity(CACHE).flush_every_ms(None).open()?;
    // Like the daemon's first commit, this starts sled's threads, which wake up once a second each.
    store.insert([0], &[0])?;
    store.flush()?;
    println!("open");
    loop {
        std::thread::park();
    }
}

fn write(block: usize, total: usize) -> io::Result<()> {
    let bytes = vec![b'x'; block];
    // Without the line buffer of the standard library.
    let mut out = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    for _ in 0..total / block {
        out.write_all(&bytes)?;
    }
    Ok(())
}
