//! `spindle trace sessions`: sessions, newest first.

use clap::Args;
use jiff::Timestamp;
use spindle_client::Client;
use spindle_client::v1::{ListSessionsRequest, TraceSession};

use super::filter::FilterArgs;
use super::view::{SessionView, profile_tone};
use crate::app::App;
use crate::error::{CtlError, calling};
use crate::exit::Exit;
use crate::page::PageArgs;
use crate::show::table::{Cell, Table, Tone, short_id, short_ids};
use crate::show::time::{relative, timestamp};

const AFTER_HELP: &str = "\
Examples:
  spindle trace sessions --since 1d
  spindle trace sessions --category denial_exec,denial_patch --repository payments
  spindle --json trace sessions --all | jq -r '.sessions[] | [.id, .model, .friction] | @tsv'
  spindle --json trace sessions --limit 100 --page-token TOKEN";

#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct SessionsArgs {
    /// With at least one signal of this category, or of one of several
    #[arg(long = "category", value_name = "CATEGORY", value_delimiter = ',')]
    categories: Vec<String>,

    #[command(flatten)]
    page: PageArgs,

    #[command(flatten)]
    filter: FilterArgs,
}

impl SessionsArgs {
    pub(crate) async fn perform(self, app: &App, client: &Client) -> Result<Exit, CtlError> {
        let filter = self.filter.to_wire(&self.categories);
        let ask = async |page_size, page_token| {
            let request = ListSessionsRequest { page_size, page_token, filter: Some(filter.clone()) };
            let answer = client.traces().list_sessions(request).await?.into_inner();
            Ok((answer.sessions, answer.next_page_token))
        };
        let page = self.page.collect(ask).await.map_err(calling("list sessions"))?;
        page.show(app, "sessions", SessionView::from, |sessions| {
            app.out.table(&table(sessions), "no sessions: `spindle trace stats` shows what is watched")
        })
    }
}

fn table(sessions: &[TraceSession]) -> Table<9> {
    let now = Timestamp::now();
    let width = short_ids(sessions.iter().map(|session| session.id.as_str()));
    let mut table = Table::new([
        "SESSION", "SOURCE", "MODEL", "LAST", "TURNS", "CALLS", "FRICTION", "DELIGHT", "PROFILE",
    ]);
    for session in sessions {
        let counts = session.counts.unwrap_or_default();
        let friction = if session.friction > 0 { Tone::Bad } else { Tone::Plain };
        table.row([
            short_id(&session.id, width).into(),
            session.source.as_str().into(),
            session.model.as_str().into(),
            relative(timestamp(session.ended_at.as_ref()), now).into(),
            counts.turns.to_string().into(),
            counts.calls.to_string().into(),
            Cell::new(&session.friction.to_string(), friction),
            session.delight.to_string().into(),
            Cell::new(&session.profile, profile_tone(session)),
        ]);
    }
    table
}
