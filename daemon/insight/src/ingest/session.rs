//! A session that is being read: from its files to one batch.

mod gone;
mod learn;
mod part;
mod read;

pub(crate) use learn::{Change, Changes};
pub(crate) use part::Part;
pub(crate) use read::{Reached, ReadError};

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use engine::store::{Batch, Reader, StoreError};
use jiff::{SignedDuration, Timestamp};
use trace::SessionId;
use trace::lines::Splitter;
use trace::source::SessionSource;

use super::files::{self, Plan, Why};
use super::pipeline::{Pipeline, VERSION, Yield};
use crate::signal::{Signal, SignalId};
use crate::store::chunk;
use crate::store::cursor;
use crate::store::finding::FindingRow;
use crate::store::message::{Numbered, format_number};
use crate::store::page::{self, Kind};
use crate::store::tables::CursorRow;

/// How long a session that says that it is over may go on without having been settled in between.
const GRACE: i64 = 1000;

/// How long ago a session must have ended for its state not to be kept. Hardly any of them ever goes on, and one that
/// does is read again from its beginning, once; to keep what all of them would need for it costs more than that.
const HISTORY: SignedDuration = SignedDuration::from_hours(24);

/// What is set for all sessions.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) now: Timestamp,
    pub(crate) settle_after: SignedDuration,
    pub(crate) live_window: SignedDuration,
    pub(crate) keep_findings: u32,
}

impl Terms {
    /// Whether what happened then is news, though nobody was watching.
    fn is_recent(&self, at: Option<Timestamp>) -> bool {
        at.is_some_and(|at| self.now.duration_since(at) <= self.live_window)
    }
}

/// A session that is being read.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own, and they come in every combination"
)]
pub(crate) struct Live {
    pub(crate) id: SessionId,
    cursor: CursorRow,
    pipeline: Pipeline,
    /// Current signals.
    signals: HashMap<SignalId, Numbered>,
    /// Signals of the reading before that this one has not found again yet, while it is read anew.
    former: HashMap<SignalId, Arc<Signal>>,
    /// The file under way with the line whose end has not come.
    splitter: Option<(u32, Splitter)>,
    /// Whether the store holds no pages of this session that count.
    fresh: bool,
    /// Whether those that the store holds are of a reading that counts no more.
    clear: bool,
    /// Whether `former` is in the store.
    former_stored: bool,
    /// Whether all that there was has been read since the daemon began: what comes now is news.
    pub(crate) watched: bool,
    /// Up to where it had been read, as file and offset, where it is read anew only because what it takes to read on
    /// was not kept.
    read_before: Option<(u32, u64)>,
    /// Whether something was read while it was watched.
    appended: bool,
    gathered: Gathered,
    records: u64,
}

/// What came of taking a session up.
pub(crate) enum Loaded {
    /// It can be read on.
    Live(Box<Live>),
    /// It has settled, and nothing is new but where it lies, which is to be stored.
    Moved(Batch),
}

/// What gathers until the next batch.
#[derive(Default)]
struct Gathered {
    out: Yield,
    signals: BTreeMap<u32, Option<Numbered>>,
    changes: Vec<Change>,
    findings: BTreeMap<u32, Option<FindingRow>>,
    /// Whether anything but the stat of a file has changed.
    any: bool,
    /// Whether the rules about the whole session have been asked.
    settled: bool,
    bytes: u64,
    records: u64,
}

impl Live {
    /// Takes up a session where the store has it, or begins it.
    pub(crate) fn load(reader: &Reader, source: &SessionSource) -> Result<Loaded, StoreError> {
        let id = &source.id;
        let Some(cursor) = cursor::get(reader, id.as_str())? else {
            return Ok(Loaded::Live(Box::new(Self::begin(source))));
        };
        let plan = files::plan(&cursor, VERSION, source);
        if plan == Plan::Moved && cursor.settled {
            return Self::note_moved(reader, cursor, source).map(Loaded::Moved);
        }
        let signals = stored_signals(reader, id, Kind::Signals)?;
        let former = if cursor.anew { stored_signals(reader, id, Kind::Former)? } else { HashMap::new() };
        let pipeline = match plan {
            Plan::Anew(_) => None,
            // There is nothing to be done, and so nothing that has to be known.
            Plan::Nothing if cursor.settled => Some(Pipeline::new(id.clone(), source.format)),
            Plan::Nothing | Plan::Moved | Plan::GoOn => {
                let like = Pipeline::first_state(id, source.format);
                let state = chunk::get(reader, id.as_str(), &like, cursor.state_chunks)?;
                state.as_deref().and_then(Pipeline::restore)
            }
        };
        let lost = pipeline.is_none();
        let mut live = Self {
            pipeline: pipeline.unwrap_or_else(|| Pipeline::new(id.clone(), source.format)),
            former_stored: cursor.anew,
            former: former.into_iter().map(|(id, numbered)| (id, numbered.signal)).collect(),
            cursor,
            signals,
            fresh: false,
            ..Self::begin(source)
        };
        if lost {
            let why = match plan {
                Plan::Anew(why) => why,
                _ if files::begins_as_read(&live.cursor, source) => Why::NotKept,
                _ => Why::Rewritten,
            };
            live.anew(source, why);
        }
        Ok(Loaded::Live(Box::new(live)))
    }

