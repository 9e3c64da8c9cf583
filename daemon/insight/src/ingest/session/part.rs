//! What becomes of a session when its batch is made.

use std::collections::BTreeMap;

use engine::NewEvent;
use engine::store::{Batch, Reader, StoreError};
use jiff::Timestamp;
use serde_json::json;
use trace::session::Session;

use super::{Changes, Gathered, Live, Reached, Terms};
use crate::ingest::pipeline::{Pipeline, Yield};
use crate::log::Past;
use crate::owner::Kin;
use crate::profile::Profile;
use crate::signal::SignalType;
use crate::store::message::{LinkMessage, Numbered, SessionMessage, format_of};
use crate::store::page::{self, Fill, Kind};
use crate::store::tables::{ByTime, Sessions};
use crate::store::{chunk, cursor};

/// What is to be stored of a session at once.
pub(crate) struct Part {
    pub(crate) batch: Batch,
    pub(crate) changes: Changes,
    pub(crate) events: Vec<NewEvent>,
    /// None if nothing was read.
    pub(crate) kin: Option<Kin>,
    pub(crate) bytes: u64,
    pub(crate) records: u64,
}

impl Part {
    /// What is stored of a session of which nothing was read.
    pub(crate) fn without_records(batch: Batch) -> Self {
        Self {
            batch,
            changes: Changes::Past(Past::default()),
            events: Vec::new(),
            kin: None,
            bytes: 0,
            records: 0,
        }
    }
}

impl Live {
    /// Asks the rules about the whole session, if it is time.
    pub(crate) fn settle(&mut self, terms: &Terms) {
        if self.settles_at(terms).is_none_or(|at| at > terms.now) {
            return;
        }
        self.note_news(terms);
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
        self.note_news(terms);
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
            cursor::clear_files(reader, &mut batch, self.id.as_str(), &mut self.cursor)?;
            self.fresh = true;
            self.former_stored = false;
        }
        let fill = if live && !self.cursor.settled { Fill::LIVE } else { Fill::FULL };
        self.put_rows(reader, &mut batch, out, fill)?;
        page::merge(reader, &mut batch, &self.id, Kind::Signals, signals, fill, self.fresh)?;
        page::merge(reader, &mut batch, &self.id, Kind::Findings, findings, fill, self.fresh)?;
        self.put_former(reader, &mut batch)?;
        self.fresh = false;
        let session = self.pipeline.session().clone();
        let events = self.put_session(&mut batch, &session, settled, terms);
        self.put_state(&mut batch, at_end && self.is_history(terms));
        self.cursor.closed = session.closed;
        cursor::put(&mut batch, self.id.as_str(), &mut self.cursor);
        let changes = Changes::of(changes, terms);
        Ok(Some(Part { batch, changes, events, kin: Some(Kin::of(session)), bytes, records }))
    }

    /// Keeps what is needed to read on.
    fn put_state(&mut self, batch: &mut Batch, history: bool) {
        let before = self.cursor.state_chunks;
        self.cursor.state_chunks = if history {
            chunk::delete(batch, self.id.as_str(), before);
            0
        } else {
            let like = Pipeline::first_state(&self.id, format_of(self.cursor.format));
            chunk::put(batch, self.id.as_str(), &self.pipeline.state(), &like, before)
        };
    }

    /// The new reading is complete: what it has not found again is withdrawn.
    fn end_anew(&mut self, terms: &Terms) {
        self.cursor.anew = false;
        self.gathered.any = true;
        for (_, signal) in std::mem::take(&mut self.former) {
            // It has no number in this reading.
            self.tell_withdrawn(u32::MAX, signal, terms);
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
        let data = || {
            json!({
                "session": self.id, "source": row.source, "model": row.model, "cwd": row.cwd,
                "repository": row.git_url, "started_at": session.started_at,
            })
        };
        // A file can be found before its first record is: then nothing is known yet that could be told.
        if !self.cursor.announced && session.started_at.is_some() {
            if terms.is_recent(session.started_at) {
                events.push(NewEvent { kind: "session.started".to_owned(), data: data() });
            }
            self.cursor.announced = true;
        }
        if settled && (self.appended || self.cursor.news || terms.is_recent(session.ended_at)) {
            let mut data = data();
            data["profile"] = json!(row.profile);
            data["friction"] = json!(row.friction);
            data["delight"] = json!(row.delight);
            events.push(NewEvent { kind: "session.settled".to_owned(), data });
        }
        events
    }
}

/// A time as the index orders it: the latest first.
fn index_time(time: Timestamp) -> u64 {
    u64::MAX - time.as_microsecond().cast_unsigned().wrapping_add(1 << 63)
}
