//! `spindle trace verify`: spines and rollouts against their format.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use spindle_client::Client;
use spindle_client::v1::verified::What as Told;
use spindle_client::v1::verify_trace_request::What;
use spindle_client::v1::{Finding, VerifyTotals, VerifyTraceRequest};

use super::view::{path_bytes, path_text};
use crate::app::App;
use crate::error::{CtlError, calling};
use crate::exec::absolute;
use crate::exit::Exit;
use crate::show::table::Tone;
use crate::show::text::clean;

const AFTER_HELP: &str = "\
Errors are what a reader cannot make up for: lines that are no JSON, hashes that
do not match, records of another thread. Warnings are what happens in good
spines too: a half-written last line, numbers out of order, a missing meta file.
Ends with 1 when there is an error. With --json each finding is a line.

Examples:
  spindle trace verify
  spindle trace verify 01930f5e
  spindle trace verify ~/.codex
  spindle trace verify ~/.codex/trace_spine/01930f5e-77aa-7c01-9b1d-2f0f6a0c4e11
  spindle --json trace verify ./bundle | jq -r 'select(.level == \"error\") | .message'";

#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct VerifyArgs {
    /// A session, or a path: a thread's directory, a segment, a rollout, a bundle, a Codex home, or any directory, of
    /// which all is verified that lies below it [default: all that is watched]
    #[arg(value_name = "SESSION|PATH")]
    what: Option<String>,
}

#[derive(Serialize)]
struct FindingView<'a> {
    level: &'a str,
    code: &'a str,
    path: String,
    line: Option<u64>,
    offset: Option<u64>,
    message: &'a str,
    session_id: &'a str,
}

impl<'a> From<&'a Finding> for FindingView<'a> {
    fn from(finding: &'a Finding) -> Self {
        Self {
            level: &finding.level,
            code: &finding.code,
            path: path_text(&finding.path),
            line: Some(finding.line).filter(|line| *line > 0),
            offset: Some(finding.offset).filter(|_| finding.line > 0),
            message: &finding.message,
            session_id: &finding.session_id,
        }
    }
}

impl VerifyArgs {
    pub(crate) async fn perform(self, app: &App, client: &Client) -> Result<Exit, CtlError> {
        let request = VerifyTraceRequest { what: self.what.map(target).transpose()? };
        let answer = client.traces().verify_trace(request).await.map_err(calling("verify traces"))?;
        let mut findings = answer.into_inner();
        let mut totals = VerifyTotals::default();
        while let Some(told) = findings.message().await.map_err(calling("verify traces"))? {
            let finding = match told.what {
                Some(Told::Finding(finding)) => finding,
                Some(Told::Totals(last)) => {
                    totals = last;
                    continue;
                }
                None => continue,
            };
            let tone = if finding.level == "error" { Tone::Bad } else { Tone::Busy };
            if app.out.is_json() {
                app.out.document(&FindingView::from(&finding))?;
                continue;
            }
            let place = match finding.line {
                0 => clean(&path_text(&finding.path)),
                line => format!("{}:{line} (byte {})", clean(&path_text(&finding.path)), finding.offset),
            };
            let level = app.out.paint(&finding.level, tone);
            app.out.line(&format!("{level} {place}: {} [{}]", clean(&finding.message), finding.code))?;
        }
        let VerifyTotals { verified, errors, warnings } = totals;
        app.out.note(&format!("verified: {verified}, errors: {errors}, warnings: {warnings}"));
        Ok(if errors > 0 { Exit::FAILED } else { Exit::DONE })
    }
}

/// What looks like a path or is one is a path.
fn target(text: String) -> Result<What, CtlError> {
    let path = PathBuf::from(&text);
    if text.contains('/') || path.exists() {
        return Ok(What::Path(path_bytes(absolute(&path)?)));
    }
    Ok(What::Session(text))
}
