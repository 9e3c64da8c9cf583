//! Sessions.

use std::collections::BTreeMap;

use engine::store::MAX_VALUE_BYTES;
use prost::Message as _;
use trace::SessionId;
use trace::session::{Counts, Format, Session};

use super::clip_str;
use super::part::{TimeMessage, TokensMessage, time, untime};

/// How many sub-agents a session's row names.
const CHILDREN: usize = 16;

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct CountsMessage {
    #[prost(uint64, tag = "1")]
    pub records: u64,
    #[prost(uint64, tag = "2")]
    pub unknown: u64,
    #[prost(uint64, tag = "3")]
    pub turns: u64,
    #[prost(uint64, tag = "4")]
    pub requests: u64,
    #[prost(uint64, tag = "5")]
    pub calls: u64,
    #[prost(uint64, tag = "6")]
    pub execs: u64,
    #[prost(uint64, tag = "7")]
    pub patches: u64,
    #[prost(uint64, tag = "8")]
    pub approval_requests: u64,
    #[prost(uint64, tag = "9")]
    pub approvals: u64,
    #[prost(uint64, tag = "10")]
    pub denials: u64,
    #[prost(uint64, tag = "11")]
    pub errors: u64,
    #[prost(uint64, tag = "12")]
    pub stream_errors: u64,
    #[prost(uint64, tag = "13")]
    pub warnings: u64,
    #[prost(uint64, tag = "14")]
    pub compactions: u64,
    #[prost(uint64, tag = "15")]
    pub epochs: u64,
}

alike!(
    Counts = CountsMessage {
        records,
        unknown,
        turns,
        requests,
        calls,
        execs,
        patches,
        approval_requests,
        approvals,
        denials,
        errors,
        stream_errors,
        warnings,
        compactions,
        epochs,
    }
);

/// A session, with what lists and reports need beside it.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SessionMessage {
    /// 0 spine, 1 rollout, 2 bundle.
    #[prost(uint32, tag = "1")]
    pub format: u32,
    #[prost(string, tag = "2")]
    pub source: String,
    #[prost(string, optional, tag = "3")]
    pub parent: Option<String>,
    #[prost(uint32, optional, tag = "4")]
    pub depth: Option<u32>,
    #[prost(string, repeated, tag = "5")]
    pub children: Vec<String>,
    #[prost(string, optional, tag = "6")]
    pub model: Option<String>,
    #[prost(string, optional, tag = "7")]
    pub model_provider: Option<String>,
    #[prost(string, optional, tag = "8")]
    pub approval_policy: Option<String>,
    #[prost(string, optional, tag = "9")]
    pub sandbox_policy: Option<String>,
    #[prost(message, optional, tag = "10")]
    pub started_at: Option<TimeMessage>,
    #[prost(message, optional, tag = "11")]
    pub ended_at: Option<TimeMessage>,
    #[prost(string, optional, tag = "12")]
    pub cwd: Option<String>,
    #[prost(string, optional, tag = "13")]
    pub repo_root: Option<String>,
    #[prost(string, optional, tag = "14")]
    pub git_url: Option<String>,
    #[prost(string, optional, tag = "15")]
    pub git_commit: Option<String>,
    #[prost(string, optional, tag = "16")]
    pub git_branch: Option<String>,
    #[prost(string, optional, tag = "17")]
    pub cli_version: Option<String>,
    #[prost(string, optional, tag = "18")]
    pub originator: Option<String>,
    #[prost(message, optional, tag = "19")]
    pub counts: Option<CountsMessage>,
    #[prost(message, optional, tag = "20")]
    pub tokens: Option<TokensMessage>,
    #[prost(bool, tag = "21")]
    pub closed: bool,

    /// The profile; empty while there is none.
    #[prost(string, tag = "40")]
    pub profile: String,
    /// Signals by category.
    #[prost(btree_map = "string, uint32", tag = "41")]
    pub friction: BTreeMap<String, u32>,
    #[prost(btree_map = "string, uint32", tag = "42")]
    pub delight: BTreeMap<String, u32>,
    /// The greatest severity of a friction signal.
    #[prost(double, tag = "43")]
    pub severity: f64,
    #[prost(bool, tag = "44")]
    pub settled: bool,
    /// When its files were found gone, in microseconds; 0 while they are there.
    #[prost(int64, tag = "45")]
    pub gone_at: i64,
    /// The Codex home.
    #[prost(bytes = "vec", tag = "46")]
    pub home: Vec<u8>,
    /// Its first file, as bytes.
    #[prost(bytes = "vec", tag = "47")]
    pub path: Vec<u8>,
    #[prost(uint64, tag = "48")]
    pub bytes: u64,
    #[prost(uint64, tag = "49")]
    pub findings: u64,
}

