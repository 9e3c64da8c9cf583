//! `spindle trace`: what Codex's sessions tell, and what can be made of them.

mod filter;
mod ingest;
mod report;
mod session;
mod sessions;
mod signal;
mod signals;
mod stats;
mod verify;
mod view;
mod watch;
mod write;

use clap::Subcommand;

use crate::app::App;
use crate::error::CtlError;
use crate::exit::Exit;

#[derive(Debug, Subcommand)]
pub(crate) enum TraceCommand {
    /// List sessions, newest first
    #[command(visible_alias = "ls")]
    Sessions(sessions::SessionsArgs),
    /// Show one session
    Session(session::SessionArgs),
    /// List the user turns of a session
    Turns(session::TurnsArgs),
    /// List the tool calls of a session
    Calls(session::CallsArgs),
    /// List signals of friction and delight: the newest session first, each in its order
    Signals(signals::SignalsArgs),
    /// Show a signal and the records that it stands on
    Show(signal::ShowArgs),
    /// Tell where agents struggle and where they shine
    Report(report::ReportArgs),
    /// Show signals as they happen
    Watch(watch::WatchArgs),
    /// Look at all files now, and read what is new
    Ingest(ingest::IngestArgs),
    /// Check spines and rollouts against their format
    Verify(verify::VerifyArgs),
    /// Show what is watched, read and stored
    Stats(stats::StatsArgs),
    /// Write a session as a bundle, to hand on
    Bundle(write::BundleArgs),
    /// Write a session as ATIF trajectories
    Atif(write::AtifArgs),
    /// Make a Harbor task of a moment of a session
    Distill(write::DistillArgs),
    /// Gather tasks into a dataset
    Dataset(write::DatasetArgs),
    /// Write everything as an SQLite database or as JSON lines
    Export(write::ExportArgs),
    /// Write a trace spine from a rollout
    Record(write::RecordArgs),
}

impl TraceCommand {
    pub(crate) async fn perform(self, app: &App) -> Result<Exit, CtlError> {
        let client = app.client().await?;
        match self {
            Self::Sessions(args) => args.perform(app, &client).await,
            Self::Session(args) => args.perform(app, &client).await,
            Self::Turns(args) => args.perform(app, &client).await,
            Self::Calls(args) => args.perform(app, &client).await,
            Self::Signals(args) => args.perform(app, &client).await,
            Self::Show(args) => args.perform(app, &client).await,
            Self::Report(args) => args.perform(app, &client).await,
            Self::Watch(args) => args.perform(app, client).await,
            Self::Ingest(args) => args.perform(app, &client).await,
            Self::Verify(args) => args.perform(app, &client).await,
            Self::Stats(args) => args.perform(app, &client).await,
            Self::Bundle(args) => args.perform(app, &client).await,
            Self::Atif(args) => args.perform(app, &client).await,
            Self::Distill(args) => args.perform(app, &client).await,
            Self::Dataset(args) => args.perform(app, &client).await,
            Self::Export(args) => args.perform(app, &client).await,
            Self::Record(args) => args.perform(app, &client).await,
        }
    }
}
