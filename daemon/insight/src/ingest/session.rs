//! A session that is being read: from its files to one batch.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::sync::Arc;

use engine::NewEvent;
use engine::store::{Batch, Reader, StoreError};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use trace::decode::Decoder;
use trace::lines::{Piece, Position, Splitter};
use trace::session::Session;
use trace::source::{SessionSource, SourceFile};
use trace::{Place, SessionId};

use super::files::{self, Plan, Why};
use super::pipeline::{Pipeline, VERSION, Yield};
use crate::owner::Kin;
use crate::profile::Profile;
use crate::rules;
use crate::signal::{Signal, SignalId, SignalType};
use crate::store::chunk;
use crate::store::finding::FindingRow;
use crate::store::message::{LinkMessage, Numbered, SessionMessage, format_number, format_of};
use crate::store::page::{self, Fill, Kind};
use crate::store::tables::{ByTime, CursorRow, Cursors, FileRow, Sessions};
use crate::view::Phase;

/// How many bytes of a session are read before others have their turn.
const TURN: u64 = 64 << 20;

/// How many rows may gather before they are stored.
const ROWS: usize = 20_000;

/// How long a session that says that it is over may go on without having been settled in between.
const GRACE: i64 = 1000;

/// What is set for all sessions.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) now: Timestamp,
    pub(crate) settle_after: SignedDuration,
    pub(crate) live_window: SignedDuration,
    pub(crate) keep_findings: u32,
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
    /// Whether something was read while it was watched.
    appended: bool,
    gathered: Gathered,
    records: u64,
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

/// A change of a signal, to be numbered and told.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) phase: Phase,
    pub(crate) ordinal: u32,
    pub(crate) signal: Arc<Signal>,
    pub(crate) live: bool,
    /// Whether it was told before: it has only changed.
    again: bool,
}

/// What is to be stored of a session at once.
pub(crate) struct Part {
    pub(crate) batch: Batch,
    pub(crate) changes: Vec<Change>,
    pub(crate) events: Vec<NewEvent>,
    /// None if nothing was read.
    pub(crate) kin: Option<Kin>,
    pub(crate) bytes: u64,
    pub(crate) records: u64,
}

/// How far a turn of reading came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reached {
    /// The end of everything that was there.
    End,
    /// The end of its turn.
    Turn,
}

/// Why a session could not be read on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Open(#[from] trace::source::OpenError),
    #[error("cannot read")]
    Io(#[from] io::Error),
}

