//! `spindle trace signals`: signals, those of the newest session first.

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use spindle_client::Client;
use spindle_client::v1::{ListSignalsRequest, RuleSet, Signal};

use super::filter::{FilterArgs, SignalArgs};
use super::view::{SignalView, type_tone, type_word};
use crate::app::App;
use crate::error::{CtlError, calling};
use crate::exit::Exit;
use crate::page::PageArgs;
use crate::show::table::{Cell, Table, Tone, short_id, short_ids};
use crate::show::time::{relative, timestamp};

const AFTER_HELP: &str = "\
Examples:
  spindle trace signals --since 1d --min-severity 0.6
  spindle trace signals --session 01930f5e --type friction
  spindle trace signals --category denial_exec,denial_patch --repository payments
  spindle --json trace signals --rules compat --all | jq '.signals | length'
  spindle trace show SIGNAL                # the records that a signal stands on";

/// Which rules.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum RulesChoice {
    /// The corrected rules, live
    V1,
    /// What the earlier tool gives, worked out anew
    Compat,
}

#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct SignalsArgs {
    #[command(flatten)]
    which: SignalArgs,

    /// Only of this session: its id, or the beginning of it
    #[arg(long, value_name = "SESSION")]
    session: Option<String>,

    /// By which rules
    #[arg(long, value_enum, default_value = "v1", value_name = "RULES")]
    rules: RulesChoice,

    #[command(flatten)]
    page: PageArgs,

    #[command(flatten)]
    filter: FilterArgs,
}

impl SignalsArgs {
    pub(crate) async fn perform(self, app: &App, client: &Client) -> Result<Exit, CtlError> {
        let base = self.request();
        let ask = async |page_size, page_token| {
            let request = ListSignalsRequest { page_size, page_token, ..base.clone() };
            let answer = client.signals().list_signals(request).await?.into_inner();
            Ok((answer.signals, answer.next_page_token))
        };
        let page = self.page.collect(ask).await.map_err(calling("list signals"))?;
        page.show(app, "signals", SignalView::from, |signals| app.out.table(&table(signals), "no signals"))
    }

    fn request(&self) -> ListSignalsRequest {
        ListSignalsRequest {
            page_size: 0,
            page_token: String::new(),
            rules: match self.rules {
                RulesChoice::V1 => RuleSet::V1,
                RulesChoice::Compat => RuleSet::Compat,
            }
            .into(),
            r#type: self.which.wire_type(),
            categories: self.which.categories.clone(),
            min_severity: self.which.min_severity,
            session: self.session.clone().unwrap_or_default(),
            filter: Some(self.filter.to_wire(&[])),
        }
    }
}

fn table(signals: &[Signal]) -> Table<7> {
    let now = Timestamp::now();
    let sessions = short_ids(signals.iter().map(|signal| signal.session_id.as_str()));
    let mut table = Table::new(["SIGNAL", "WHEN", "TYPE", "CATEGORY", "SEVERITY", "SESSION", "WHAT"]);
    for signal in signals {
        let kind = signal.r#type();
        let category = if signal.settled {
            Cell::from(signal.category.as_str())
        } else {
            Cell::new(&signal.category, Tone::Busy)
        };
        table.row([
            short_id(&signal.id, 16).into(),
            relative(timestamp(signal.at.as_ref()), now).into(),
            Cell::new(type_word(kind), type_tone(kind)),
            category,
            format!("{:.2}", signal.severity).into(),
            short_id(&signal.session_id, sessions).into(),
            signal.description.as_str().into(),
        ]);
    }
    table
}
