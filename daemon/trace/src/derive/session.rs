//! What is told of the session as a whole: who, where, with which settings, on which commit.

use serde::{Deserialize, Serialize};

use super::deriver::{At, Deriver};
use super::words::{NAME_LIMIT, cut, name};
use super::{Sink, What};
use crate::SessionId;
use crate::record::{Artifact, Context, Meta, Source};
use crate::session::{ArtifactRow, Row, Stamp};

/// How many threads a session remembers to have spoken to.
const CHILDREN: usize = 256;

/// What has been told already, so that later records do not take its place.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Told {
    /// Metadata; a forked thread may carry its parent's behind its own.
    meta: bool,
    /// A time of the beginning.
    pub start: bool,
    /// Git, by an artifact record; a resume tells it again, but not of the beginning.
    git: bool,
    /// Artifacts so far.
    artifacts: u32,
}

impl Deriver {
    pub(super) fn meta(&mut self, meta: &Meta<'_>) {
        if std::mem::replace(&mut self.told.meta, true) {
            return;
        }
        let session = &mut self.session;
        if let Some(time) = meta.time {
            session.started_at = Some(time);
            self.told.start = true;
        }
        session.cwd = name(meta.cwd.as_deref()).or(session.cwd.take());
        session.originator = name(meta.originator.as_deref());
        session.cli_version = name(meta.cli_version.as_deref());
        session.model_provider = name(meta.model_provider.as_deref());
        match &meta.source {
            Source::Unknown => {}
            Source::Named(source) => cut(source, NAME_LIMIT).clone_into(&mut session.source),
            Source::SubAgent { name, parent, depth } => {
                cut(name, NAME_LIMIT).clone_into(&mut session.source);
                session.parent = parent.as_deref().and_then(|parent| parent.parse().ok());
                session.depth = *depth;
            }
        }
        if session.parent.is_none() {
            session.parent = meta.forked_from.as_deref().and_then(|parent| parent.parse().ok());
        }
        if !self.told.git {
            session.git_commit = name(meta.git.commit.as_deref());
            session.git_branch = name(meta.git.branch.as_deref());
            session.git_url = meta.git.url.as_deref().map(without_credentials);
        }
    }

    /// The settings that hold from here on.
    pub(super) fn settings(&mut self, context: &Context<'_>) {
        let session = &mut self.session;
        let set = |slot: &mut Option<String>, value: Option<&str>| {
            if let Some(value) = value.filter(|value| !value.is_empty() && slot.as_deref() != Some(value)) {
                *slot = Some(cut(value, NAME_LIMIT).to_owned());
            }
        };
        set(&mut session.model, context.model.as_deref());
        set(&mut session.approval_policy, context.approval_policy.as_deref());
        set(&mut session.sandbox_policy, context.sandbox_policy.as_deref());
        if session.cwd.is_none() {
            set(&mut session.cwd, context.cwd.as_deref());
        }
    }

    pub(super) fn artifact(&mut self, stamp: Stamp, artifact: &Artifact<'_>, sink: &mut impl Sink) {
        let mut row = ArtifactRow {
            ordinal: self.told.artifacts,
            kind: String::new(),
            at: stamp,
            path: None,
            sha256: None,
            base: None,
        };
        match artifact {
            Artifact::Git { root, git } => {
                row.kind = "git_info".into();
                if !std::mem::replace(&mut self.told.git, true) {
                    let session = &mut self.session;
                    session.repo_root = name(root.as_deref());
                    session.git_commit = name(git.commit.as_deref()).or(session.git_commit.take());
                    session.git_branch = name(git.branch.as_deref()).or(session.git_branch.take());
                    session.git_url = git.url.as_deref().map(without_credentials).or(session.git_url.take());
                }
            }
            Artifact::Diff { base, path, sha256 } => {
                row.kind = "git_diff".into();
                (row.path, row.sha256, row.base) =
                    (name(Some(path)), name(Some(sha256)), name(base.as_deref()));
            }
            Artifact::Shell { path, sha256 } => {
                row.kind = "shell_snapshot".into();
                (row.path, row.sha256) = (name(Some(path)), name(Some(sha256)));
            }
            Artifact::Other { kind } => cut(kind, NAME_LIMIT).clone_into(&mut row.kind),
        }
        self.told.artifacts = self.told.artifacts.saturating_add(1);
        sink.row(Row::Artifact(row));
    }

    /// Another thread that this one started or spoke to.
    pub(super) fn child(&mut self, thread: Option<&str>) {
        let Some(thread) = thread.and_then(|thread| thread.parse::<SessionId>().ok()) else { return };
        let children = &mut self.session.children;
        if children.len() < CHILDREN && thread != self.session.id && !children.contains(&thread) {
            children.push(thread);
        }
    }

    /// Codex ends. What it still says while it ends does not open the session again.
    pub(super) fn shut_down(&mut self, stamp: Stamp, sink: &mut impl Sink) {
        if !std::mem::replace(&mut self.session.closed, true) {
            let at = At { stamp, turn_id: "", turn: None };
            self.tell(&at, What::Shutdown, sink);
        }
    }
}

/// A remote's URL without what could let someone in: user and password of a web address, the password of a
/// secure shell's, and what follows a `?`.
pub(crate) fn without_credentials(url: &str) -> String {
    let url = cut(url, NAME_LIMIT);
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, ""),
    };
    let host = match authority.rsplit_once('@') {
        Some((user, host)) if scheme.eq_ignore_ascii_case("ssh") => {
            format!("{}@{host}", user.split(':').next().unwrap_or_default())
        }
        Some((_, host)) => host.to_owned(),
        None => authority.to_owned(),
    };
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remotes_url_keeps_no_credentials() {
        for (url, kept) in [
            ("https://user:secret@example.org/a/b.git", "https://example.org/a/b.git"),
            ("https://token@example.org/a", "https://example.org/a"),
            ("https://example.org/a?access_token=1", "https://example.org/a"),
            ("https://a:b@c@example.org", "https://example.org"),
            ("ssh://git:secret@example.org/a", "ssh://git@example.org/a"),
            ("git@example.org:a/b.git", "git@example.org:a/b.git"),
            ("/srv/git/a.git", "/srv/git/a.git"),
        ] {
            assert_eq!(without_credentials(url), kept);
        }
    }
}
