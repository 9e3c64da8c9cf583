//! `spindle trace watch`: signals as they happen.

use clap::Args;
use serde::Serialize;
use spindle_client::v1::signal_change::Kind;
use spindle_client::v1::{Event, SignalChange, WatchEventsRequest, WatchSignalsRequest};
use spindle_client::{Client, EventWatch, SignalWatch};

use super::filter::SignalArgs;
use super::view::{SignalView, type_tone, type_word};
use crate::app::App;
use crate::error::{CtlError, calling};
use crate::exit::Exit;
use crate::show::run::EventView;
use crate::show::table::{Tone, short_id};
use crate::show::text::{clean, shorten};
use crate::show::time::{local, rfc3339, timestamp};
use crate::show::{Out, parsed, word};

const AFTER_HELP: &str = "\
Changes come in order, without gap or repeat, also across a restart of the
daemon, until Ctrl-C, and with them the sessions that begin and settle. A signal
that later records disprove is withdrawn; one whose session has settled is final.

Examples:
  spindle trace watch
  spindle trace watch --type friction --min-severity 0.6
  spindle --json trace watch --from 1 | jq -c '[.number, .kind, .signal.category]'

To have a run started instead: spindle schedule add NAME --on signal …";

#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct WatchArgs {
    /// Begin with this change of the past, by its number [default: now]
    #[arg(long, value_name = "NUMBER")]
    from: Option<u64>,

    #[command(flatten)]
    which: SignalArgs,

    /// Signals only, no sessions
    #[arg(long)]
    no_sessions: bool,
}

#[derive(Serialize)]
struct ChangeView<'a> {
    number: u64,
    time: Option<String>,
    kind: String,
    live: bool,
    signal: Option<SignalView<'a>>,
}

impl WatchArgs {
    pub(crate) async fn perform(self, app: &App, client: Client) -> Result<Exit, CtlError> {
        let request = WatchSignalsRequest {
            from: self.from,
            r#type: self.which.wire_type(),
            categories: self.which.categories.clone(),
            min_severity: self.which.min_severity,
        };
        let mut changes = SignalWatch::new(client.clone(), request, app.wait_patiently());
        let request = WatchEventsRequest { types: vec!["session.".to_owned()], ..Default::default() };
        let mut events = EventWatch::new(client, request, App::retry_quietly());
        let show_changes = async {
            loop {
                let change = changes.next().await.map_err(calling("watch signals"))?;
                print_change(app.out, &change)?;
            }
        };
        let show_sessions = async {
            while let Some(event) = events.next().await.map_err(calling("watch sessions"))? {
                print_session(app.out, &event)?;
            }
            std::future::pending().await
        };
        tokio::select! {
            biased;
            // Ctrl-C is how a watch is meant to end; 130 says that it was.
            signal = tokio::signal::ctrl_c() => signal.map(|()| Exit::INTERRUPTED).map_err(CtlError::Output),
            // That a session has begun is told before what happens in it.
            result = show_sessions, if !self.no_sessions => result,
            result = show_changes => result,
        }
    }
}

fn print_change(out: Out, change: &SignalChange) -> Result<(), CtlError> {
    let kind = word(change.kind().as_str_name(), "KIND_");
    if out.is_json() {
        return out.document(&ChangeView {
            number: change.number,
            time: rfc3339(change.time.as_ref()),
            kind,
            live: change.live,
            signal: change.signal.as_ref().map(SignalView::from),
        });
    }
    let Some(signal) = &change.signal else { return Ok(()) };
    let tone = if change.kind() == Kind::Withdrawn { Tone::Faint } else { type_tone(signal.r#type()) };
    let line = format!(
        "{}  {}  {:22}  {:.2}  {:13}  {}",
        out.paint(&local(timestamp(change.time.as_ref())), Tone::Faint),
        out.paint(&format!("{kind:9}  {:8}", type_word(signal.r#type())), tone),
        clean(&signal.category),
        signal.severity,
        clean(short_id(&signal.session_id, 13)),
        shorten(&clean(&signal.description), 120),
    );
    out.line(line.trim_end())
}

fn print_session(out: Out, event: &Event) -> Result<(), CtlError> {
    if out.is_json() {
        return out.document(&EventView::from(event));
    }
    let data = parsed(&event.data_json);
    let part = |name: &str| clean(data[name].as_str().unwrap_or_default());
    let line = format!(
        "{}  {}  {}",
        out.paint(&local(timestamp(event.time.as_ref())), Tone::Faint),
        out.paint(&format!("{:19}", clean(&event.r#type)), Tone::Busy),
        ["session", "source", "model", "profile", "cwd"].map(part).join("  "),
    );
    out.line(line.trim_end())
}
