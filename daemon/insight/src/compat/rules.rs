//! The rules, in the order in which the earlier tool goes through them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use trace::SessionId;

use super::Counts;
use super::record::{Kept, Seen};
use crate::Signal;
use crate::rules::{clean, count};
use crate::signal::{Anchor, RuleSet, SignalId, SignalType};

/// Finds all signals.
pub(super) fn find(session: &SessionId, kept: &[Kept], counts: Counts) -> Vec<Signal> {
    let mut found = Found { session, signals: Vec::new(), times: BTreeMap::new() };
    points(kept, &mut found);
    approvals(kept, &mut found);
    words(kept, &mut found);
    compactions(kept, &mut found);
    files(kept, &mut found);
    plans(kept, &mut found);
    calls(kept, &mut found);
    delight(kept, counts, &mut found);
    found.signals
}

struct Found<'a> {
    session: &'a SessionId,
    signals: Vec<Signal>,
    /// How many signals of a category there are at a line: lines can be given twice.
    times: BTreeMap<(&'static str, u32, u64), u32>,
}

impl Found<'_> {
    /// About one record.
    fn point(&mut self, category: &'static str, severity: f64, kept: &Kept, description: &str, raw: Value) {
        let times = self.times.entry((category, kept.place.file, kept.place.line)).or_default();
        let subject = if *times == 0 { String::new() } else { times.to_string() };
        *times = times.saturating_add(1);
        let anchor = Anchor::Record { epoch: 0, file: kept.place.file, line: kept.place.line, subject };
        let mut signal = self.signal(category, severity, SignalType::Friction, &anchor, description, raw);
        signal.turn_id.clone_from(&kept.turn_id);
        signal.call_id = match &kept.seen {
            Seen::ExecEnd { call_id, .. } | Seen::PatchEnd { call_id, .. } => call_id.clone(),
            _ => None,
        };
        signal.seq_start = u64::try_from(kept.seq).ok();
        signal.places = vec![kept.place];
        signal.at = kept.at;
        self.signals.push(signal);
    }

    /// About several records: the range that they span.
    fn range(
        &mut self,
        category: &'static str,
        severity: f64,
        kept: &[&Kept],
        description: &str,
        raw: Value,
    ) {
        let mut signal =
            self.signal(category, severity, SignalType::Friction, &Anchor::Session, description, raw);
        let seqs = kept.iter().filter_map(|kept| u64::try_from(kept.seq).ok());
        signal.seq_start = seqs.clone().min();
        signal.seq_end = seqs.max();
        signal.places = kept.iter().take(16).map(|kept| kept.place).collect();
        signal.at = kept.last().and_then(|last| last.at);
        self.signals.push(signal);
    }

    /// About the session.
    fn whole(
        &mut self,
        category: &'static str,
        severity: f64,
        kind: SignalType,
        description: &str,
        raw: Value,
    ) {
        let signal = self.signal(category, severity, kind, &Anchor::Session, description, raw);
        self.signals.push(signal);
    }

    fn signal(
        &self,
        category: &str,
        severity: f64,
        kind: SignalType,
        anchor: &Anchor,
        description: &str,
        evidence: Value,
    ) -> Signal {
        Signal {
            id: SignalId::of(RuleSet::Compat, self.session, category, anchor),
            kind,
            category: category.to_owned(),
            severity,
            confidence: 1.0,
            session_id: self.session.clone(),
            epoch: 0,
            turn_id: None,
            call_id: None,
            seq_start: None,
            seq_end: None,
            description: clean(description, 240),
            evidence,
            places: Vec::new(),
            detector: "mechanical".to_owned(),
            rule_set: RuleSet::Compat,
            at: None,
            settled: true,
        }
    }
}

fn of(kept: &[Kept], wanted: impl Fn(&Seen) -> bool) -> Vec<&Kept> {
    kept.iter().filter(|kept| wanted(&kept.seen)).collect()
}

/// `error_event` or `timeout`, `stream_error`, `truncation_warning`.
fn points(kept: &[Kept], found: &mut Found<'_>) {
    for record in kept {
        if let Seen::Error { message } = &record.seen {
            let timeout = message.to_lowercase().contains("timeout");
            let category = if timeout { "timeout" } else { "error_event" };
            let start: String = message.chars().take(100).collect();
            let raw = json!({ "message": clean(message, 400) });
            found.point(category, 0.8, record, &format!("Error: {start}"), raw);
        }
    }
    for record in of(kept, |seen| matches!(seen, Seen::StreamError)) {
        found.point("stream_error", 0.9, record, "The stream broke.", json!({}));
    }
    for record in of(kept, |seen| matches!(seen, Seen::TruncationWarning)) {
        found.point("truncation_warning", 0.3, record, "Codex warned of truncation.", json!({}));
    }
}

