//! `spindle trace watch`: signals as they happen.

use clap::Args;
use serde::Serialize;
use spindle_client::v1::signal_change::Kind;
use spindle_client::v1::{SignalChange, WatchSignalsRequest};
use spindle_client::{Client, SignalWatch};

use super::signals::TypeChoice;
use super::view::{SessionView, SignalView, type_tone, type_word};
use crate::app::App;
use crate::error::{CtlError, calling};
use crate::exit::Exit;
use crate::show::table::{Tone, short_id};
use crate::show::text::{clean, shorten};
use crate::show::time::{local, rfc3339, timestamp};
use crate::show::{Out, word};

const AFTER_HELP: &str = "\
Changes come in order, without gap or repeat, also across a restart of the
daemon, until Ctrl-C. A signal that later records disprove is withdrawn; one
whose session has settled is final.

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

    /// Only friction, or only delight
    #[arg(long = "type", value_enum, value_name = "TYPE")]
    kind: Option<TypeChoice>,

    /// Only this category
    #[arg(long, value_name = "CATEGORY")]
    category: Option<String>,

    /// At least this severity, from 0 to 1
    #[arg(long, value_name = "SEVERITY", default_value_t = 0.0, hide_default_value = true)]
    min_severity: f64,

    /// Signals only, no sessions
    #[arg(long)]
    no_sessions: bool,
}

#[derive(Serialize)]
struct ChangeView<'a> {
    number: u64,
    time: Option<String>,
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<SignalView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<SessionView<'a>>,
}

impl WatchArgs {
    pub(crate) async fn perform(self, app: &App, client: Client) -> Result<Exit, CtlError> {
        let request = WatchSignalsRequest {
            from: self.from,
            r#type: TypeChoice::to_wire(self.kind),
            category: self.category.unwrap_or_default(),
            min_severity: self.min_severity,
            sessions: !self.no_sessions,
        };
        let mut watch = SignalWatch::new(client, request, app.wait_patiently());
        let changes = async {
            loop {
                let change = watch.next().await.map_err(calling("watch signals"))?;
                print(app.out, &change)?;
            }
        };
        tokio::select! {
            biased;
            // Ctrl-C is how a watch is meant to end; 130 says that it was.
            signal = tokio::signal::ctrl_c() => signal.map(|()| Exit::INTERRUPTED).map_err(CtlError::Output),
            result = changes => result,
        }
    }
}

fn print(out: Out, change: &SignalChange) -> Result<(), CtlError> {
    let kind = word(change.kind().as_str_name(), "KIND_");
    if out.is_json() {
        return out.document(&ChangeView {
            number: change.number,
            time: rfc3339(change.time.as_ref()),
            kind: kind.replace('-', "_"),
            signal: change.signal.as_ref().map(SignalView::from),
            session: change.session.as_ref().map(SessionView::from),
        });
    }
    let time = out.paint(&local(timestamp(change.time.as_ref())), Tone::Faint);
    if let Some(signal) = &change.signal {
        let tone = if change.kind() == Kind::Withdrawn { Tone::Faint } else { type_tone(signal.r#type()) };
        let what = out.paint(&format!("{kind:9}  {:8}", type_word(signal.r#type())), tone);
        return out.line(&format!(
            "{time}  {what}  {:22}  {:.2}  {:13}  {}",
            clean(&signal.category),
            signal.severity,
            clean(short_id(&signal.session_id, 13)),
            shorten(&clean(&signal.description), 120),
        ));
    }
    let Some(session) = &change.session else { return Ok(()) };
    let what = out.paint(&kind.replace('-', " "), Tone::Busy);
    let place = if session.git_url.is_empty() { &session.cwd } else { &session.git_url };
    let line =
        format!("{time}  {what}  {}  {} {} {}", session.id, session.source, session.model, session.profile);
    out.line(format!("{}  {}", line.trim_end(), clean(place)).trim_end())
}
