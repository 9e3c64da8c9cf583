//! What is exported of the store.

use std::ops::Bound;
use std::sync::Arc;

use engine::store::Order;
use trace::SessionId;
use trace::session::{Row, Rows};

use crate::export::ExportedSession;
use crate::query::{Query, accepts, file};
use crate::store::cursor;
use crate::store::finding::FindingRow;
use crate::store::message::{Numbered, SessionMessage};
use crate::store::page::{self, Kind, Packed};
use crate::store::tables::Sessions;
use crate::view::{FindingView, InsightError, SessionFilter};

impl Query<'_> {
    /// The sessions of a filter with all that belongs to them, in order of their ids: one at a time, so that
    /// memory holds one.
    pub(crate) fn exported(
        &self,
        filter: SessionFilter,
    ) -> impl Iterator<Item = Result<ExportedSession, InsightError>> {
        let all =
            self.reader.scan::<Sessions>((Bound::<String>::Unbounded, Bound::Unbounded), Order::Ascending);
        all.filter_map(move |row| match row {
            Ok((id, row)) => self.whole(&filter, &id, &row).transpose(),
            Err(error) => Some(Err(error.into())),
        })
    }

    fn whole(
        &self,
        filter: &SessionFilter,
        id: &str,
        row: &SessionMessage,
    ) -> Result<Option<ExportedSession>, InsightError> {
        let Ok(session) = id.parse::<SessionId>() else { return Ok(None) };
        if !accepts(filter, row) {
            return Ok(None);
        }
        let detail = match self.session(id) {
            Ok(detail) => detail,
            // It has gone since.
            Err(InsightError::NoSession(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut rows = Rows::default();
        self.put(&session, Kind::Turns, Row::Turn, &mut rows)?;
        self.put(&session, Kind::Calls, Row::Call, &mut rows)?;
        self.put(&session, Kind::Approvals, Row::Approval, &mut rows)?;
        self.put(&session, Kind::Compactions, Row::Compaction, &mut rows)?;
        self.put(&session, Kind::Artifacts, Row::Artifact, &mut rows)?;
        let mut signals = Vec::new();
        for numbered in page::rows::<Numbered>(self.reader, &session, Kind::Signals, 0) {
            signals.push(Arc::unwrap_or_clone(numbered?.signal));
        }
        let cursor = cursor::get(self.reader, id)?.unwrap_or_default();
        let mut findings = Vec::new();
        for finding in page::rows::<FindingRow>(self.reader, &session, Kind::Findings, 0) {
            let FindingRow { place, error, code, message, .. } = finding?;
            let path = file(&cursor, place).map(crate::ingest::files::path).unwrap_or_default();
            findings.push(FindingView { session: session.clone(), path, place, error, code, message });
        }
        Ok(Some(ExportedSession { view: detail.view, files: detail.files, rows, signals, findings }))
    }

    fn put<R: Packed>(
        &self,
        session: &SessionId,
        kind: Kind,
        row: impl Fn(R) -> Row,
        rows: &mut Rows,
    ) -> Result<(), InsightError> {
        for stored in page::rows::<R>(self.reader, session, kind, 0) {
            rows.put(row(stored?));
        }
        Ok(())
    }
}
