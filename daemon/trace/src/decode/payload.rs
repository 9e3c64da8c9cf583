//! Payloads that are neither events nor items: metadata, settings, artifacts, boundaries.

use std::ops::Range;

use super::event::{path, text, token_counts};
use super::json::{Broken, Key, Picking, Raw, Unread};
use super::message::Message;
use super::{DecodeError, op, time};
use crate::record::{Artifact, Body, Bridge, Compaction, Context, Git, Meta, Source};
use crate::session::is_sub_agent;

/// `session_meta`: flat, or with its members in `meta` and git beside it.
pub(super) fn meta(payload: Raw<'_>) -> Result<Meta<'_>, DecodeError> {
    let [nested, outer_git] = payload.pick(["meta", "git"])?;
    let flat = nested.filter(|nested| nested.is_object()).unwrap_or(payload);
    let [id, session, forked_from, began, cwd, originator, version, source, provider, inner_git, parent] =
        flat.pick([
            "id",
            "session_id",
            "forked_from_id",
            "timestamp",
            "cwd",
            "originator",
            "cli_version",
            "source",
            "model_provider",
            "git",
            "parent_thread_id",
        ])?;
    let mut source = source.map(read_source).transpose()?.unwrap_or_default();
    if let Source::SubAgent { parent: slot @ None, .. } = &mut source {
        *slot = parent.and_then(Raw::text);
    }
    Ok(Meta {
        id: id.or(session).and_then(Raw::text),
        forked_from: forked_from.and_then(Raw::text),
        time: began.and_then(Raw::inside).and_then(time::parse),
        cwd: cwd.and_then(path),
        originator: originator.and_then(Raw::text),
        cli_version: version.and_then(Raw::text),
        source,
        model_provider: provider.and_then(Raw::text),
        git: inner_git.or(outer_git).map(git).transpose()?.unwrap_or_default(),
    })
}

/// A word, `{"subagent": …}`, or what other dialects make of it. A sub-agent is a word (`"review"`), an object
/// with its kind as the only key, or the whole source in one word.
pub(super) fn read_source(source: Raw<'_>) -> Result<Source<'_>, Broken> {
    if let Some(word) = source.text() {
        return Ok(if word.is_empty() || word.eq_ignore_ascii_case("unknown") {
            Source::Unknown
        } else if is_sub_agent(&word) {
            Source::SubAgent { name: word, parent: None, depth: None }
        } else {
            Source::Named(word)
        });
    }
    let [lower, upper, camel] = source.pick(["subagent", "SubAgent", "subAgent"])?;
    let Some(agent) = lower.or(upper).or(camel) else {
        return Ok(source.tag().map_or(Source::Unknown, Source::Named));
    };
    let [spawn, other] = agent.pick(["thread_spawn", "other"])?;
    if let Some(spawn) = spawn {
        let [parent, depth] = spawn.pick(["parent_thread_id", "depth"])?;
        return Ok(Source::SubAgent {
            name: "subagent:thread_spawn".into(),
            parent: parent.and_then(Raw::text),
            depth: depth.and_then(Raw::count).and_then(|depth| depth.try_into().ok()),
        });
    }
    let kind = other.and_then(Raw::text).or_else(|| agent.tag()).unwrap_or_else(|| "other".into());
    Ok(Source::SubAgent { name: format!("subagent:{kind}").into(), parent: None, depth: None })
}

fn git(git: Raw<'_>) -> Result<Git<'_>, Broken> {
    let [commit, branch, url] = git.pick(["commit_hash", "branch", "repository_url"])?;
    Ok(Git {
        commit: commit.and_then(Raw::text),
        branch: branch.and_then(Raw::text),
        url: url.and_then(Raw::text),
    })
}

/// `turn_context`: the settings in `context`, or in the payload itself.
pub(super) fn context<'a>(payload: Raw<'a>, last: &mut LastSettings) -> Result<Context<'a>, DecodeError> {
    let (mut flat, mut nested) = (Settings::new(), None);
    let mut message = Message::whole(payload);
    message.walk(|key, value| {
        if !key.is("context") {
            return flat.take(key, value);
        }
        let read = last.read(value)?;
        let end = read.as_ref().map(|(_, end)| *end);
        nested = read.map(|(settings, _)| settings);
        Ok(end)
    })?;
    Ok(Context { turn: message.named_turn(), ..nested.unwrap_or(flat).context() })
}

/// The settings that were read last, as they stood: most requests to the model are made with those of the one before,
/// which take kilobytes each.
#[derive(Debug, Default)]
pub(super) struct LastSettings {
    object: Vec<u8>,
    /// Where in the object those are that were asked for.
    found: [Option<Range<usize>>; 6],
}

/// The longest settings that are remembered.
const SETTINGS_LIMIT: usize = 64 * 1024;

impl LastSettings {
    /// The settings of an object and the offset behind it; none if it is no object.
    fn read<'a>(&mut self, value: Unread<'a>) -> Result<Option<(Settings<'a>, usize)>, Broken> {
        let mut settings = Settings::new();
        let (line, at) = value.place();
        if !self.object.is_empty() && line.get(at..).is_some_and(|rest| rest.starts_with(&self.object)) {
            let here = |found: &Range<usize>| Raw::at(line, at + found.start, at + found.end);
            settings.0.found = self.found.each_ref().map(|found| found.as_ref().map(here));
            return Ok(Some((settings, at + self.object.len())));
        }
        let end = value.walk(|key, value| settings.take(key, value)?.map_or_else(|| value.end(), Ok))?;
        let Some(end) = end else { return Ok(None) };
        self.object.clear();
        if end - at <= SETTINGS_LIMIT {
            self.object.extend_from_slice(line.get(at..end).unwrap_or_default());
            self.found =
                settings.0.found.map(|found| found.map(|value| value.start() - at..value.end() - at));
        }
        Ok(Some((settings, end)))
    }
}