/// `denial_exec`, `denial_patch`, `repeated_denial`.
fn approvals(kept: &[Kept], found: &mut Found<'_>) {
    for record in of(kept, |seen| matches!(seen, Seen::DeniedExec)) {
        found.point("denial_exec", 0.5, record, "A command was denied.", json!({}));
    }
    for record in of(kept, |seen| matches!(seen, Seen::DeniedPatch)) {
        found.point("denial_patch", 0.5, record, "A patch was denied.", json!({}));
    }
    let all = of(kept, |seen| matches!(seen, Seen::DeniedExec | Seen::DeniedPatch));
    if all.len() >= 3 {
        let description = format!("{} requests were denied.", all.len());
        found.range("repeated_denial", 0.9, &all, &description, json!({ "denial_count": all.len() }));
    }
}

/// `revert_in_message`. `undo` and `rollback` stand before it and never find anything.
fn words(kept: &[Kept], found: &mut Found<'_>) {
    for record in of(kept, |seen| matches!(seen, Seen::UserTurn { reverts: true })) {
        found.point("revert_in_message", 0.5, record, "The user may want something back.", json!({}));
    }
}

/// `compaction`, `repeated_compaction`.
fn compactions(kept: &[Kept], found: &mut Found<'_>) {
    let all = of(kept, |seen| matches!(seen, Seen::Compaction));
    for record in &all {
        found.point("compaction", 0.2, record, "The context was compacted.", json!({}));
    }
    if all.len() >= 2 {
        let description = format!("The context was compacted {} times.", all.len());
        let raw = json!({ "compaction_count": all.len() });
        found.range("repeated_compaction", 0.6, &all, &description, raw);
    }
}

/// `file_churn`.
fn files(kept: &[Kept], found: &mut Found<'_>) {
    let mut all_added = BTreeSet::new();
    let mut all_deleted = BTreeSet::new();
    for record in kept {
        if let Seen::PatchEnd { added, deleted, .. } = &record.seen {
            all_added.extend(added);
            all_deleted.extend(deleted);
        }
    }
    let churned: Vec<_> = all_added.intersection(&all_deleted).map(|path| clean(path, 160)).collect();
    if !churned.is_empty() {
        let named = churned.iter().take(3).map(String::as_str).collect::<Vec<_>>().join(", ");
        let raw = json!({ "churned_files": churned });
        let description = format!("Files were both added and deleted: {named}");
        found.whole("file_churn", 0.5, SignalType::Friction, &description, raw);
    }
}

/// `plan_update_churn`.
fn plans(kept: &[Kept], found: &mut Found<'_>) {
    let all = of(kept, |seen| matches!(seen, Seen::Plan));
    if all.len() >= 5 {
        let description = format!("The plan was updated {} times.", all.len());
        found.range("plan_update_churn", 0.6, &all, &description, json!({ "plan_update_count": all.len() }));
    }
}

/// `exec_failure`, `patch_failure`.
fn calls(kept: &[Kept], found: &mut Found<'_>) {
    for record in kept {
        if let Seen::ExecEnd { exit_code: Some(code), .. } = &record.seen
            && !is_zero(code)
        {
            let description = format!("A command ended with exit code {code}.");
            found.point("exec_failure", 0.6, record, &description, json!({ "exit_code": code }));
        }
    }
    for record in of(kept, |seen| matches!(seen, Seen::PatchEnd { failed: true, .. })) {
        found.point("patch_failure", 0.6, record, "A patch could not be applied.", json!({}));
    }
}

/// `fast_completion`, `zero_denial`, `first_attempt_success`.
fn delight(kept: &[Kept], counts: Counts, found: &mut Found<'_>) {
    let user_turns = of(kept, |seen| matches!(seen, Seen::UserTurn { .. })).len() as u64;
    let turns = if counts.turns > 0 { counts.turns } else { user_turns };
    let execs = of(kept, |seen| matches!(seen, Seen::ExecEnd { .. })).len();
    let good_execs =
        of(kept, |seen| matches!(seen, Seen::ExecEnd { exit_code: Some(code), .. } if is_zero(code))).len();
    let good_patches = of(kept, |seen| matches!(seen, Seen::PatchEnd { failed: false, .. })).len();
    let delight = SignalType::Delight;
    if (1..=3).contains(&turns) && good_execs + good_patches > 0 {
        let raw = json!({
            "turn_count": turns, "successful_execs": good_execs, "successful_patches": good_patches,
        });
        found.whole("fast_completion", 0.8, delight, &format!("Done in {}.", count(turns, "turn")), raw);
    }
    if counts.approval_requests > 0 && counts.denials == 0 {
        let raw = json!({ "approval_count": counts.approval_requests });
        found.whole("zero_denial", 0.7, delight, "Nothing was denied.", raw);
    }
    if execs > 0 && good_execs == execs {
        let raw = json!({ "exec_count": execs });
        found.whole("first_attempt_success", 0.9, delight, "All commands succeeded.", raw);
    }
}

/// Whether an exit code is 0, as a number or a truth value.
fn is_zero(code: &Value) -> bool {
    code.as_f64() == Some(0.0) || code == &Value::Bool(false)
}
