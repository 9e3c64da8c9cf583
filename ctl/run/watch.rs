//! `spindle run watch`: events as they happen.

use clap::Args;
use spindle_client::v1::{Event, WatchEventsRequest};
use spindle_client::{Client, EventWatch};

use crate::app::App;
use crate::error::{CtlError, calling};
use crate::exit::Exit;
use crate::follow::whole_id;
use crate::show::Out;
use crate::show::run::EventView;
use crate::show::table::{Tone, short_id};
use crate::show::text::{clean, shorten};
use crate::show::time::{local, timestamp};

const AFTER_HELP: &str = "\
Events come in order, without gap or repeat, also across a restart of the
daemon. With an ID the command ends with that run; without, it goes on until
Ctrl-C. With --json each event is a line with seq, time, run_id, type, data and
a token for --after.

Examples:
  spindle run watch
  spindle run watch 01934f2a
  spindle run watch --type run.finished --type approval.
  spindle --json run watch --from 1 | jq -c '[.seq, .type]'
  spindle --json run watch --after TOKEN            # the token of the last event seen";

#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct WatchArgs {
    /// Only events of this run
    id: Option<String>,

    /// Begin with this event of the past, by its number [default: now]
    #[arg(long, value_name = "SEQ", conflicts_with = "after")]
    from: Option<u64>,

    /// Go on after the event with this token
    #[arg(long, value_name = "TOKEN")]
    after: Option<String>,

    /// Only types that begin so, such as run. or step.finished; may be repeated
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
}

impl WatchArgs {
    pub(crate) async fn perform(self, app: &App, client: Client) -> Result<Exit, CtlError> {
        let run = match &self.id {
            Some(id) => whole_id(&client, id, "watch").await?,
            None => String::new(),
        };
        let request = WatchEventsRequest {
            after: self.after.unwrap_or_default(),
            from_seq: self.from,
            until_finished: !run.is_empty(),
            run,
            types: self.types,
        };
        let mut watch = EventWatch::new(client, request, app.wait_patiently());
        let events = async {
            while let Some(event) = watch.next().await.map_err(calling("watch events"))? {
                print(app.out, &event)?;
            }
            Ok(Exit::DONE)
        };
        tokio::select! {
            biased;
            // Ctrl-C is how a watch is meant to end; 130 says that it was.
            signal = tokio::signal::ctrl_c() => signal.map(|()| Exit::INTERRUPTED).map_err(CtlError::Output),
            result = events => result,
        }
    }
}

fn print(out: Out, event: &Event) -> Result<(), CtlError> {
    if out.is_json() {
        return out.document(&EventView::from(event));
    }
    let line = format!(
        "{}  {:>7}  {:13}  {:20}  {}",
        out.paint(&local(timestamp(event.time.as_ref())), Tone::Faint),
        event.seq,
        clean(short_id(&event.run_id, 13)),
        clean(&event.r#type),
        shorten(&clean(&event.data_json), 120),
    );
    out.line(line.trim_end())
}
