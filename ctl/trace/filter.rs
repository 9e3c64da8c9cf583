//! Which sessions.

use clap::Args;
use jiff::Timestamp;
use spindle_client::v1::SessionFilter;

use crate::parse;
use crate::show::time::to_wire;

/// Which sessions; all that is given must fit.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Which sessions")]
pub(crate) struct FilterArgs {
    /// With records since then: 2h, 3d, or a time
    #[arg(long, value_name = "WHEN", value_parser = parse::past)]
    since: Option<Timestamp>,

    /// Begun before then: 2h, 3d, or a time
    #[arg(long, value_name = "WHEN", value_parser = parse::past)]
    until: Option<Timestamp>,

    /// Of this source: cli, vscode, exec, mcp, subagent
    #[arg(long, value_name = "SOURCE")]
    source: Option<String>,

    /// Of this model
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,

    /// In a repository whose URL or directory contains this
    #[arg(long, value_name = "TEXT")]
    repository: Option<String>,

    /// Under this approval or sandbox policy, such as on-request or workspace-write
    #[arg(long, value_name = "POLICY")]
    policy: Option<String>,

    /// Of this profile, such as `success_high_friction`
    #[arg(long, value_name = "PROFILE")]
    profile: Option<String>,
}

impl FilterArgs {
    /// As the wire wants it; `category` keeps sessions that have such a signal.
    pub(crate) fn to_wire(&self, category: Option<&str>) -> SessionFilter {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        SessionFilter {
            since: self.since.map(to_wire),
            until: self.until.map(to_wire),
            source: text(&self.source),
            model: text(&self.model),
            repository: text(&self.repository),
            policy: text(&self.policy),
            profile: text(&self.profile),
            category: category.unwrap_or_default().to_owned(),
        }
    }
}