impl Live {
    /// Takes up a session where the store has it, or begins it.
    pub(crate) fn load(reader: &Reader, source: &SessionSource) -> Result<Self, StoreError> {
        let id = &source.id;
        let Some(cursor) = reader.get::<Cursors>(&id.as_str().to_owned())? else {
            return Ok(Self::begin(source));
        };
        let signals = stored_signals(reader, id, Kind::Signals)?;
        let former = if cursor.anew { stored_signals(reader, id, Kind::Former)? } else { HashMap::new() };
        let state = if matches!(files::plan(&cursor, VERSION, source), Plan::Anew(_)) {
            None
        } else {
            let like = Pipeline::first_state(id, source.format);
            chunk::get(reader, id.as_str(), &like, cursor.state_chunks)?
        };
        let pipeline = state.as_deref().and_then(Pipeline::restore);
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
            live.anew(source, Why::Version);
        }
        Ok(live)
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
        *self = Self {
            former,
            cursor: CursorRow {
                anew: true,
                indexed_at: old.indexed_at,
                state_chunks: old.state_chunks,
                announced: old.announced,
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

    /// Reads what there is, for one turn. `buffer` is what is read into.
    pub(crate) fn read(
        &mut self,
        source: &SessionSource,
        terms: &Terms,
        buffer: &mut [u8],
    ) -> Result<Reached, ReadError> {
        match files::plan(&self.cursor, VERSION, source) {
            Plan::Nothing => return Ok(Reached::End),
            Plan::Anew(Why::First) | Plan::GoOn => {}
            Plan::Anew(why) => self.anew(source, why),
        }
        if self.cursor.gone_at != 0 {
            self.cursor.gone_at = 0;
            self.gathered.any = true;
        }
        let first = self.cursor.files.last().map_or(0, |file| file.index);
        for (number, file) in source.files.iter().enumerate().filter(|(_, file)| file.index >= first) {
            if self.cursor.files.last().is_none_or(|last| last.index != file.index) {
                self.cursor.files.push(files::row(file));
                self.gathered.any = true;
                self.splitter = None;
            }
            let is_last = number + 1 == source.files.len();
            let mut decoder = Decoder::for_file(source.format, &file.path);
            match self.read_file(file, is_last, terms, &mut decoder, buffer)? {
                Some(Reached::End) => {}
                Some(Reached::Turn) => return Ok(Reached::Turn),
                // Rewritten in place: begin again, which cannot happen twice in one look.
                None => {
                    self.anew(source, Why::Rewritten);
                    return self.read(source, terms, buffer);
                }
            }
        }
        self.cursor.changed_at = files::changed_at(source).as_microsecond();
        Ok(Reached::End)
    }

    /// Reads a file on; none if it is not what was read before.
    fn read_file(
        &mut self,
        file: &SourceFile,
        is_last: bool,
        terms: &Terms,
        decoder: &mut Decoder,
        buffer: &mut [u8],
    ) -> Result<Option<Reached>, ReadError> {
        let Some(row) = self.cursor.files.last() else { return Ok(Some(Reached::End)) };
        let mut opened = file.open()?;
        if !files::is_same(row, &opened)? {
            return Ok(None);
        }
        let mut splitter = match self.splitter.take() {
            Some((index, splitter)) if index == file.index => splitter,
            _ => Splitter::new(file.index, Position { line: row.lines + 1, offset: row.offset }),
        };
        opened.seek(SeekFrom::Start(splitter.fed_to()))?;
        let mut reached = Reached::End;
        loop {
            let count = match opened.read(buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // What was read before the error is as good as ever.
                Err(error) => {
                    self.note(file, &opened, splitter.position(), false)?;
                    return Err(error.into());
                }
            };
            splitter.feed(&buffer[..count], |piece| self.take(piece, decoder, terms));
            self.gathered.bytes += count as u64;
            if self.gathered.bytes >= TURN || self.gathered.rows() >= ROWS {
                reached = Reached::Turn;
                break;
            }
        }
        if reached == Reached::End && !is_last && splitter.has_partial_line() {
            // Another file follows, so this one grows no more: its last line was torn.
            let Position { line, offset } = splitter.position();
            let end = splitter.fed_to();
            let len = u32::try_from(end.saturating_sub(offset)).unwrap_or(u32::MAX);
            let place = Place { file: file.index, line, offset, len };
            self.find(place, "torn_line", "the last line has no end".to_owned(), terms);
            splitter = Splitter::new(file.index, Position { line: line + 1, offset: end });
        }
        self.note(file, &opened, splitter.position(), reached == Reached::End)?;
        // Without the beginning of a line a splitter is no more than its place, which is noted already.
        self.splitter = splitter.has_partial_line().then_some((file.index, splitter));
        Ok(Some(reached))
    }

    /// Notes how far a file has been read, and its stat if that is all there was: what is left without one is
    /// read on however it looks.
    fn note(&mut self, file: &SourceFile, opened: &File, at: Position, whole: bool) -> io::Result<()> {
        let Some(row) = self.cursor.files.last_mut() else { return Ok(()) };
        let before = row.offset;
        let mut now = files::row(file);
        // Evidence is read from where the store says that the file lies.
        self.gathered.any |= row.path != now.path;
        if !whole {
            (now.size, now.modified) = (0, 0);
        }
        *row = FileRow { offset: at.offset, lines: at.line.saturating_sub(1), sample: row.sample, ..now };
        if at.offset != before {
            row.sample = files::sample(opened, at.offset)?;
            self.cursor.bytes += at.offset.saturating_sub(before);
            self.gathered.any = true;
        }
        Ok(())
    }

    fn take(&mut self, piece: Piece<'_>, decoder: &mut Decoder, terms: &Terms) {
        let (place, bytes) = match piece {
            Piece::Line { place, bytes } => (place, bytes),
            Piece::Oversize { place, len } => {
                let message = format!("the line has {len} bytes, which is too long to be read");
                return self.find(place, "line_too_long", message, terms);
            }
        };
        match decoder.decode(bytes, place) {
            Ok(record) => {
                self.gathered.records += 1;
                self.records += 1;
                self.count(record.seq);
                self.cursor.settled = false;
                self.appended = self.watched;
                self.pipeline.feed(&record, &mut self.gathered.out);
                if !self.gathered.out.found.is_empty() {
                    self.learn(terms);
                }
            }
            Err(error) => {
                let code = match error.problem {
                    trace::decode::Problem::NotAnObject => "not_an_object",
                    trace::decode::Problem::Broken { .. } => "broken_json",
                    trace::decode::Problem::NoType => "no_type",
                };
                self.find(place, code, error.to_string(), terms);
            }
        }
    }

    /// Counts what is missing and what came twice. Numbers may come in another order than they were given in.
    fn count(&mut self, seq: u64) {
        let cursor = &mut self.cursor;
        if cursor.next_seq == 0 || seq == cursor.next_seq {
            cursor.next_seq = seq.saturating_add(1);
        } else if seq > cursor.next_seq {
            cursor.gaps = cursor.gaps.saturating_add(seq - cursor.next_seq);
            cursor.next_seq = seq.saturating_add(1);
        } else if cursor.gaps > 0 {
            cursor.gaps -= 1;
        } else {
            cursor.duplicates = cursor.duplicates.saturating_add(1);
        }
    }

    fn find(&mut self, place: Place, code: &str, message: String, terms: &Terms) {
        self.cursor.findings = self.cursor.findings.saturating_add(1);
        if self.cursor.kept_findings < terms.keep_findings {
            let ordinal = self.cursor.kept_findings;
            self.cursor.kept_findings += 1;
            let row = FindingRow { ordinal, place, error: true, code: code.to_owned(), message };
            self.gathered.findings.insert(ordinal, Some(row));
        }
    }

    /// Takes what the rules said.
    fn learn(&mut self, terms: &Terms) {
        let mut found = std::mem::take(&mut self.gathered.out.found);
        for found in found.drain(..) {
            match found {
                rules::Change::Raised(signal) => self.raise(*signal, terms),
                rules::Change::Withdrawn(id) => self.withdraw(&id, terms),
            }
        }
        // The allocation is used again.
        self.gathered.out.found = found;
    }

    fn raise(&mut self, signal: Signal, terms: &Terms) {
        let known = self.signals.get(&signal.id);
        if known.is_some_and(|known| *known.signal == signal) {
            return;
        }
        let ordinal = known.map_or_else(
            || {
                self.cursor.next_signal += 1;
                self.cursor.next_signal - 1
            },
            |known| known.ordinal,
        );
        let known = known.map(|known| Arc::clone(&known.signal));
        let numbered = Numbered { ordinal, signal: Arc::new(signal) };
        let signal = &numbered.signal;
        let former = self.former.remove(&signal.id);
        let before = known.or(former);
        let again = before.is_some();
        let changed = |before: &Signal| Signal { settled: signal.settled, ..before.clone() } != **signal;
        let live = self.is_news(signal, terms);
        let change = |phase| Change { phase, ordinal, signal: Arc::clone(signal), live, again };
        let raised = before.as_deref().is_none_or(changed).then(|| change(Phase::Raised));
        // What is final from the beginning is told as both, so that who waits for either hears of it.
        let settles = signal.settled && !before.is_some_and(|before| before.settled);
        let settled = settles.then(|| change(Phase::Settled));
        self.gathered.changes.extend(raised.into_iter().chain(settled));
        self.gathered.signals.insert(ordinal, Some(numbered.clone()));
        self.signals.insert(numbered.signal.id.clone(), numbered);
        self.gathered.any = true;
    }

    fn withdraw(&mut self, id: &SignalId, terms: &Terms) {
        let Some(Numbered { ordinal, signal }) = self.signals.remove(id) else { return };
        self.gathered.signals.insert(ordinal, None);
        self.gathered.any = true;
        // What nobody has heard of yet need not be taken back.
        let mut heard = true;
        self.gathered.changes.retain(|change| {
            let mine = change.signal.id == *id;
            heard &= !mine || change.again;
            !mine
        });
        if heard {
            let live = self.is_news(&signal, terms);
            self.gathered.changes.push(Change {
                phase: Phase::Withdrawn,
                ordinal,
                signal,
                live,
                again: true,
            });
        }
    }

    fn is_news(&self, signal: &Signal, terms: &Terms) -> bool {
        self.appended || signal.at.is_some_and(|at| terms.now.duration_since(at) <= terms.live_window)
    }

    /// When the rules about the whole session can be asked; none if they have been.
    pub(crate) fn settles_at(&self, terms: &Terms) -> Option<Timestamp> {
        let closed = self.pipeline.session().closed;
        settles_at(&CursorRow { closed, ..self.cursor.clone() }, terms)
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

impl Gathered {
    fn rows(&self) -> usize {
        let rows = &self.out.rows;
        rows.turns.len()
            + rows.calls.len()
            + rows.approvals.len()
            + rows.compactions.len()
            + rows.artifacts.len()
            + self.signals.len()
    }
}

/// What becomes of a session when its batch is made.
impl Live {
    /// Asks the rules about the whole session, if it is time.
    pub(crate) fn settle(&mut self, terms: &Terms) {
        if self.settles_at(terms).is_none_or(|at| at > terms.now) {
            return;
        }
        self.cursor.settled = true;
        self.gathered.settled = true;
        self.gathered.any = true;
        self.pipeline.settle(&mut self.gathered.out);
        self.learn(terms);
    }

    /// Makes one batch of all that has gathered; none if there is nothing to store. `reached` says whether
    /// everything that was there has been read.
    pub(crate) fn part(
        &mut self,
        reader: &Reader,
        reached: Reached,
        terms: &Terms,
    ) -> Result<Option<Part>, StoreError> {
        let at_end = reached == Reached::End;
        if at_end && self.cursor.anew {
            self.end_anew(terms);
        }
        let live = self.watched;
        self.watched |= at_end;
        if !self.gathered.any {
            // Bytes of a line whose end has not come.
            self.gathered.bytes = 0;
            return Ok(None);
        }
        self.pipeline.flush(&mut self.gathered.out);
        let Gathered { out, signals, changes, findings, any: _, settled, bytes, records } =
            std::mem::take(&mut self.gathered);
        let mut batch = Batch::new();
        if std::mem::take(&mut self.clear) {
            for kind in Kind::ALL {
                page::clear(reader, &mut batch, &self.id, kind)?;
            }
            self.fresh = true;
            self.former_stored = false;
        }
        let fill = if live && !self.cursor.settled { Fill::LIVE } else { Fill::FULL };
        self.put_rows(reader, &mut batch, out, fill)?;
        page::merge(reader, &mut batch, &self.id, Kind::Signals, signals, fill, self.fresh)?;
        page::merge(reader, &mut batch, &self.id, Kind::Findings, findings, fill, self.fresh)?;
        self.put_former(reader, &mut batch)?;
        self.fresh = false;
        let session = self.pipeline.session();
        let events = self.put_session(&mut batch, &session, settled, terms);
        let like = Pipeline::first_state(&self.id, format_of(self.cursor.format));
        let (state, before) = (self.pipeline.state(), self.cursor.state_chunks);
        self.cursor.state_chunks = chunk::put(&mut batch, self.id.as_str(), &state, &like, before);
        self.cursor.closed = session.closed;
        batch.put::<Cursors>(&self.id.as_str().to_owned(), &self.cursor);
        Ok(Some(Part { batch, changes, events, kin: Some(Kin::of(session)), bytes, records }))
    }

    /// The new reading is complete: what it has not found again is withdrawn.
    fn end_anew(&mut self, terms: &Terms) {
        self.cursor.anew = false;
        self.gathered.any = true;
        for (_, signal) in std::mem::take(&mut self.former) {
            let live = self.is_news(&signal, terms);
            // It has no number in this reading.
            let ordinal = u32::MAX;
            self.gathered.changes.push(Change {
                phase: Phase::Withdrawn,
                ordinal,
                signal,
                live,
                again: true,
            });
        }
    }

    /// Keeps the signals of the former reading for as long as the new one is under way.
    fn put_former(&mut self, reader: &Reader, batch: &mut Batch) -> Result<(), StoreError> {
        if self.former_stored && !self.cursor.anew {
            page::clear(reader, batch, &self.id, Kind::Former)?;
            self.former_stored = false;
        } else if !self.former_stored && self.cursor.anew {
            let mut former: Vec<_> = self.former.values().cloned().collect();
            former.sort_by(|a, b| a.id.cmp(&b.id));
            let rows = (0..).zip(former).map(|(ordinal, signal)| Numbered { ordinal, signal });
            page::write(batch, &self.id, Kind::Former, rows, Fill::FULL);
            self.former_stored = true;
        }
        Ok(())
    }

    fn put_rows(&self, reader: &Reader, batch: &mut Batch, out: Yield, fill: Fill) -> Result<(), StoreError> {
        fn some<R>(rows: BTreeMap<u32, R>) -> impl Iterator<Item = (u32, Option<R>)> {
            rows.into_iter().map(|(ordinal, row)| (ordinal, Some(row)))
        }
        let (id, fresh) = (&self.id, self.fresh);
        let rows = out.rows;
        page::merge(reader, batch, id, Kind::Turns, some(rows.turns), fill, fresh)?;
        page::merge(reader, batch, id, Kind::Calls, some(rows.calls), fill, fresh)?;
        page::merge(reader, batch, id, Kind::Approvals, some(rows.approvals), fill, fresh)?;
        page::merge(reader, batch, id, Kind::Compactions, some(rows.compactions), fill, fresh)?;
        page::merge(reader, batch, id, Kind::Artifacts, some(rows.artifacts), fill, fresh)
    }

    /// The session's own row and its place in the index. Gives the events that tell of the session.
    fn put_session(
        &mut self,
        batch: &mut Batch,
        session: &Session,
        settled: bool,
        terms: &Terms,
    ) -> Vec<NewEvent> {
        let key = self.id.as_str().to_owned();
        let begun = session.started_at.unwrap_or(Timestamp::UNIX_EPOCH);
        let place = index_time(begun);
        if self.cursor.indexed_at != Some(place) {
            if let Some(before) = self.cursor.indexed_at {
                batch.delete::<ByTime>(&(before, key.clone()));
            }
            batch.put::<ByTime>(&(place, key.clone()), &LinkMessage {});
            self.cursor.indexed_at = Some(place);
        }
        let mut row = SessionMessage::of(session);
        for Numbered { signal, .. } in self.signals.values() {
            let by_category = match signal.kind {
                SignalType::Friction => &mut row.friction,
                SignalType::Delight => &mut row.delight,
            };
            *by_category.entry(signal.category.clone()).or_default() += 1;
            if signal.kind == SignalType::Friction {
                row.severity = row.severity.max(signal.severity);
            }
        }
        let signals = self.signals.values().map(|known| &*known.signal);
        let profile = Profile::of(self.pipeline.course(), self.cursor.settled, signals);
        row.profile = profile.map(|profile| profile.as_str().to_owned()).unwrap_or_default();
        row.settled = self.cursor.settled;
        row.gone_at = self.cursor.gone_at;
        row.home.clone_from(&self.cursor.home);
        row.path = self.cursor.files.first().map(|file| file.path.clone()).unwrap_or_default();
        row.bytes = self.cursor.bytes;
        row.findings = self.cursor.findings;
        row.fit();
        batch.put::<Sessions>(&key, &row);
        self.session_events(session, &row, settled, terms)
    }

    fn session_events(
        &mut self,
        session: &Session,
        row: &SessionMessage,
        settled: bool,
        terms: &Terms,
    ) -> Vec<NewEvent> {
        let mut events = Vec::new();
        let recent =
            |at: Option<Timestamp>| at.is_some_and(|at| terms.now.duration_since(at) <= terms.live_window);
        let data = || {
            json!({
                "session": self.id, "source": row.source, "model": row.model, "cwd": row.cwd,
                "repository": row.git_url, "started_at": session.started_at,
            })
        };
        // A file can be found before its first record is: then nothing is known yet that could be told.
        if !self.cursor.announced && session.started_at.is_some() {
            if recent(session.started_at) {
                events.push(NewEvent { kind: "session.started".to_owned(), data: data() });
            }
            self.cursor.announced = true;
        }
        if settled && (self.appended || recent(session.ended_at)) {
            let mut data = data();
            data["profile"] = json!(row.profile);
            data["friction"] = json!(row.friction);
            data["delight"] = json!(row.delight);
            events.push(NewEvent { kind: "session.settled".to_owned(), data });
        }
        events
    }

    pub(crate) fn cursor(&self) -> &CursorRow {
        &self.cursor
    }

    /// Notes that the files are gone, and that all else stays. None if it is known already.
    pub(crate) fn note_gone(
        reader: &Reader,
        id: &SessionId,
        now: Timestamp,
    ) -> Result<Option<Batch>, StoreError> {
        let key = id.as_str().to_owned();
        let Some(mut cursor) = reader.get::<Cursors>(&key)?.filter(|cursor| cursor.gone_at == 0) else {
            return Ok(None);
        };
        let mut batch = Batch::new();
        cursor.gone_at = now.as_microsecond().max(1);
        if let Some(mut row) = reader.get::<Sessions>(&key)? {
            row.gone_at = cursor.gone_at;
            batch.put::<Sessions>(&key, &row);
        }
        batch.put::<Cursors>(&key, &cursor);
        Ok(Some(batch))
    }

    /// Removes all that was derived of a session.
    pub(crate) fn forget(reader: &Reader, id: &SessionId) -> Result<Option<Batch>, StoreError> {
        let key = id.as_str().to_owned();
        let Some(cursor) = reader.get::<Cursors>(&key)? else { return Ok(None) };
        let mut batch = Batch::new();
        for kind in Kind::ALL {
            page::clear(reader, &mut batch, id, kind)?;
        }
        chunk::delete(&mut batch, &key, cursor.state_chunks);
        if let Some(place) = cursor.indexed_at {
            batch.delete::<ByTime>(&(place, key.clone()));
        }
        batch.delete::<Sessions>(&key);
        batch.delete::<Cursors>(&key);
        Ok(Some(batch))
    }
}

/// A time as the index orders it: the latest first.
pub(crate) fn index_time(time: Timestamp) -> u64 {
    u64::MAX - time.as_microsecond().cast_unsigned().wrapping_add(1 << 63)
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
