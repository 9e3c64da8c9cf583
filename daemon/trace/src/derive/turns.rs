//! User turns: where they begin and end, and what was said in them.
//!
//! In a spine, a turn begins when the user's words are submitted and nothing runs, and has the submission's id.
//! Words that are submitted while a turn runs are put into it, and their id never comes again (unless Codex
//! did finish in between, and starts a turn for them after all). In 0.169.0's rollouts `task_started` begins
//! a turn. In 0.75.0's, turns have neither ids nor ends: the user's words begin one, and end the one before.
//! Dialects that leave the beginning out are met by beginning a turn with the first record that names it; there
//! a turn's context and the user's words are one turn, whichever comes first, also if their ids are not the same.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::deriver::{At, Deriver};
use super::words::{self, cut, hash_of_words, is_scaffolding, keep};
use super::{Sink, What};
use crate::Place;
use crate::record::{Failure, TokenCounts, UserItem};
use crate::session::{Format, Row, Stamp, TEXT_LIMIT, Turn, TurnEnd};

/// How many turns of an epoch are remembered by their ids, for what comes late.
const RECENT: usize = 32;
/// How many submissions are remembered until they come back as words or turns.
const WAITING: usize = 8;

/// The turns of the running epoch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Turns {
    /// The turn that runs.
    pub active: Option<Active>,
    /// Turns of this epoch by id, newest last.
    recent: VecDeque<(String, u32)>,
    /// Ids of work that is no user turn: compacting, undoing, a command that the user ran.
    asides: VecDeque<String>,
    /// Words that were put into a running turn.
    waiting: VecDeque<Waiting>,
    /// Hashes of submitted words that an event will say again.
    echoes: VecDeque<u64>,
    /// The next turn's number.
    next: u32,
    /// Beginnings are told in this session.
    starts_told: bool,
    /// Whether the turns of this rollout have ids.
    with_ids: Option<bool>,
    /// A rollback was asked for, and will be told.
    pub asked_rollback: bool,
}

/// The turn that runs.
#[expect(clippy::struct_excessive_bools, reason = "things that are or are not known, each by itself")]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Active {
    pub row: Turn,
    /// Its beginning was told.
    started: bool,
    /// Its context has told of a request whose tokens are still to come.
    pub context_counts: bool,
    /// The last that happened is that the user said no.
    pub rejected: bool,
    /// The last words, with nothing done since: the user's, the agent's.
    heard: Option<u64>,
    said: Option<u64>,
    spoke: bool,
    /// The last error that was told.
    error: Option<u64>,
    pub dirty: bool,
}

/// Words that were put into a running turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Waiting {
    id: String,
    text: String,
    place: Place,
}

impl Active {
    /// Nothing has come of it yet, apart from a context.
    fn is_fresh(&self) -> bool {
        !self.started && !self.spoke && self.row.calls == 0
    }

    /// Words that are submitted under this id belong to it: they have its own, or it began with its context and
    /// they are what it is about.
    fn takes_words(&self, id: &str) -> bool {
        let named = !id.is_empty() && self.row.id == id;
        named || (self.row.user_message.is_none() && self.is_fresh() && self.row.requests == 1)
    }

    /// It began with the user's words, and nothing has told under which id it runs.
    fn waits_for_its_name(&self) -> bool {
        self.row.user_message.is_some() && self.is_fresh() && self.row.requests == 0
    }
}

impl Turns {
    pub(super) fn active_ordinal(&self) -> Option<u32> {
        self.active.as_ref().map(|active| active.row.ordinal)
    }

    /// The running turn, if a record is about it.
    pub(super) fn active_of(&mut self, at: &At<'_>) -> Option<&mut Active> {
        self.active.as_mut().filter(|active| Some(active.row.ordinal) == at.turn)
    }

    /// The running turn, for a record that names none.
    pub(super) fn implied(&self, id: &str) -> Option<u32> {
        if id.is_empty() { self.active_ordinal() } else { None }
    }

    /// Something was done: words that are said now are new words.
    pub(super) fn acted(&mut self) {
        if let Some(active) = &mut self.active {
            (active.heard, active.said, active.rejected) = (None, None, false);
        }
    }

