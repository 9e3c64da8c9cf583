//! `spindle trace session|turns|calls`: what happened in one session.

use clap::Args;
use serde::Serialize;
use spindle_client::Client;
use spindle_client::v1::{
    GetSessionRequest, ListCallsRequest, ListTurnsRequest, SessionDetail, TraceCall, TraceTurn,
};

use super::view::{ApprovalView, CallView, CompactionView, SessionView, TurnView, path_text, profile_tone};
use crate::app::App;
use crate::error::{CtlError, calling};
use crate::exit::Exit;
use crate::page::PageArgs;
use crate::show::some;
use crate::show::table::{Cell, Table, Tone};
use crate::show::text::{clean, count};
use crate::show::time::{local, rough, timestamp};

#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  spindle trace session 01930f5e
  spindle --json trace session 01930f5e | jq .approvals")]
pub(crate) struct SessionArgs {
    /// Id of the session, or the beginning of it
    session: String,
}

#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  spindle trace turns 01930f5e
  spindle --json trace turns 01930f5e | jq -r '.turns[].user_message'")]
pub(crate) struct TurnsArgs {
    /// Id of the session, or the beginning of it
    session: String,
    #[command(flatten)]
    page: PageArgs,
}

#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  spindle trace calls 01930f5e
  spindle trace calls 01930f5e --outcome failed")]
pub(crate) struct CallsArgs {
    /// Id of the session, or the beginning of it
    session: String,
    /// Only calls that ended so: open, succeeded, failed, `timed_out`, rejected, broken, interrupted
    #[arg(long, value_name = "OUTCOME")]
    outcome: Option<String>,
    #[command(flatten)]
    page: PageArgs,
}

#[derive(Serialize)]
struct DetailView<'a> {
    #[serde(flatten)]
    session: SessionView<'a>,
    approvals: Vec<ApprovalView<'a>>,
    compactions: Vec<CompactionView<'a>>,
    artifacts: Vec<ArtifactView<'a>>,
}

#[derive(Serialize)]
struct ArtifactView<'a> {
    kind: &'a str,
    seq: u64,
    path: Option<&'a str>,
    sha256: Option<&'a str>,
}

impl SessionArgs {
    pub(crate) async fn perform(self, app: &App, client: &Client) -> Result<Exit, CtlError> {
        let what = format!("show session {}", self.session);
        let request = GetSessionRequest { session: self.session };
        let detail = client.traces().get_session(request).await.map_err(calling(what))?.into_inner();
        let session = detail.session.clone().unwrap_or_default();
        if app.out.is_json() {
            app.out.document(&DetailView {
                session: SessionView::from(&session),
                approvals: detail.approvals.iter().map(ApprovalView::from).collect(),
                compactions: detail.compactions.iter().map(CompactionView::from).collect(),
                artifacts: artifacts(&detail),
            })?;
            return Ok(Exit::DONE);
        }
        let counts = session.counts.unwrap_or_default();
        let tokens = session.tokens.unwrap_or_default();
        let state = match (session.gone, session.settled) {
            (true, _) => "its files are gone",
            (false, true) => "settled",
            (false, false) => "live",
        };
        app.out.pairs(&[
            ("session", clean(&session.id)),
            ("state", state.to_owned()),
            ("profile", app.out.paint(&clean(&session.profile), profile_tone(&session))),
            ("source", clean(&session.source)),
            ("parent", clean(&session.parent_id)),
            ("children", clean(&session.child_ids.join(" "))),
            ("model", clean(&session.model)),
            ("policies", clean(&format!("{} {}", session.approval_policy, session.sandbox_policy))),
            ("started", local(timestamp(session.started_at.as_ref()))),
            ("ended", local(timestamp(session.ended_at.as_ref()))),
            ("directory", clean(&session.cwd)),
            ("repository", clean(&session.git_url)),
            ("commit", clean(&format!("{} {}", session.git_commit, session.git_branch))),
            ("codex", clean(&format!("{} {}", session.cli_version, session.originator))),
            ("turns", format!("{} (requests: {}, epochs: {})", counts.turns, counts.requests, counts.epochs)),
            (
                "calls",
                format!(
                    "{}: {}, {}",
                    counts.calls,
                    count(counts.execs, "command"),
                    count(counts.patches, "patch")
                ),
            ),
            (
                "approvals",
                format!(
                    "{} asked, {} granted, {} denied",
                    counts.approval_requests, counts.approvals, counts.denials
                ),
            ),
            ("compactions", counts.compactions.to_string()),
            (
                "tokens",
                format!("{} in ({} cached), {} out", tokens.input, tokens.cached_input, tokens.output),
            ),
            ("signals", format!("{} friction, {} delight", session.friction, session.delight)),
            ("records", counts.records.to_string()),
            (&session.format, clean(&path_text(&session.path))),
        ])?;
        Ok(Exit::DONE)
    }
}

