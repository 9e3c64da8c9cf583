//! `spindle trace show`: a signal, and the records that it stands on.

use clap::Args;
use serde::Serialize;
use serde_json::Value;
use spindle_client::Client;
use spindle_client::v1::{Evidence, EvidenceRecord, ReadEvidenceRequest};

use super::session::range;
use super::view::{PlaceView, SignalView, path_text, type_tone, type_word};
use crate::app::App;
use crate::error::{CtlError, calling};
use crate::exit::Exit;
use crate::show::table::Tone;
use crate::show::text::clean;
use crate::show::time::{local, timestamp};

const AFTER_HELP: &str = "\
Secrets and home paths in the records are replaced, unless --raw is given.

Examples:
  spindle trace show sig_3f2a
  spindle --json trace show sig_3f2a | jq '.records[].record.payload'";

#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct ShowArgs {
    /// Id of the signal, or the beginning of it
    signal: String,

    /// The records as they are, secrets and all
    #[arg(long)]
    raw: bool,
}

#[derive(Serialize)]
struct EvidenceView<'a> {
    signal: SignalView<'a>,
    records: Vec<RecordView>,
    cut: bool,
}

#[derive(Serialize)]
struct RecordView {
    place: Option<PlaceView>,
    gone: bool,
    /// The record as JSON; a line that is none stays text.
    record: Value,
}

impl From<&EvidenceRecord> for RecordView {
    fn from(record: &EvidenceRecord) -> Self {
        let json = serde_json::from_slice(&record.line)
            .unwrap_or_else(|_| String::from_utf8_lossy(&record.line).into_owned().into());
        Self {
            place: record.place.as_ref().map(PlaceView::from),
            gone: record.gone,
            record: if record.gone { Value::Null } else { json },
        }
    }
}

impl ShowArgs {
    pub(crate) async fn perform(self, app: &App, client: &Client) -> Result<Exit, CtlError> {
        let what = format!("show signal {}", self.signal);
        let request = ReadEvidenceRequest { signal: self.signal, max_bytes: 0, raw: self.raw };
        let evidence = client.signals().read_evidence(request).await.map_err(calling(what))?.into_inner();
        let signal = evidence.signal.clone().unwrap_or_default();
        if app.out.is_json() {
            app.out.document(&EvidenceView {
                signal: SignalView::from(&signal),
                records: evidence.records.iter().map(RecordView::from).collect(),
                cut: evidence.cut,
            })?;
            return Ok(Exit::DONE);
        }
        let kind = signal.r#type();
        app.out.pairs(&[
            ("signal", clean(&signal.id)),
            ("type", app.out.paint(type_word(kind), type_tone(kind))),
            ("category", clean(&signal.category)),
            ("severity", format!("{:.2}, confidence {:.2}", signal.severity, signal.confidence)),
            ("state", if signal.settled { "final" } else { "may still be withdrawn" }.to_owned()),
            ("what", clean(&signal.description)),
            ("session", clean(&signal.session_id)),
            ("turn", clean(&signal.turn_id)),
            ("call", clean(&signal.call_id)),
            (
                "records",
                signal
                    .seq_start
                    .map(|start| range(start, signal.seq_end.or(Some(start))))
                    .unwrap_or_default(),
            ),
            ("when", local(timestamp(signal.at.as_ref()))),
            ("evidence", clean(&signal.evidence_json)),
        ])?;
        records(app, &evidence)
    }
}

fn records(app: &App, evidence: &Evidence) -> Result<Exit, CtlError> {
    for record in &evidence.records {
        let place = record.place.clone().unwrap_or_default();
        let head = format!("{}:{} (byte {})", clean(&path_text(&place.path)), place.line, place.offset);
        app.out.line("")?;
        app.out.line(&app.out.paint(&head, Tone::Faint))?;
        if record.gone {
            app.out.line("the record is no longer there")?;
            continue;
        }
        // Pretty where it is JSON; serde escapes what would drive a terminal.
        let shown = serde_json::from_slice::<Value>(&record.line)
            .ok()
            .and_then(|json| serde_json::to_string_pretty(&json).ok());
        for line in shown.unwrap_or_else(|| clean(&String::from_utf8_lossy(&record.line))).lines() {
            app.out.line(&clean(line))?;
        }
    }
    if evidence.cut {
        app.out.note("some records were left out or cut for their size; --json shows where they stand");
    }
    Ok(Exit::DONE)
}
