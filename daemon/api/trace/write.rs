//! What is made of traces: bundles, trajectories, tasks, datasets, exports, spines.

use futures_util::Stream;
use spindle_client::v1;
use tonic::Status;

use super::query::Traces;

pub(super) async fn verify(
    _traces: &Traces,
    _request: v1::VerifyTraceRequest,
) -> Result<impl Stream<Item = Result<v1::Finding, Status>> + Send + use<>, Status> {
    Err::<futures_util::stream::Empty<_>, _>(Status::unimplemented("not yet"))
}

pub(super) async fn bundle(_: &Traces, _: v1::WriteBundleRequest) -> Result<v1::WrittenFiles, Status> {
    Err(Status::unimplemented("not yet"))
}

pub(super) async fn atif(_: &Traces, _: v1::WriteAtifRequest) -> Result<v1::WrittenFiles, Status> {
    Err(Status::unimplemented("not yet"))
}

pub(super) async fn distill(_: &Traces, _: v1::DistillTaskRequest) -> Result<v1::DistilledTask, Status> {
    Err(Status::unimplemented("not yet"))
}

pub(super) async fn dataset(_: v1::WriteDatasetRequest) -> Result<v1::WrittenDataset, Status> {
    Err(Status::unimplemented("not yet"))
}

pub(super) async fn export(_: &Traces, _: v1::ExportTracesRequest) -> Result<v1::WrittenFiles, Status> {
    Err(Status::unimplemented("not yet"))
}

pub(super) async fn record(_: &Traces, _: v1::RecordSpineRequest) -> Result<v1::RecordedSpine, Status> {
    Err(Status::unimplemented("not yet"))
}
