//! All services behind one router, with health and reflection.

use std::sync::Arc;

use engine::Engine;
use insight::{Externals, Insight};
use spindle_client::v1::approval_service_server::ApprovalServiceServer;
use spindle_client::v1::autorunner_service_server::AutorunnerServiceServer;
use spindle_client::v1::daemon_service_server::DaemonServiceServer;
use spindle_client::v1::lease_service_server::LeaseServiceServer;
use spindle_client::v1::run_service_server::RunServiceServer;
use spindle_client::v1::schedule_service_server::ScheduleServiceServer;
use spindle_client::v1::signal_service_server::SignalServiceServer;
use spindle_client::v1::trace_service_server::TraceServiceServer;
use spindle_client::v1::watch_service_server::WatchServiceServer;
use spindle_client::{PROTOCOL, v1};
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::transport::server::Router;
use tonic::{Code, Request, Status};

use crate::api;
use crate::tasks::Tasks;

/// What the services are about, beside the engine.
pub(crate) struct Faces {
    pub(crate) schedules: engine::schedule::SchedulerHandle,
    pub(crate) facts: Arc<api::DaemonFacts>,
    pub(crate) autorunner: api::Autorunner,
    pub(crate) insight: Insight,
    pub(crate) externals: Externals,
}

/// All services behind one router; streams end with `stopping`.
pub(crate) async fn router(
    engine: &Engine,
    tasks: &Tasks,
    faces: Faces,
    stopping: CancellationToken,
) -> Router {
    let Faces { schedules, facts, autorunner, insight, externals } = faces;
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<RunServiceServer<api::Runs>>().await;
    health.set_serving::<DaemonServiceServer<api::Daemon>>().await;
    let daemon = api::Daemon::new(engine.clone(), tasks.clone(), facts);
    let mut server = Server::builder();
    let mut router = server
        .add_service(health_service)
        // Without the handshake: after an upgrade, the new command must be able to restart the old daemon.
        .add_service(DaemonServiceServer::new(daemon))
        .add_service(RunServiceServer::with_interceptor(
            api::Runs::new(engine.clone(), stopping.clone()),
            same_protocol,
        ))
        .add_service(ApprovalServiceServer::with_interceptor(
            api::Approvals::new(engine.clone()),
            same_protocol,
        ))
        .add_service(ScheduleServiceServer::with_interceptor(
            api::Schedules::new(engine.clone(), schedules),
            same_protocol,
        ))
        .add_service(LeaseServiceServer::with_interceptor(api::Leases::new(engine.clone()), same_protocol))
        .add_service(AutorunnerServiceServer::with_interceptor(autorunner, same_protocol))
        .add_service(TraceServiceServer::with_interceptor(
            api::Traces::new(insight.clone(), stopping.clone()),
            same_protocol,
        ))
        .add_service(WatchServiceServer::with_interceptor(api::Watches::new(externals), same_protocol))
        .add_service(SignalServiceServer::with_interceptor(
            api::Signals::new(insight, stopping),
            same_protocol,
        ));
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(v1::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    // The descriptors are our own: were they not valid, no test would pass. Older clients ask for
    // the alpha version.
    if let (Ok(v1), Ok(alpha)) = (reflection().build_v1(), reflection().build_v1alpha()) {
        router = router.add_service(v1).add_service(alpha);
    }
    router
}

/// The version handshake: a client that says which protocol it speaks must speak this one.
fn same_protocol(request: Request<()>) -> Result<Request<()>, Status> {
    let spoken = request.metadata().get(spindle_client::PROTOCOL_HEADER);
    let spoken = spoken.and_then(|value| value.to_str().ok()).and_then(|value| value.parse::<u32>().ok());
    match spoken {
        Some(other) if other != PROTOCOL => {
            let text = format!("the client speaks protocol {other}, this daemon {PROTOCOL}");
            let hint = "restart the daemon after an upgrade (`spindle daemon restart`): runs go on";
            Err(api::status(Code::FailedPrecondition, "VERSION_MISMATCH", text, hint))
        }
        _ => Ok(request),
    }
}
