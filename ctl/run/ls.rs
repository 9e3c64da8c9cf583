//! `spindle run ls`: runs, newest first.

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use serde::Serialize;
use spindle_client::Client;
use spindle_client::v1::{ListRunsRequest, ListRunsResponse, Run, RunState};

use crate::app::App;
use crate::error::{CtlError, calling};
use crate::exit::Exit;
use crate::parse;
use crate::show::run::{RunView, table};
use crate::show::some;
use crate::show::time::to_wire;

/// Largest page that the daemon gives.
const PAGE: u32 = 500;

const AFTER_HELP: &str = "\
Examples:
  spindle run ls
  spindle run ls --state active --kind autorun
  spindle run ls --label team=infra --since 2d --all
  spindle --json run ls --limit 500 | jq -r '.runs[] | [.id, .state] | @tsv'
  spindle run ls --external                         # what other tools do
  spindle --json run ls --page-token TOKEN          # as next_page_token said";

/// A state, or a group of states.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum StateChoice {
    Queued,
    Running,
    Waiting,
    Succeeded,
    Failed,
    Canceled,
    Interrupted,
    /// queued, running or waiting
    Active,
    /// succeeded, failed, canceled or interrupted
    Ended,
}

impl StateChoice {
    fn states(self) -> &'static [RunState] {
        use RunState::{Canceled, Failed, Interrupted, Queued, Running, Succeeded, Waiting};
        match self {
            Self::Queued => &[Queued],
            Self::Running => &[Running],
            Self::Waiting => &[Waiting],
            Self::Succeeded => &[Succeeded],
            Self::Failed => &[Failed],
            Self::Canceled => &[Canceled],
            Self::Interrupted => &[Interrupted],
            Self::Active => &[Queued, Running, Waiting],
            Self::Ended => &[Succeeded, Failed, Canceled, Interrupted],
        }
    }
}

#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct LsArgs {
    /// Runs of other tools instead, from watched directories
    #[arg(long, conflicts_with_all = ["states", "kind", "labels", "name", "since"])]
    external: bool,

    /// Only runs in this state; may be repeated
    #[arg(long = "state", value_enum, value_name = "STATE")]
    states: Vec<StateChoice>,

    /// Only runs of this workflow, such as exec or autorun
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,

    /// Only runs with this label; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse::pair)]
    labels: Vec<(String, String)>,

    /// Only runs whose name contains this
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,

    /// Only runs created since then: 2h, 3d, or a time
    #[arg(long, value_name = "WHEN", value_parser = parse::past)]
    since: Option<Timestamp>,

    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,

    /// All of them, however many
    #[arg(long, conflicts_with = "limit")]
    all: bool,

    /// Go on where an earlier page ended
    #[arg(long, value_name = "TOKEN")]
    page_token: Option<String>,
}

#[derive(Serialize)]
struct PageView<'a> {
    runs: Vec<RunView<'a>>,
    next_page_token: Option<&'a str>,
}

impl LsArgs {
    pub(crate) async fn perform(self, app: &App, client: &Client) -> Result<Exit, CtlError> {
        if self.external {
            let limit = if self.all { usize::MAX } else { self.limit as usize };
            return super::external::list(app, client, limit, self.page_token.unwrap_or_default()).await;
        }
        let page = self.collect(client).await?;
        if app.out.is_json() {
            app.out.document(&PageView {
                runs: page.runs.iter().map(RunView::from).collect(),
                next_page_token: some(&page.next_page_token),
            })?;
            return Ok(Exit::DONE);
        }
        table(app.out, &page.runs, Timestamp::now())?;
        if !page.next_page_token.is_empty() {
            app.out.note("there are more: use --all or a larger --limit");
        }
        Ok(Exit::DONE)
    }

    /// Asks for as many pages as it takes.
    async fn collect(&self, client: &Client) -> Result<ListRunsResponse, CtlError> {
        let limit = if self.all { usize::MAX } else { self.limit as usize };
        let mut runs: Vec<Run> = Vec::new();
        let mut request = self.request();
        loop {
            request.page_size = u32::try_from(limit - runs.len()).unwrap_or(PAGE).min(PAGE);
            let page =
                client.runs().list_runs(request.clone()).await.map_err(calling("list runs"))?.into_inner();
            runs.extend(page.runs);
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() || runs.len() >= limit {
                return Ok(ListRunsResponse { runs, next_page_token: request.page_token });
            }
        }
    }

    fn request(&self) -> ListRunsRequest {
        let states = self.states.iter().flat_map(|choice| choice.states());
        ListRunsRequest {
            page_size: 0,
            page_token: self.page_token.clone().unwrap_or_default(),
            states: states.map(|state| i32::from(*state)).collect(),
            kind: self.kind.clone().unwrap_or_default(),
            labels: self.labels.iter().cloned().collect(),
            name: self.name.clone().unwrap_or_default(),
            created_after: self.since.map(to_wire),
            created_before: None,
        }
    }
}
