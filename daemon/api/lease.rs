//! The lease service.

use engine::{Engine, LeaseKey, LeaseView};
use spindle_client::v1;
use spindle_client::v1::lease_service_server::LeaseService;
use tonic::{Code, Request, Response, Status};

use super::error::{from_run, status};
use super::view;

/// Serves leases.
#[derive(Clone)]
pub(crate) struct Leases {
    engine: Engine,
}

impl Leases {
    /// Over an engine.
    pub(crate) fn new(engine: Engine) -> Self {
        Self { engine }
    }

    fn find(&self, key: &str) -> Result<LeaseView, Status> {
        let found = self.engine.leases().into_iter().find(|lease| lease.key.0 == key);
        found.ok_or_else(|| from_run(engine::RunError::NoLease(LeaseKey(key.to_owned()))))
    }
}

#[tonic::async_trait]
impl LeaseService for Leases {
    async fn list_leases(
        &self,
        _: Request<v1::ListLeasesRequest>,
    ) -> Result<Response<v1::ListLeasesResponse>, Status> {
        let leases = self.engine.leases().iter().map(|lease| view::lease(&self.engine, lease)).collect();
        Ok(Response::new(v1::ListLeasesResponse { leases }))
    }

    async fn get_lease(&self, request: Request<v1::GetLeaseRequest>) -> Result<Response<v1::Lease>, Status> {
        let lease = self.find(&request.get_ref().key)?;
        Ok(Response::new(view::lease(&self.engine, &lease)))
    }

    async fn break_lease(
        &self,
        request: Request<v1::BreakLeaseRequest>,
    ) -> Result<Response<v1::Lease>, Status> {
        let v1::BreakLeaseRequest { key, force } = request.into_inner();
        let lease = self.find(&key)?;
        let shown = view::lease(&self.engine, &lease);
        if !force {
            let text = format!("{key} is held by run {}, which is {}", lease.run, lease.holder_state.word());
            let hint = "cancel that run, or use --force, which kills it";
            return Err(status(Code::FailedPrecondition, "HOLDER_ALIVE", text, hint));
        }
        // A lease ends with its run and in no other way, so that two runs can never both believe
        // that they hold it.
        let reason = format!("its lease {key} was broken by force");
        self.engine.kill(lease.run, &reason).await.map_err(from_run)?;
        self.engine.wait(lease.run).await.map_err(from_run)?;
        Ok(Response::new(shown))
    }
}
