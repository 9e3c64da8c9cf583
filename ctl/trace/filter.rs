//! Which sessions, and which signals.

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use spindle_client::v1::{SessionFilter, SignalType};

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
    /// As the wire wants it; `categories` keeps sessions that have such a signal.
    pub(crate) fn to_wire(&self, categories: &[String]) -> SessionFilter {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        SessionFilter {
            since: self.since.map(to_wire),
            until: self.until.map(to_wire),
            source: text(&self.source),
            model: text(&self.model),
            repository: text(&self.repository),
            policy: text(&self.policy),
            profile: text(&self.profile),
            categories: categories.to_vec(),
        }
    }
}

/// Which signals; all that is given must fit.
#[derive(Debug, Clone, Args)]
pub(crate) struct SignalArgs {
    /// Only friction, or only delight
    #[arg(long = "type", value_enum, value_name = "TYPE")]
    kind: Option<TypeChoice>,

    /// Only of this category, such as `exec_failure`, or of one of several
    #[arg(long = "category", value_name = "CATEGORY", value_delimiter = ',')]
    pub(crate) categories: Vec<String>,

    /// At least this severity, from 0 to 1
    #[arg(long, value_name = "SEVERITY", default_value_t = 0.0, hide_default_value = true)]
    pub(crate) min_severity: f64,
}

/// Friction or delight.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum TypeChoice {
    Friction,
    Delight,
}

impl SignalArgs {
    /// The type, as the wire has it.
    pub(crate) fn wire_type(&self) -> i32 {
        match self.kind {
            None => SignalType::Unspecified,
            Some(TypeChoice::Friction) => SignalType::Friction,
            Some(TypeChoice::Delight) => SignalType::Delight,
        }
        .into()
    }
}