impl SessionMessage {
    /// The session's own fields.
    pub(crate) fn of(session: &Session) -> Self {
        let Session {
            id: _,
            format,
            source,
            parent,
            depth,
            children,
            model,
            model_provider,
            approval_policy,
            sandbox_policy,
            started_at,
            ended_at,
            cwd,
            repo_root,
            git_url,
            git_commit,
            git_branch,
            cli_version,
            originator,
            counts,
            tokens,
            closed,
        } = session;
        // Together below 8 KiB even at their longest, with a path of 4 KiB.
        let text = |text: &Option<String>| text.as_deref().map(|text| clip_str(text, 200).to_owned());
        Self {
            format: format_number(*format),
            source: clip_str(source, 200).to_owned(),
            parent: parent.as_ref().map(ToString::to_string),
            depth: *depth,
            children: children.iter().take(CHILDREN).map(ToString::to_string).collect(),
            model: text(model),
            model_provider: text(model_provider),
            approval_policy: text(approval_policy),
            sandbox_policy: text(sandbox_policy),
            started_at: time(*started_at),
            ended_at: time(*ended_at),
            cwd: text(cwd),
            repo_root: text(repo_root),
            git_url: text(git_url),
            git_commit: text(git_commit),
            git_branch: text(git_branch),
            cli_version: text(cli_version),
            originator: text(originator),
            counts: Some((*counts).into()),
            tokens: Some((*tokens).into()),
            closed: *closed,
            ..Self::default()
        }
    }

    /// Leaves out what is dispensable where a row would not fit the store.
    pub(crate) fn fit(&mut self) {
        if self.encoded_len() > MAX_VALUE_BYTES {
            self.children.clear();
        }
        if self.encoded_len() > MAX_VALUE_BYTES {
            self.path.truncate(1024);
            self.home.truncate(1024);
        }
    }

    /// The session's own fields, back.
    pub(crate) fn session(&self, id: SessionId) -> Session {
        let children = self.children.iter().filter_map(|child| child.parse().ok());
        Session {
            id,
            format: format_of(self.format),
            source: self.source.clone(),
            parent: self.parent.as_ref().and_then(|parent| parent.parse().ok()),
            depth: self.depth,
            children: children.collect(),
            model: self.model.clone(),
            model_provider: self.model_provider.clone(),
            approval_policy: self.approval_policy.clone(),
            sandbox_policy: self.sandbox_policy.clone(),
            started_at: untime(self.started_at),
            ended_at: untime(self.ended_at),
            cwd: self.cwd.clone(),
            repo_root: self.repo_root.clone(),
            git_url: self.git_url.clone(),
            git_commit: self.git_commit.clone(),
            git_branch: self.git_branch.clone(),
            cli_version: self.cli_version.clone(),
            originator: self.originator.clone(),
            counts: self.counts.map(Into::into).unwrap_or_default(),
            tokens: self.tokens.map(Into::into).unwrap_or_default(),
            closed: self.closed,
        }
    }
}

pub(crate) fn format_number(format: Format) -> u32 {
    match format {
        Format::Spine => 0,
        Format::Rollout => 1,
        Format::Bundle => 2,
    }
}

pub(crate) fn format_of(number: u32) -> Format {
    match number {
        0 => Format::Spine,
        1 => Format::Rollout,
        _ => Format::Bundle,
    }
}
