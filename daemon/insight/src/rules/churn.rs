//! `file_churn` and `context_churn`: files come and go.

use serde::{Deserialize, Serialize};
use trace::What;
use trace::record::ChangeKind;
use trace::session::{CallOutcome, ToolCall};

use crate::rules::call::CallKind;
use crate::rules::moment::digest;
use crate::rules::words::{clean, count};
use crate::rules::{Descriptor, Finding, Moment, Scope, Tally, descriptor};

descriptor! {
    /// A file was both added and deleted.
    FILE_CHURN = "file_churn", Friction, 0.5, Growing;
    trigger: "Patches that were applied add and delete the same path, in either order.",
    threshold: "1 such path in the session.",
    grading: "",
    evidence: "`file_count`, `files` (the first 16).",
}

descriptor! {
    /// A file was added and deleted back and forth.
    CONTEXT_CHURN = "context_churn", Friction, 0.5, Growing;
    trigger: "Patches that were applied add, delete and add the same path again, or go from one to the other 3 times or more.",
    threshold: "1 such path in the session.",
    grading: "",
    evidence: "`file_count`, `files` (the first 16).",
}

/// How many paths of a session are remembered; changes to further ones are not seen by these rules.
const PATHS: usize = 1024;
/// How many paths a signal names.
const NAMED: usize = 16;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Churn {
    /// Paths that were added or deleted, ordered by number.
    paths: Vec<History>,
    files: Files,
    contexts: Files,
}

/// What happened to a path.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct History {
    path: u64,
    first: ChangeKind,
    last: ChangeKind,
    /// How often an addition followed a deletion or the other way.
    turns: u8,
}

/// The paths that a signal is about.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Files {
    count: u64,
    names: Vec<String>,
    moments: Tally,
}

impl Churn {
    pub(super) fn feed(&mut self, moment: &Moment<'_>, scope: &mut Scope<'_>) {
        let What::CallClosed(call) = moment.fact.what else { return };
        if CallKind::of(call) != CallKind::Patch || call.outcome != CallOutcome::Succeeded {
            return;
        }
        let (churned, churned_more) = self.changed_again(call);
        if self.files.note(churned, moment) {
            scope.raise(&FILE_CHURN, self.files.finding(&FILE_CHURN));
        }
        if self.contexts.note(churned_more, moment) {
            scope.raise(&CONTEXT_CHURN, self.contexts.finding(&CONTEXT_CHURN));
        }
    }

    /// The paths that have now become such as the one rule and as the other is about.
    fn changed_again<'a>(&mut self, call: &'a ToolCall) -> (Vec<&'a str>, Vec<&'a str>) {
        let mut files = Vec::new();
        let mut contexts = Vec::new();
        for (path, kind) in call.changes.iter().filter(|(_, kind)| *kind != ChangeKind::Update) {
            let number = digest(0, path);
            match self.paths.binary_search_by_key(&number, |known| known.path) {
                Err(index) if self.paths.len() < PATHS => {
                    self.paths.insert(index, History { path: number, first: *kind, last: *kind, turns: 0 });
                }
                Err(_) => {}
                Ok(index) => {
                    let known = &mut self.paths[index];
                    if known.last == *kind {
                        continue;
                    }
                    let before = known.is_context_churn();
                    known.last = *kind;
                    known.turns = known.turns.saturating_add(1);
                    if known.turns == 1 {
                        files.push(path.as_str());
                    }
                    if known.is_context_churn() && !before {
                        contexts.push(path.as_str());
                    }
                }
            }
        }
        (files, contexts)
    }
}

impl History {
    fn is_context_churn(&self) -> bool {
        match self.first {
            ChangeKind::Add => self.turns >= 2,
            _ => self.turns >= 3,
        }
    }
}

impl Files {
    /// Takes further paths; whether there were any.
    fn note(&mut self, paths: Vec<&str>, moment: &Moment<'_>) -> bool {
        if paths.is_empty() {
            return false;
        }
        self.moments.add(moment.fact);
        for path in paths {
            self.count = self.count.saturating_add(1);
            if self.names.len() < NAMED {
                self.names.push(clean(path, 160));
            }
        }
        true
    }

    fn finding(&self, rule: &Descriptor) -> Finding {
        let what = if rule.category == FILE_CHURN.category {
            "both added and deleted"
        } else {
            "added and deleted back and forth"
        };
        let were = if self.count == 1 { "was" } else { "were" };
        let named = self.names.iter().take(3).map(String::as_str).collect::<Vec<_>>().join(", ");
        Finding::moments(&self.moments)
            .describe(&format!("{} {were} {what}: {named}.", count(self.count, "file")))
            .with("file_count", self.count)
            .with("files", self.names.clone())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use trace::record::ChangeKind::{Add, Delete, Update};
    use trace::session::CallOutcome::{Failed, Succeeded};

    use crate::rules::story::Story;

    #[test]
    fn a_file_that_comes_and_goes_is_file_churn() {
        let mut story = Story::begun("fix it");
        story.patch(&[("a", Add), ("b", Delete), ("c", Add)], Succeeded).patch(&[("a", Update)], Succeeded);
        story.none("file_churn");
        story.patch(&[("a", Delete)], Succeeded).patch(&[("b", Add)], Succeeded);
        let signal = story.only("file_churn");
        assert_eq!(signal.evidence["files"], serde_json::json!(["a", "b"]));
        assert_eq!(signal.description, "2 files were both added and deleted: a, b.");
        story.none("context_churn");
    }

    #[test]
    fn back_and_forth_is_context_churn() {
        let mut story = Story::begun("fix it");
        story
            .patch(&[("a", Add)], Succeeded)
            .patch(&[("a", Delete)], Succeeded)
            .patch(&[("a", Add)], Succeeded);
        assert_eq!(story.only("context_churn").evidence["file_count"], 1);
    }

    #[test]
    fn a_file_that_was_there_first_must_go_and_come_once_more() {
        let mut story = Story::begun("fix it");
        story
            .patch(&[("a", Delete)], Succeeded)
            .patch(&[("a", Add)], Succeeded)
            .patch(&[("a", Delete)], Succeeded);
        story.none("context_churn");
        story.patch(&[("a", Add)], Succeeded);
        story.only("context_churn");
    }

    #[test]
    fn patches_that_were_not_applied_move_nothing() {
        let mut story = Story::begun("fix it");
        story.patch(&[("a", Add)], Failed).patch(&[("a", Delete)], Succeeded);
        story.none("file_churn");
    }
}