/// The settings among the members of an object that are not picked for something else.
pub(super) fn context_beside<'a>(
    message: &mut Message<'a>,
    mut other: impl FnMut(Key<'a>, Unread<'a>) -> Result<Option<usize>, Broken>,
) -> Result<Context<'a>, Broken> {
    let mut settings = Settings::new();
    message.walk(|key, value| match settings.take(key, value)? {
        Some(end) => Ok(Some(end)),
        None => other(key, value),
    })?;
    Ok(settings.context())
}

/// The settings among the members of an object.
pub(super) fn context_of<'a>(message: &mut Message<'a>) -> Result<Context<'a>, Broken> {
    context_beside(message, |_, _| Ok(None))
}

/// Settings as they stand among other members.
struct Settings<'a>(Picking<'a, 6>);

impl<'a> Settings<'a> {
    fn new() -> Self {
        Self(Picking::new([
            "cwd",
            "approval_policy",
            "sandbox_policy",
            "model",
            "effort",
            "reasoning_effort",
        ]))
    }

    #[inline]
    fn take(&mut self, key: Key<'a>, value: Unread<'a>) -> Result<Option<usize>, Broken> {
        self.0.take(key, value)
    }

    fn context(self) -> Context<'a> {
        let [cwd, approval_policy, sandbox_policy, model, effort, reasoning_effort] = self.0.found;
        Context {
            turn: None,
            cwd: cwd.and_then(path),
            approval_policy: approval_policy.and_then(Raw::tag),
            sandbox_policy: sandbox_policy.and_then(Raw::tag),
            model: model.and_then(Raw::text),
            effort: effort.and_then(Raw::text).or_else(|| reasoning_effort.and_then(Raw::text)),
        }
    }
}

/// `artifact_ref`.
pub(super) fn artifact(payload: Raw<'_>) -> Result<Artifact<'_>, DecodeError> {
    let [kind, root, state, base, path, sha256] =
        payload.pick(["kind", "repo_root", "git", "base_sha", "artifact_path", "sha256"])?;
    let kind = text(kind);
    Ok(match &*kind {
        "git_info" => Artifact::Git {
            root: root.and_then(Raw::text),
            git: state.map(git).transpose()?.unwrap_or_default(),
        },
        "git_diff" => {
            Artifact::Diff { base: base.and_then(Raw::text), path: text(path), sha256: text(sha256) }
        }
        "shell_snapshot" => Artifact::Shell { path: text(path), sha256: text(sha256) },
        _ => Artifact::Other { kind },
    })
}

/// `compaction_boundary`.
pub(super) fn boundary(payload: Raw<'_>) -> Result<Compaction<'_>, DecodeError> {
    let [turn, kind, message, summary, before, after] = payload.pick([
        "turn_id",
        "kind",
        "summary_message",
        "post_summary",
        "pre_compaction_history",
        "post_compaction_history",
    ])?;
    Ok(Compaction {
        turn: turn.and_then(Raw::text),
        kind: kind.and_then(Raw::text),
        summary: message.and_then(Raw::text).or_else(|| summary.and_then(Raw::text)),
        has_histories: before.is_some_and(Raw::is_array) && after.is_some_and(Raw::is_array),
    })
}

/// A rollout's `compacted`.
pub(super) fn compacted(payload: Raw<'_>) -> Result<Compaction<'_>, DecodeError> {
    let [turn, message] = payload.pick(["turn_id", "message"])?;
    Ok(Compaction {
        turn: turn.and_then(Raw::text),
        kind: None,
        summary: message.and_then(Raw::text),
        has_histories: false,
    })
}

/// `bridge`.
pub(super) fn bridge(payload: Raw<'_>) -> Result<Bridge<'_>, DecodeError> {
    let [kind, parent_turn, thread, turn, call, answer] = payload.pick([
        "bridge_kind",
        "parent_turn_id",
        "sub_agent_thread_id",
        "sub_agent_turn_id",
        "sub_agent_call_id",
        "decision",
    ])?;
    Ok(Bridge {
        kind: text(kind),
        parent_turn: parent_turn.and_then(Raw::text),
        thread: thread.and_then(Raw::text),
        turn: turn.and_then(Raw::text),
        call: call.and_then(Raw::text),
        decision: answer.filter(|answer| answer.bytes() != b"null").map(op::decision),
    })
}

/// `token_usage_record`.
pub(super) fn token_usage_record(payload: Raw<'_>) -> Result<Body<'_>, DecodeError> {
    let (mut last, mut total) = (None, None);
    let mut message = Message::whole(payload);
    message.walk(|key, usage| {
        let slot = match () {
            () if key.is("usage") => &mut last,
            () if key.is("thread_token_usage") => &mut total,
            () => return Ok(None),
        };
        let (counts, end) = token_counts(usage)?;
        *slot = counts;
        Ok(Some(end))
    })?;
    Ok(Body::Tokens { turn: message.turn(), last: last.unwrap_or_default(), total })
}