fn artifacts(detail: &SessionDetail) -> Vec<ArtifactView<'_>> {
    let view = detail.artifacts.iter().map(|artifact| ArtifactView {
        kind: &artifact.kind,
        seq: artifact.seq,
        path: some(&artifact.path),
        sha256: some(&artifact.sha256),
    });
    view.collect()
}

impl TurnsArgs {
    pub(crate) async fn perform(self, app: &App, client: &Client) -> Result<Exit, CtlError> {
        let what = format!("list the turns of session {}", self.session);
        let ask = async |page_size, page_token| {
            let request = ListTurnsRequest { session: self.session.clone(), page_size, page_token };
            let answer = client.traces().list_turns(request).await?.into_inner();
            Ok((answer.turns, answer.next_page_token))
        };
        let page = self.page.collect(ask).await.map_err(calling(what))?;
        page.show(app, "turns", TurnView::from, |turns| app.out.table(&turns_table(turns), "no turns"))
    }
}

fn turns_table(turns: &[TraceTurn]) -> Table<7> {
    let mut table = Table::new(["TURN", "STARTED", "END", "REQUESTS", "CALLS", "SEQ", "USER"]);
    for turn in turns {
        let end = match turn.end_reason.as_str() {
            "" => turn.end.clone(),
            reason => format!("{} ({reason})", turn.end),
        };
        let tone = match turn.end.as_str() {
            "complete" => Tone::Good,
            "open" => Tone::Busy,
            _ => Tone::Bad,
        };
        table.row([
            turn.ordinal.to_string().into(),
            local(timestamp(turn.started_at.as_ref())).into(),
            Cell::new(&end, tone),
            turn.requests.to_string().into(),
            turn.calls.to_string().into(),
            range(turn.seq_start, turn.seq_end).into(),
            turn.user_message.as_str().into(),
        ]);
    }
    table
}

impl CallsArgs {
    pub(crate) async fn perform(self, app: &App, client: &Client) -> Result<Exit, CtlError> {
        let what = format!("list the tool calls of session {}", self.session);
        let ask = async |page_size, page_token| {
            let request = ListCallsRequest {
                session: self.session.clone(),
                page_size,
                page_token,
                outcome: self.outcome.clone().unwrap_or_default(),
            };
            let answer = client.traces().list_calls(request).await?.into_inner();
            Ok((answer.calls, answer.next_page_token))
        };
        let page = self.page.collect(ask).await.map_err(calling(what))?;
        page.show(app, "calls", CallView::from, |calls| app.out.table(&calls_table(calls), "no tool calls"))
    }
}

fn calls_table(calls: &[TraceCall]) -> Table<8> {
    let mut table = Table::new(["CALL", "TOOL", "OUTCOME", "EXIT", "TOOK", "DECISION", "SEQ", "WHAT"]);
    for call in calls {
        table.row([
            call.ordinal.to_string().into(),
            call.tool.as_str().into(),
            Cell::new(&call.outcome, outcome_tone(call)),
            call.exit_code.map(|code| code.to_string()).unwrap_or_default().into(),
            took(call).into(),
            call.decision.as_str().into(),
            range(call.seq_start, call.seq_end).into(),
            call.arguments.as_str().into(),
        ]);
    }
    table
}

fn outcome_tone(call: &TraceCall) -> Tone {
    match call.outcome.as_str() {
        "succeeded" => Tone::Good,
        "open" => Tone::Busy,
        _ => Tone::Bad,
    }
}

fn took(call: &TraceCall) -> String {
    let millis = call.duration_ms.and_then(|millis| i64::try_from(millis).ok());
    millis.map(|millis| rough(jiff::SignedDuration::from_millis(millis))).unwrap_or_default()
}

/// A range of record numbers.
pub(super) fn range(start: u64, end: Option<u64>) -> String {
    match end {
        Some(end) if end != start => format!("{start}-{end}"),
        Some(_) => start.to_string(),
        None => format!("{start}-"),
    }
}
