//! `spindle run ls`: runs, newest first.

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use spindle_client::Client;
use spindle_client::v1::{ListRunsRequest, RunState};

use crate::app::App;
use crate::error::{CtlError, calling};
use crate::exit::Exit;
use crate::page::PageArgs;
use crate::parse;
use crate::show::run::{RunView, table};
use crate::show::time::to_wire;

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

    #[command(flatten)]
    page: PageArgs,
}

impl LsArgs {
    pub(crate) async fn perform(self, app: &App, client: &Client) -> Result<Exit, CtlError> {
        if self.external {
            return super::external::list(app, client, &self.page).await;
        }
        let base = self.request();
        let ask = async |page_size, page_token| {
            let request = ListRunsRequest { page_size, page_token, ..base.clone() };
            let answer = client.runs().list_runs(request).await?.into_inner();
            Ok((answer.runs, answer.next_page_token))
        };
        let page = self.page.collect(ask).await.map_err(calling("list runs"))?;
        page.show(app, "runs", RunView::from, |runs| table(app.out, runs, Timestamp::now()))
    }

    fn request(&self) -> ListRunsRequest {
        let states = self.states.iter().flat_map(|choice| choice.states());
        ListRunsRequest {
            page_size: 0,
            page_token: String::new(),
            states: states.map(|state| i32::from(*state)).collect(),
            kind: self.kind.clone().unwrap_or_default(),
            labels: self.labels.iter().cloned().collect(),
            name: self.name.clone().unwrap_or_default(),
            created_after: self.since.map(to_wire),
            created_before: None,
        }
    }
}