    fn begin(source: &SessionSource) -> Self {
        Self {
            id: source.id.clone(),
            cursor: CursorRow {
                version: VERSION,
                format: format_number(source.format),
                home: files::home(source).to_vec(),
                ..CursorRow::default()
            },
            pipeline: Pipeline::new(source.id.clone(), source.format),
            signals: HashMap::new(),
            former: HashMap::new(),
            splitter: None,
            fresh: true,
            clear: false,
            former_stored: false,
            watched: false,
            read_before: None,
            appended: false,
            gathered: Gathered::default(),
            records: 0,
        }
    }

    /// Begins the session again under the same id: what the new reading finds takes the place of what the one
    /// before had found, and only the difference is told.
    fn anew(&mut self, source: &SessionSource, why: Why) {
        tracing::debug!(session = %self.id, ?why, "read anew");
        let mut former: HashMap<_, _> = std::mem::take(&mut self.former);
        former.extend(self.signals.drain().map(|(id, numbered)| (id, numbered.signal)));
        let old = std::mem::take(&mut self.cursor);
        let read = old.files.last().map(|file| (file.index, file.offset));
        *self = Self {
            former,
            read_before: read.filter(|_| why == Why::NotKept),
            cursor: CursorRow {
                anew: true,
                indexed_at: old.indexed_at,
                state_chunks: old.state_chunks,
                announced: old.announced,
                news: old.news && !old.settled,
                went_on: old.went_on || why == Why::NotKept,
                ..Self::begin(source).cursor
            },
            clear: !self.fresh,
            watched: self.watched,
            // What the store has of it is replaced as a whole when it is stored next.
            former_stored: false,
            ..Self::begin(source)
        };
        self.gathered.any = true;
    }

    /// When the rules about the whole session can be asked; none if they have been.
    pub(crate) fn settles_at(&self, terms: &Terms) -> Option<Timestamp> {
        let closed = self.pipeline.session().closed;
        settles_at(&CursorRow { closed, ..self.cursor.clone() }, terms)
    }

    /// Whether it ended so long ago that nobody expects it to go on, and never did since. One that was read while it was
    /// on its way here, a part at a time, has.
    fn is_history(&self, terms: &Terms) -> bool {
        let changed = Timestamp::from_microsecond(self.cursor.changed_at).unwrap_or_default();
        self.cursor.settled && !self.cursor.went_on && terms.now.duration_since(changed) > HISTORY
    }

    pub(crate) fn cursor(&self) -> &CursorRow {
        &self.cursor
    }
}

/// When the rules about the whole session of a cursor can be asked; none if they have been.
pub(crate) fn settles_at(cursor: &CursorRow, terms: &Terms) -> Option<Timestamp> {
    if cursor.settled || cursor.files.is_empty() {
        return None;
    }
    let changed = Timestamp::from_microsecond(cursor.changed_at).unwrap_or_default();
    let grace = SignedDuration::from_millis(GRACE);
    let wait = if cursor.closed { grace.min(terms.settle_after) } else { terms.settle_after };
    Some(changed.saturating_add(wait).unwrap_or(Timestamp::MAX))
}

fn stored_signals(
    reader: &Reader,
    id: &SessionId,
    kind: Kind,
) -> Result<HashMap<SignalId, Numbered>, StoreError> {
    page::rows::<Numbered>(reader, id, kind, 0)
        .map(|row| row.map(|numbered| (numbered.signal.id.clone(), numbered)))
        .collect()
}
