//! The approval service.

use engine::{Approval, Engine, IdPrefix, Verdict};
use spindle_client::v1;
use spindle_client::v1::approval_service_server::ApprovalService;
use tonic::{Code, Request, Response, Status};

use super::error::{from_run, invalid, status};
use super::view::time;

/// Serves approvals.
#[derive(Clone)]
pub(crate) struct Approvals {
    engine: Engine,
}

impl Approvals {
    /// Over an engine.
    pub(crate) fn new(engine: Engine) -> Self {
        Self { engine }
    }

    fn find(&self, text: &str) -> Result<Approval, Status> {
        let prefix: IdPrefix =
            text.parse().map_err(|error: engine::InvalidId| invalid("INVALID_ID", error.to_string()))?;
        let all = self.engine.approvals();
        let mut fitting = all.into_iter().filter(|approval| prefix.range().contains(&approval.id));
        match (fitting.next(), fitting.next()) {
            (Some(one), None) => Ok(one),
            (Some(_), Some(_)) => {
                Err(invalid("AMBIGUOUS_ID", format!("{text:?} fits more than one approval")))
            }
            (None, _) => {
                let hint = "`spindle approval ls` lists those that wait";
                Err(status(Code::NotFound, "APPROVAL_NOT_FOUND", format!("no approval {text:?} waits"), hint))
            }
        }
    }
}

#[tonic::async_trait]
impl ApprovalService for Approvals {
    async fn list_approvals(
        &self,
        _: Request<v1::ListApprovalsRequest>,
    ) -> Result<Response<v1::ListApprovalsResponse>, Status> {
        let approvals = self.engine.approvals().iter().map(view).collect();
        Ok(Response::new(v1::ListApprovalsResponse { approvals }))
    }

    async fn get_approval(
        &self,
        request: Request<v1::GetApprovalRequest>,
    ) -> Result<Response<v1::Approval>, Status> {
        Ok(Response::new(view(&self.find(&request.get_ref().approval)?)))
    }

    async fn decide(&self, request: Request<v1::DecideRequest>) -> Result<Response<v1::Approval>, Status> {
        let by = peer_name(&request);
        let request = request.into_inner();
        let verdict = match v1::Decision::try_from(request.decision) {
            Ok(v1::Decision::Granted) => Verdict::Granted,
            Ok(v1::Decision::Denied) => Verdict::Denied,
            _ => return Err(invalid("INVALID_SPEC", "a decision is granted or denied")),
        };
        let approval = self.find(&request.approval)?;
        let decided =
            self.engine.decide(approval.id, verdict, &by, &request.comment).await.map_err(from_run)?;
        Ok(Response::new(view(&decided)))
    }
}

/// The user at the other end of the socket.
fn peer_name<T>(request: &Request<T>) -> String {
    let info = request.extensions().get::<tonic::transport::server::UdsConnectInfo>();
    let uid = info.and_then(|info| info.peer_cred).map(|credentials| credentials.uid());
    let Some(uid) = uid else { return "unknown".to_owned() };
    match nix::unistd::User::from_uid(uid.into()) {
        Ok(Some(user)) => user.name,
        _ => format!("uid {uid}"),
    }
}

fn wire(verdict: Verdict) -> v1::Decision {
    match verdict {
        Verdict::Granted => v1::Decision::Granted,
        Verdict::Denied => v1::Decision::Denied,
    }
}

fn view(approval: &Approval) -> v1::Approval {
    let decision = approval.decision.as_ref();
    v1::Approval {
        id: approval.id.to_string(),
        run_id: approval.run.to_string(),
        step: approval.step.clone(),
        prompt: approval.prompt.clone(),
        requested_at: Some(time(approval.requested_at)),
        expires_at: approval.expires_at.map(time),
        default_decision: wire(approval.default).into(),
        decision: decision.map_or(v1::Decision::Unspecified, |decision| wire(decision.verdict)).into(),
        decided_at: decision.map(|decision| time(decision.at)),
        decided_by: decision.map(|decision| decision.by.clone()).unwrap_or_default(),
        comment: decision.map(|decision| decision.comment.clone()).unwrap_or_default(),
    }
}
