//! A connection to the daemon, and the clients of its services over it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use prost::Message;
use thiserror::Error;
use tonic::metadata::AsciiMetadataValue;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{GrpcMethod, Request, Status};

use crate::paths::{Paths, PathsError};
use crate::reconnect::{Reconnect, causes};
use crate::v1::approval_service_client::ApprovalServiceClient;
use crate::v1::autorunner_service_client::AutorunnerServiceClient;
use crate::v1::daemon_service_client::DaemonServiceClient;
use crate::v1::lease_service_client::LeaseServiceClient;
use crate::v1::run_service_client::RunServiceClient;
use crate::v1::schedule_service_client::ScheduleServiceClient;
use crate::v1::signal_service_client::SignalServiceClient;
use crate::v1::trace_service_client::TraceServiceClient;
use crate::v1::watch_service_client::WatchServiceClient;
use crate::v1::{DaemonInfo, GetInfoRequest, Run, StartRunRequest, WaitRunRequest};

/// Number of the wire protocol. Client and daemon must have the same.
pub const PROTOCOL: u32 = 1;

/// The metadata key under which every request carries [`PROTOCOL`].
pub const PROTOCOL_HEADER: &str = "spindle-protocol";

/// Largest message that either side accepts, in bytes.
pub const MAX_MESSAGE: usize = 4 * 1024 * 1024;

const GRPC_TIMEOUT: &str = "grpc-timeout";
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
const CALL_LIMIT: Duration = Duration::from_secs(30);

/// Calls that last as long as what they watch, read or write.
const UNBOUNDED: [&str; 14] = [
    "WaitRun",
    "WatchEvents",
    "ReadLog",
    "ReadLoopLog",
    "Export",
    "Ingest",
    "VerifyTrace",
    "WriteBundle",
    "WriteAtif",
    "DistillTask",
    "WriteDataset",
    "ExportTraces",
    "RecordSpine",
    "WatchSignals",
];

/// A connection whose requests are stamped with protocol and deadline.
pub type Transport = InterceptedService<Channel, Stamp>;

