//! Which sessions, and how many of them.

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

/// Largest page that the daemon gives.
const PAGE: u32 = 500;

/// How much of a list.
#[derive(Debug, Clone, Args)]
pub(crate) struct PageArgs {
    /// At most so many
    #[arg(long, visible_alias = "limit", value_name = "N", default_value_t = 50)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    page_size: u32,

    /// All of them, however many
    #[arg(long, conflicts_with = "page_size")]
    all: bool,

    /// Go on where an earlier page ended
    #[arg(long, value_name = "TOKEN")]
    page_token: Option<String>,
}

impl PageArgs {
    /// Asks for as many pages as it takes. `ask` is given a size and a token, and answers with rows and the
    /// token of what follows.
    pub(crate) async fn collect<T, E>(
        &self,
        mut ask: impl AsyncFnMut(u32, String) -> Result<(Vec<T>, String), E>,
    ) -> Result<(Vec<T>, String), E> {
        let limit = if self.all { usize::MAX } else { self.page_size as usize };
        let mut rows = Vec::new();
        let mut token = self.page_token.clone().unwrap_or_default();
        loop {
            let size = u32::try_from(limit - rows.len()).unwrap_or(PAGE).min(PAGE);
            let (page, next) = ask(size, token).await?;
            rows.extend(page);
            if next.is_empty() || rows.len() >= limit {
                return Ok((rows, next));
            }
            token = next;
        }
    }
}

/// What is said when a list has more.
pub(crate) const MORE: &str = "there are more: use --all, a larger --page-size, or --page-token";
