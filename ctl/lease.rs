//! `spindle lease`: see who holds what, and take it from the dead.

use clap::Subcommand;
use jiff::Timestamp;
use serde::Serialize;
use spindle_client::Client;
use spindle_client::v1::{BreakLeaseRequest, GetLeaseRequest, Lease, ListLeasesRequest};

use crate::app::App;
use crate::error::{CtlError, calling};
use crate::exit::Exit;
use crate::show::run::{HeartbeatView, state_word, tone};
use crate::show::table::{Cell, Table, short_id};
use crate::show::text::clean;
use crate::show::time::{local, relative, rfc3339, timestamp};

#[derive(Debug, Subcommand)]
pub(crate) enum LeaseCommand {
    /// List leases and their holders
    #[command(
        after_long_help = "Examples:\n  spindle lease ls\n  spindle --json lease ls | jq -r '.leases[].key'"
    )]
    Ls,
    /// Show one lease, its holder and who waits for it
    #[command(after_long_help = "Examples:\n  spindle lease show repo:/home/ada/project")]
    Show {
        /// Key of the lease, such as gpu:0
        key: String,
    },
    /// Take a lease from its holder
    #[command(
        after_long_help = "Refused while the holder lives, unless --force is given: then the holder is killed \
        first.\n\nExamples:\n  spindle lease break gpu:0\n  spindle lease break --force gpu:0"
    )]
    Break {
        /// Key of the lease, such as gpu:0
        key: String,
        /// Kill a holder that lives
        #[arg(long)]
        force: bool,
    },
}

#[derive(Serialize)]
struct LeaseView<'a> {
    key: &'a str,
    run_id: &'a str,
    holder_state: String,
    taken_at: Option<String>,
    heartbeat: Option<HeartbeatView>,
    waiting_run_ids: &'a [String],
}

impl<'a> From<&'a Lease> for LeaseView<'a> {
    fn from(lease: &'a Lease) -> Self {
        Self {
            key: &lease.key,
            run_id: &lease.run_id,
            holder_state: state_word(lease.holder_state()),
            taken_at: rfc3339(lease.taken_at.as_ref()),
            heartbeat: lease.heartbeat.as_ref().map(HeartbeatView::from),
            waiting_run_ids: &lease.waiting_run_ids,
        }
    }
}

#[derive(Serialize)]
struct LeasesView<'a> {
    leases: Vec<LeaseView<'a>>,
}

impl LeaseCommand {
    pub(crate) async fn perform(self, app: &App) -> Result<Exit, CtlError> {
        let client = app.client().await?;
        match self {
            Self::Ls => list(app, &client).await,
            Self::Show { key } => {
                let what = format!("show lease {}", clean(&key));
                let answer = client.leases().get_lease(GetLeaseRequest { key }).await;
                show(app, &answer.map_err(calling(what))?.into_inner())
            }
            Self::Break { key, force } => {
                let what = format!("break lease {}", clean(&key));
                let answer = client.leases().break_lease(BreakLeaseRequest { key, force }).await;
                let lease = answer.map_err(calling(what))?.into_inner();
                if app.out.is_json() {
                    return show(app, &lease);
                }
                app.out.note(&format!("lease {} is taken from run {}", clean(&lease.key), lease.run_id));
                Ok(Exit::DONE)
            }
        }
    }
}

async fn list(app: &App, client: &Client) -> Result<Exit, CtlError> {
    let answer = client.leases().list_leases(ListLeasesRequest {}).await;
    let leases = answer.map_err(calling("list leases"))?.into_inner().leases;
    if app.out.is_json() {
        app.out.document(&LeasesView { leases: leases.iter().map(LeaseView::from).collect() })?;
        return Ok(Exit::DONE);
    }
    let now = Timestamp::now();
    let mut table = Table::new(["KEY", "HOLDER", "STATE", "TAKEN", "HEARTBEAT", "WAITING"]);
    for lease in &leases {
        let beat = lease.heartbeat.as_ref().and_then(|beat| timestamp(beat.time.as_ref()));
        table.row([
            lease.key.as_str().into(),
            short_id(&lease.run_id, 13).into(),
            Cell::new(&state_word(lease.holder_state()), tone(lease.holder_state())),
            relative(timestamp(lease.taken_at.as_ref()), now).into(),
            relative(beat, now).into(),
            lease.waiting_run_ids.len().to_string().into(),
        ]);
    }
    app.out.table(&table, "nothing is held")?;
    Ok(Exit::DONE)
}

fn show(app: &App, lease: &Lease) -> Result<Exit, CtlError> {
    if app.out.is_json() {
        app.out.document(&LeaseView::from(lease))?;
        return Ok(Exit::DONE);
    }
    let beat = lease.heartbeat.as_ref().and_then(|beat| timestamp(beat.time.as_ref()));
    app.out.pairs(&[
        ("key", clean(&lease.key)),
        ("holder", lease.run_id.clone()),
        ("state", app.out.paint(&state_word(lease.holder_state()), tone(lease.holder_state()))),
        ("taken", local(timestamp(lease.taken_at.as_ref()))),
        ("heartbeat", relative(beat, Timestamp::now())),
        ("waiting", lease.waiting_run_ids.join(" ")),
    ])?;
    Ok(Exit::DONE)
}