/// Why there is no connection to a daemon.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// Nobody listens: no socket, or one that a dead daemon left behind.
    #[error("no daemon answers on {socket:?}: {source}")]
    NoDaemon {
        /// Where it was looked for.
        socket: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The socket belongs to somebody else.
    #[error("not allowed to use the socket {socket:?}: {source}")]
    Denied {
        /// The socket.
        socket: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Something holds the socket and does not answer.
    #[error("the daemon on {socket:?} did not answer within {} seconds", CONNECT_LIMIT.as_secs())]
    Silent {
        /// The socket.
        socket: PathBuf,
    },
    /// The gRPC library takes socket paths as text only.
    #[error("the socket path {socket:?} is not UTF-8")]
    NotUnicode {
        /// The socket.
        socket: PathBuf,
    },
    /// The socket's directory is not to be trusted.
    #[error(transparent)]
    Directory(#[from] PathsError),
    /// Something listens that does not speak gRPC.
    #[error("what listens on {socket:?} is no Spindle daemon: {source}")]
    Foreign {
        /// The socket.
        socket: PathBuf,
        /// What the transport said.
        source: tonic::transport::Error,
    },
}

/// A message too large for the wire.
#[derive(Debug, Error)]
#[error("the request has {size} bytes; the daemon takes {MAX_MESSAGE} at most")]
pub struct TooLarge {
    /// Its encoded size in bytes.
    pub size: usize,
}

/// One connection, shared by all service clients made from it. Once made, it
/// is made again by itself when a call finds it cut.
#[derive(Debug, Clone)]
pub struct Client {
    channel: Channel,
}

impl Client {
    /// Connects to the daemon at `paths.socket`.
    pub async fn connect(paths: &Paths) -> Result<Self, ConnectError> {
        paths.check_socket_owner()?;
        let socket = &paths.socket;
        let text = socket.to_str().ok_or_else(|| ConnectError::NotUnicode { socket: socket.clone() })?;
        let foreign = |source| ConnectError::Foreign { socket: socket.clone(), source };
        let endpoint = Endpoint::from_shared(format!("unix://{text}")).map_err(foreign)?;
        match tokio::time::timeout(CONNECT_LIMIT, endpoint.connect()).await {
            Ok(Ok(channel)) => Ok(Self { channel }),
            Ok(Err(error)) => Err(classify(socket, error)),
            Err(_elapsed) => Err(ConnectError::Silent { socket: socket.clone() }),
        }
    }

    /// Runs: start, look, follow, end.
    pub fn runs(&self) -> RunServiceClient<Transport> {
        RunServiceClient::with_interceptor(self.channel.clone(), Stamp)
    }

    /// Steps that wait for a person's word.
    pub fn approvals(&self) -> ApprovalServiceClient<Transport> {
        ApprovalServiceClient::with_interceptor(self.channel.clone(), Stamp)
    }

    /// Triggers and the runs that they start.
    pub fn schedules(&self) -> ScheduleServiceClient<Transport> {
        ScheduleServiceClient::with_interceptor(self.channel.clone(), Stamp)
    }

    /// Exclusive claims held by runs.
    pub fn leases(&self) -> LeaseServiceClient<Transport> {
        LeaseServiceClient::with_interceptor(self.channel.clone(), Stamp)
    }

    /// Loops over the TODO lists of repositories.
    pub fn autorunner(&self) -> AutorunnerServiceClient<Transport> {
        AutorunnerServiceClient::with_interceptor(self.channel.clone(), Stamp)
    }

    /// Sessions of Codex, and what can be made of them.
    pub fn traces(&self) -> TraceServiceClient<Transport> {
        TraceServiceClient::with_interceptor(self.channel.clone(), Stamp)
    }

    /// Moments of friction and delight.
    pub fn signals(&self) -> SignalServiceClient<Transport> {
        SignalServiceClient::with_interceptor(self.channel.clone(), Stamp)
    }

    /// Directories where other tools keep runs.
    pub fn watches(&self) -> WatchServiceClient<Transport> {
        WatchServiceClient::with_interceptor(self.channel.clone(), Stamp)
    }

    /// The daemon itself.
    pub fn daemon(&self) -> DaemonServiceClient<Transport> {
        DaemonServiceClient::with_interceptor(self.channel.clone(), Stamp)
    }

    /// Who the daemon is, and how: at once, or it is not well.
    pub async fn info(&self) -> Result<DaemonInfo, Status> {
        let mut request = Request::new(GetInfoRequest {});
        request.set_timeout(CONNECT_LIMIT);
        Ok(self.daemon().get_info(request).await?.into_inner())
    }

    /// Starts a run. The request's id makes it safe to ask again when the
    /// connection is cut before the answer, so it must not be empty.
    pub async fn start_run(
        &self,
        request: StartRunRequest,
        reconnect: &mut Reconnect,
    ) -> Result<Run, Status> {
        if request.request_id.is_empty() {
            return Err(Status::invalid_argument("a start without a request id cannot be repeated safely"));
        }
        loop {
            match self.runs().start_run(request.clone()).await {
                Ok(answer) => {
                    reconnect.answered();
                    return Ok(answer.into_inner());
                }
                Err(status) => reconnect.after(status).await?,
            }
        }
    }

    /// Answers when the run has ended, whatever becomes of the daemon in the
    /// meantime.
    pub async fn wait_run(&self, run: &str, reconnect: &mut Reconnect) -> Result<Run, Status> {
        loop {
            match self.runs().wait_run(WaitRunRequest { run: run.to_owned() }).await {
                Ok(answer) => {
                    reconnect.answered();
                    return Ok(answer.into_inner());
                }
                Err(status) => reconnect.after(status).await?,
            }
        }
    }
}

/// Says before the wire does that a request is too large for it.
pub fn check_size(request: &impl Message) -> Result<(), TooLarge> {
    match request.encoded_len() {
        size if size > MAX_MESSAGE => Err(TooLarge { size }),
        _ => Ok(()),
    }
}

/// Puts the protocol's number on every request, and a deadline on those that
/// set none and should have one.
#[derive(Debug, Clone, Copy)]
pub struct Stamp;

impl Interceptor for Stamp {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let unbounded = request
            .extensions()
            .get::<GrpcMethod<'static>>()
            .is_some_and(|method| UNBOUNDED.contains(&method.method()));
        if !unbounded && !request.metadata().contains_key(GRPC_TIMEOUT) {
            request.set_timeout(CALL_LIMIT);
        }
        request.metadata_mut().insert(PROTOCOL_HEADER, AsciiMetadataValue::from(PROTOCOL));
        Ok(request)
    }
}

fn classify(socket: &Path, error: tonic::transport::Error) -> ConnectError {
    let socket = socket.to_path_buf();
    let found = causes(&error)
        .find_map(|cause| cause.downcast_ref::<io::Error>())
        .map(|source| (source.kind(), source.raw_os_error(), source.to_string()));
    let Some((kind, code, message)) = found else {
        return ConnectError::Foreign { socket, source: error };
    };
    // The original cannot be moved out of the chain.
    let source = code.map_or_else(|| io::Error::new(kind, message), io::Error::from_raw_os_error);
    match kind {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::NotADirectory => {
            ConnectError::NoDaemon { socket, source }
        }
        io::ErrorKind::PermissionDenied => ConnectError::Denied { socket, source },
        _ => ConnectError::Foreign { socket, source: error },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::run_template::Workflow;
    use crate::v1::{ExecSpec, RunTemplate};

    #[test]
    fn an_argument_of_ten_megabytes_is_refused_before_it_is_sent() {
        let exec = ExecSpec { argv: vec![vec![b'x'; 10_000_000]], ..ExecSpec::default() };
        let template = RunTemplate { workflow: Some(Workflow::Exec(exec)), options: None };
        let request = StartRunRequest { request_id: "1".into(), template: Some(template) };
        let words = check_size(&request).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(words.starts_with("the request has 10000") && words.contains("4194304"), "{words}");
        assert!(check_size(&StartRunRequest::default()).is_ok());
    }
}