    fn known(&self, id: &str) -> Option<u32> {
        match &self.active {
            Some(active) if active.row.id == id => Some(active.row.ordinal),
            _ => self.recent.iter().rev().find(|(known, _)| known == id).map(|(_, ordinal)| *ordinal),
        }
    }

    fn is_aside(&self, id: &str) -> bool {
        id.starts_with("auto-compact-") || self.asides.iter().any(|aside| aside == id)
    }

    /// What begins under this id is no user turn.
    pub(super) fn aside(&mut self, id: &str) {
        keep(&mut self.asides, WAITING, words::id(id).to_owned());
    }

    /// A new epoch: ids will come again.
    pub(super) fn forget(&mut self) {
        let Self { next, starts_told, with_ids, .. } = std::mem::take(self);
        *self = Self { next, starts_told, with_ids, ..Self::default() };
    }
}

impl Deriver {
    /// Where a record belongs. A turn that is not known yet begins with it, if it `begins` any.
    pub(super) fn at<'r>(&mut self, stamp: Stamp, id: &'r str, begins: bool, sink: &mut impl Sink) -> At<'r> {
        let turn_id = words::id(id);
        let turn = if turn_id.is_empty() {
            // In a rollout, everything between a turn's beginning and end is the turn's.
            self.turns.active_ordinal().filter(|_| self.rollout())
        } else if let Some(known) = self.turns.known(turn_id) {
            Some(known)
        } else if self.turns.is_aside(turn_id) {
            self.turns.active_ordinal()
        } else if begins {
            Some(self.name_turn(turn_id).unwrap_or_else(|| self.begin_turn(stamp, turn_id, None, sink)))
        } else {
            None
        };
        At { stamp, turn_id, turn }
    }

    /// Gives the running turn the id that records about it have, if it has only that of its submission.
    fn name_turn(&mut self, id: &str) -> Option<u32> {
        if !self.tells_no_starts() {
            return None;
        }
        let active = self.turns.active.as_mut().filter(|active| active.waits_for_its_name())?;
        id.clone_into(&mut active.row.id);
        active.dirty = true;
        let ordinal = active.row.ordinal;
        keep(&mut self.turns.recent, RECENT, (id.to_owned(), ordinal));
        Some(ordinal)
    }

    /// This is a spine in which no turn's beginning was ever told, as Codex itself always does.
    fn tells_no_starts(&self) -> bool {
        self.session.format == Format::Spine && !self.turns.starts_told
    }

    /// Begins a turn; one that still runs has ended, however it did.
    fn begin_turn(
        &mut self,
        stamp: Stamp,
        id: &str,
        words: Option<(&str, Place)>,
        sink: &mut impl Sink,
    ) -> u32 {
        let with_ids = Some(!id.is_empty());
        if self.rollout() && self.turns.with_ids.is_some() && self.turns.with_ids != with_ids {
            self.next_epoch(stamp, sink);
        }
        self.turns.with_ids = with_ids;
        self.end_turn(stamp, self.worked.unwrap_or(stamp), TurnEnd::Open, sink);
        self.epoch.used = true;
        self.session.closed = false;
        self.compaction_is_over();
        let waited = self.turns.waiting.iter().position(|waiting| waiting.id == id);
        let waited = waited.and_then(|index| self.turns.waiting.remove(index));
        let words = words.or(waited.as_ref().map(|waited| (&*waited.text, waited.place)));
        let ordinal = self.turns.next;
        self.turns.next = ordinal.saturating_add(1);
        self.session.counts.turns = self.session.counts.turns.saturating_add(1);
        keep(&mut self.turns.recent, RECENT, (id.to_owned(), ordinal));
        let row = Turn {
            ordinal,
            epoch: self.epoch.number,
            id: id.to_owned(),
            started: stamp,
            ended: None,
            end: TurnEnd::Open,
            user_message: words.map(|(text, _)| cut(text, TEXT_LIMIT).to_owned()),
            user_place: words.map(|(_, place)| place),
            model: self.session.model.clone(),
            approval_policy: self.session.approval_policy.clone(),
            sandbox_policy: self.session.sandbox_policy.clone(),
            requests: 0,
            calls: 0,
            context: self.compactions.count,
            tokens: TokenCounts::default(),
        };
        self.tell(&At { stamp, turn_id: id, turn: Some(ordinal) }, What::TurnBegan(&row), sink);
        self.turns.active = Some(Active {
            row,
            started: false,
            context_counts: false,
            rejected: false,
            heard: None,
            said: None,
            spoke: false,
            error: None,
            dirty: true,
        });
        ordinal
    }

    /// Ends the running turn, if one runs.
    pub(super) fn end_turn(&mut self, stamp: Stamp, ended: Stamp, end: TurnEnd, sink: &mut impl Sink) {
        let Some(Active { mut row, .. }) = self.turns.active.take() else { return };
        self.review = false;
        row.ended = Some(ended);
        row.end = end;
        let at = At { stamp, turn_id: &row.id, turn: Some(row.ordinal) };
        self.expire(&at, sink);
        if matches!(row.end, TurnEnd::Aborted { .. }) {
            self.interrupt_calls(&at, sink);
        }
        self.tell(&at, What::TurnEnded(&row), sink);
        sink.row(Row::Turn(row));
    }

    /// `task_started`.
    pub(super) fn turn_started(&mut self, stamp: Stamp, id: &str, sink: &mut impl Sink) {
        self.turns.starts_told = true;
        let id = words::id(id);
        if self.turns.is_aside(id) || (id.is_empty() && self.session.format == Format::Spine) {
            return;
        }
        match &mut self.turns.active {
            Some(active) if active.row.id == id => {
                active.started = true;
                return;
            }
            // A process runs one turn at a time: the one that began this turn is another one.
            Some(active) if active.started && self.session.format != Format::Spine => {
                self.next_epoch(stamp, sink);
            }
            _ => {}
        }
        self.begin_turn(stamp, id, None, sink);
        if let Some(active) = &mut self.turns.active {
            active.started = true;
        }
    }

    /// Words of the user, on their way to Codex.
    pub(super) fn user_submits(
        &mut self,
        stamp: Stamp,
        id: &str,
        items: &[UserItem<'_>],
        sink: &mut impl Sink,
    ) {
        let id = words::id(id);
        let text = text_of(items);
        let running = match &self.turns.active {
            Some(active) => active.started || self.turns.starts_told,
            None => false,
        };
        if running {
            let text = cut(&text, TEXT_LIMIT).to_owned();
            keep(&mut self.turns.waiting, WAITING, Waiting { id: id.to_owned(), text, place: stamp.place });
        } else if let Some(active) = &self.turns.active
            && self.tells_no_starts()
            && active.takes_words(id)
        {
            let ordinal = active.row.ordinal;
            if active.row.id != id {
                keep(&mut self.turns.recent, RECENT, (id.to_owned(), ordinal));
            }
        } else {
            let words = Some((&*text, stamp.place)).filter(|(text, _)| !text.is_empty());
            self.begin_turn(stamp, id, words, sink);
        }
        if text.is_empty() {
            return;
        }
        let hash = hash_of_words(&text);
        keep(&mut self.turns.echoes, WAITING, hash);
        let at = At { stamp, turn_id: "", turn: self.turns.active_ordinal() };
        self.heard(&at, &text, hash);
        self.tell(&at, What::UserSpoke { text: &text }, sink);
    }

    /// Words of the user, as Codex tells them.
    pub(super) fn user_message(&mut self, stamp: Stamp, turn: &str, text: &str, sink: &mut impl Sink) {
        if is_scaffolding(text) {
            return;
        }
        let hash = hash_of_words(text);
        if let Some(index) = self.turns.echoes.iter().position(|echo| *echo == hash) {
            self.turns.echoes.remove(index);
            let at = self.at(stamp, turn, true, sink);
            self.heard(&at, text, hash);
            return;
        }
        let words = Some((text, stamp.place)).filter(|(text, _)| !text.is_empty());
        // Where turns have no ids, the user's words are what begins one.
        let begins =
            turn.is_empty() && self.turns.active.as_ref().is_none_or(|active| active.row.id.is_empty());
        let at = if begins {
            let turn = Some(self.begin_turn(stamp, "", words, sink));
            At { stamp, turn_id: "", turn }
        } else {
            let at = self.at(stamp, turn, true, sink);
            At { turn: at.turn.or_else(|| self.turns.implied(at.turn_id)), ..at }
        };
        if self.heard(&at, text, hash) && !begins {
            return;
        }
        if words.is_some() {
            self.tell(&at, What::UserSpoke { text }, sink);
        }
    }

    /// Keeps the user's words with their turn: the first as what it is about, the last to know them again.
    /// Says whether they are the same as the last ones, with nothing done in between.
    fn heard(&mut self, at: &At<'_>, text: &str, hash: u64) -> bool {
        let Some(active) = self.turns.active_of(at) else { return false };
        if active.row.user_message.is_none() && !text.is_empty() {
            active.row.user_message = Some(cut(text, TEXT_LIMIT).to_owned());
            active.row.user_place = Some(at.stamp.place);
            active.dirty = true;
        }
        active.heard.replace(hash) == Some(hash)
    }

    /// Words of the agent.
    pub(super) fn agent_message(&mut self, at: &At<'_>, text: &str, sink: &mut impl Sink) {
        self.compaction_is_over();
        if self.review {
            return;
        }
        let hash = words::hash(text);
        if let Some(active) = self.turns.active_of(at) {
            (active.heard, active.rejected, active.spoke) = (None, false, true);
            if active.said.replace(hash) == Some(hash) {
                return;
            }
        }
        self.tell(at, What::AgentSpoke { text }, sink);
    }

    /// `task_complete`.
    pub(super) fn turn_complete(
        &mut self,
        at: &At<'_>,
        last_message: Option<&str>,
        error: Option<&Failure<'_>>,
        sink: &mut impl Sink,
    ) {
        let at = At { turn: at.turn.or_else(|| self.turns.implied(at.turn_id)), ..*at };
        if self.turns.is_aside(at.turn_id) {
            return;
        }
        let Some(active) = self.turns.active_of(&at) else { return };
        if let Some(text) = last_message.filter(|text| !active.spoke && !text.is_empty()) {
            self.agent_message(&at, text, sink);
        }
        let end = match error {
            Some(error) => {
                self.error(&at, error, sink);
                TurnEnd::Failed { info: words::name(error.info.as_deref()) }
            }
            None => TurnEnd::Complete,
        };
        self.end_turn(at.stamp, at.stamp, end, sink);
    }

    /// `turn_aborted`.
    pub(super) fn turn_aborted(&mut self, at: &At<'_>, reason: &str, sink: &mut impl Sink) {
        let at = At { turn: at.turn.or_else(|| self.turns.implied(at.turn_id)), ..*at };
        if self.turns.is_aside(at.turn_id) {
            return;
        }
        let rollout = self.rollout();
        let Some(active) = self.turns.active_of(&at) else { return };
        // A rollout has no submissions. A turn that stops because the user said no was not interrupted.
        if rollout && reason == "interrupted" && !active.rejected {
            self.tell(&at, What::Interrupt, sink);
        }
        let reason = cut(reason, words::ID_LIMIT).to_owned();
        self.end_turn(at.stamp, at.stamp, TurnEnd::Aborted { reason }, sink);
    }

    /// `error`, also as the end of a turn tells it once more.
    pub(super) fn error(&mut self, at: &At<'_>, failure: &Failure<'_>, sink: &mut impl Sink) {
        if self.review {
            return;
        }
        let hash = words::hash(&failure.message);
        if let Some(active) = self.turns.active_of(at)
            && active.error.replace(hash) == Some(hash)
        {
            return;
        }
        self.session.counts.errors = self.session.counts.errors.saturating_add(1);
        let what = What::Error { message: &failure.message, info: failure.info.as_deref() };
        self.tell(at, what, sink);
    }

    /// `plan_update`, or the call that makes one.
    pub(super) fn plan(&mut self, at: &At<'_>, steps: &[crate::record::PlanStep<'_>], sink: &mut impl Sink) {
        if self.review {
            return;
        }
        self.tell(at, What::Plan(steps), sink);
    }
}

/// The user's words, without what Codex puts among them.
fn text_of<'a>(items: &'a [UserItem<'_>]) -> std::borrow::Cow<'a, str> {
    let mut texts = items.iter().filter_map(|item| match item {
        UserItem::Text(text) if !is_scaffolding(text) => Some(&**text),
        _ => None,
    });
    let first = texts.next().unwrap_or_default();
    let Some(second) = texts.next() else { return first.into() };
    let mut all = format!("{first}\n{second}");
    for text in texts {
        all.push('\n');
        all.push_str(text);
    }
    all.into()
}
