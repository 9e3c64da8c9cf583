//! `spindle approval`: answer steps that wait for a person's word.

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde::Serialize;
use spindle_client::Client;
use spindle_client::v1::{Approval, DecideRequest, Decision, GetApprovalRequest, ListApprovalsRequest};

use crate::app::App;
use crate::error::{CtlError, calling};
use crate::exit::Exit;
use crate::show::table::{Cell, Table, Tone, short_id, short_ids};
use crate::show::text::clean;
use crate::show::time::{local, relative, rfc3339, timestamp};
use crate::show::{some, word};

#[derive(Debug, Subcommand)]
pub(crate) enum ApprovalCommand {
    /// List approvals that wait
    #[command(after_long_help = "Examples:\n  spindle approval ls\n  spindle --json approval ls --all")]
    Ls {
        /// Also those decided, of runs that have not ended
        #[arg(long)]
        all: bool,
    },
    /// Show one approval with its whole question
    #[command(after_long_help = "Examples:\n  spindle approval show 01934f2a")]
    Show {
        /// Id of the approval, or its beginning
        id: String,
    },
    /// Say yes; the first decision stands
    #[command(after_long_help = "Examples:\n  spindle approval grant 01934f2a --comment 'looks right'")]
    Grant(DecideArgs),
    /// Say no; the first decision stands
    #[command(after_long_help = "Examples:\n  spindle approval deny 01934f2a --comment 'not on a Friday'")]
    Deny(DecideArgs),
}

#[derive(Debug, Args)]
pub(crate) struct DecideArgs {
    /// Id of the approval, or its beginning
    id: String,
    /// Why; kept with the decision
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    comment: String,
}

#[derive(Serialize)]
struct ApprovalView<'a> {
    id: &'a str,
    run_id: &'a str,
    step: &'a str,
    prompt: &'a str,
    requested_at: Option<String>,
    expires_at: Option<String>,
    default_decision: Option<String>,
    decision: Option<String>,
    decided_at: Option<String>,
    decided_by: Option<&'a str>,
    comment: Option<&'a str>,
}

impl<'a> From<&'a Approval> for ApprovalView<'a> {
    fn from(approval: &'a Approval) -> Self {
        Self {
            id: &approval.id,
            run_id: &approval.run_id,
            step: &approval.step,
            prompt: &approval.prompt,
            requested_at: rfc3339(approval.requested_at.as_ref()),
            expires_at: rfc3339(approval.expires_at.as_ref()),
            default_decision: decision_word(approval.default_decision()),
            decision: decision_word(approval.decision()),
            decided_at: rfc3339(approval.decided_at.as_ref()),
            decided_by: some(&approval.decided_by),
            comment: some(&approval.comment),
        }
    }
}

#[derive(Serialize)]
struct ApprovalsView<'a> {
    approvals: Vec<ApprovalView<'a>>,
}

fn decision_word(decision: Decision) -> Option<String> {
    (decision != Decision::Unspecified).then(|| word(decision.as_str_name(), "DECISION_"))
}

impl ApprovalCommand {
    pub(crate) async fn perform(self, app: &App) -> Result<Exit, CtlError> {
        let client = app.client().await?;
        let approval = match self {
            Self::Ls { all } => return list(app, &client, all).await,
            Self::Show { id } => {
                let request = GetApprovalRequest { approval: id.clone() };
                client
                    .approvals()
                    .get_approval(request)
                    .await
                    .map_err(calling(format!("show approval {id}")))?
            }
            Self::Grant(args) => args.decide(&client, Decision::Granted, "grant").await?,
            Self::Deny(args) => args.decide(&client, Decision::Denied, "deny").await?,
        };
        show(app, &approval.into_inner())
    }
}

impl DecideArgs {
    async fn decide(
        self,
        client: &Client,
        decision: Decision,
        verb: &str,
    ) -> Result<tonic::Response<Approval>, CtlError> {
        let what = format!("{verb} approval {}", self.id);
        let request = DecideRequest { approval: self.id, decision: decision.into(), comment: self.comment };
        client.approvals().decide(request).await.map_err(calling(what))
    }
}

async fn list(app: &App, client: &Client, all: bool) -> Result<Exit, CtlError> {
    let answer = client.approvals().list_approvals(ListApprovalsRequest { all }).await;
    let approvals = answer.map_err(calling("list approvals"))?.into_inner().approvals;
    if app.out.is_json() {
        let approvals = approvals.iter().map(ApprovalView::from).collect();
        app.out.document(&ApprovalsView { approvals })?;
        return Ok(Exit::DONE);
    }
    let now = Timestamp::now();
    let length = short_ids(approvals.iter().map(|approval| approval.id.as_str()));
    let mut table = Table::new(["ID", "RUN", "STEP", "DECISION", "ASKED", "EXPIRES", "QUESTION"]);
    for approval in &approvals {
        let (decision, tone) = match approval.decision() {
            Decision::Unspecified => ("waits", Tone::Busy),
            Decision::Granted => ("granted", Tone::Good),
            Decision::Denied => ("denied", Tone::Bad),
        };
        table.row([
            short_id(&approval.id, length).into(),
            short_id(&approval.run_id, 13).into(),
            approval.step.as_str().into(),
            Cell::new(decision, tone),
            relative(timestamp(approval.requested_at.as_ref()), now).into(),
            relative(timestamp(approval.expires_at.as_ref()), now).into(),
            approval.prompt.as_str().into(),
        ]);
    }
    app.out.table(&table, "nothing waits for a decision")?;
    Ok(Exit::DONE)
}

fn show(app: &App, approval: &Approval) -> Result<Exit, CtlError> {
    if app.out.is_json() {
        app.out.document(&ApprovalView::from(approval))?;
        return Ok(Exit::DONE);
    }
    let time =
        |wire: Option<&prost_types::Timestamp>| wire.map_or_else(String::new, |_| local(timestamp(wire)));
    app.out.pairs(&[
        ("id", approval.id.clone()),
        ("run", approval.run_id.clone()),
        ("step", clean(&approval.step)),
        ("question", clean(&approval.prompt)),
        ("asked", time(approval.requested_at.as_ref())),
        ("expires", time(approval.expires_at.as_ref())),
        ("default", decision_word(approval.default_decision()).unwrap_or_default()),
        ("decision", decision_word(approval.decision()).unwrap_or_else(|| "waits".to_owned())),
        ("decided", time(approval.decided_at.as_ref())),
        ("by", clean(&approval.decided_by)),
        ("comment", clean(&approval.comment)),
    ])?;
    Ok(Exit::DONE)
}
