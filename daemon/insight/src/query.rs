//! Questions about what is stored: every list pages by an index, none reads more than it must.

mod starters;

use std::collections::{BTreeMap, HashMap};
use std::error::Error as _;
use std::ffi::{OsStr, OsString};
use std::io;
use std::ops::Bound;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine::store::{Order, Reader, StoreError};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use trace::session::{Format, Session, is_sub_agent};
use trace::source::OpenError;
use trace::{Place, SessionId};

use self::starters::{Position, Starters};
use crate::batch;
use crate::ingest::files;
use crate::signal::{RuleSet, Signal, SignalType};
use crate::store::cursor;
use crate::store::finding::FindingRow;
use crate::store::message::{Numbered, SessionMessage, format_of};
use crate::store::page::{self, Kind, Packed};
use crate::store::tables::{ByTime, CursorRow, FileRow, Sessions};
use crate::view::{
    DayLine, Evidence, EvidenceContent, EvidenceRecord, FileView, FindingView, Ingested, InsightError, Page,
    PageRequest, Report, RepositoryLine, SessionDetail, SessionFilter, SessionView, SignalFilter, SourceView,
};

/// The most items of a page.
const LARGEST_PAGE: usize = 1000;

/// How many repositories a report names.
const REPOSITORIES: usize = 10;

/// Who answers.
pub(crate) struct Query<'a> {
    pub(crate) reader: &'a Reader,
}

pub(crate) type Result<T> = std::result::Result<T, InsightError>;

impl PageRequest {
    pub(crate) fn limit(&self) -> usize {
        if self.size == 0 { 100 } else { self.size.min(LARGEST_PAGE) }
    }

    fn invalid(&self) -> InsightError {
        InsightError::InvalidToken(self.token.chars().take(200).collect())
    }
}

impl Query<'_> {
    /// Sessions in the order of the index: all, or those from a place on, or those after it.
    pub(crate) fn in_order(
        &self,
        from: Bound<(u64, String)>,
    ) -> impl Iterator<Item = std::result::Result<((u64, String), SessionMessage), StoreError>> + use<> {
        let reader = self.reader.clone();
        let keys = self.reader.keys::<ByTime>((from, Bound::Unbounded), Order::Ascending);
        keys.filter_map(move |key| {
            let key = match key {
                Ok(key) => key,
                Err(error) => return Some(Err(error)),
            };
            match reader.get::<Sessions>(&key.1) {
                Ok(row) => row.map(|row| Ok((key, row))),
                Err(error) => Some(Err(error)),
            }
        })
    }

    pub(crate) fn sessions(&self, filter: &SessionFilter, page: &PageRequest) -> Result<Page<SessionView>> {
        let mut items = Vec::new();
        let mut next = String::new();
        let mut last = None;
        let mut starters = self.starters();
        for row in self.in_order(session_token(page)?.map_or(Bound::Unbounded, Bound::Excluded)) {
            let (key, row) = row?;
            if !accepts(filter, &row) {
                continue;
            }
            if items.len() == page.limit() {
                next = last.map(|(time, id): (u64, String)| format!("{time:016x}.{id}")).unwrap_or_default();
                break;
            }
            items.extend(shown(&key, &row, &mut starters)?);
            last = Some(key);
        }
        Ok(Page { items, next })
    }

    pub(crate) fn known(&self, id: &SessionId) -> Result<(SessionMessage, CursorRow)> {
        let missing = || InsightError::NoSession(id.to_string());
        let key = id.as_str().to_owned();
        let row = self.reader.get::<Sessions>(&key)?.ok_or_else(missing)?;
        let cursor = cursor::get(self.reader, &key)?.ok_or_else(missing)?;
        Ok((row, cursor))
    }

    pub(crate) fn session(&self, text: &str) -> Result<SessionDetail> {
        let id = self.resolve(text)?;
        let (row, cursor) = self.known(&id)?;
        let place = (cursor.indexed_at.unwrap_or(0), id.to_string());
        let view = shown(&place, &row, &mut self.starters())?
            .ok_or_else(|| InsightError::NoSession(text.to_owned()))?;
        let files = cursor.files.iter().map(|file| FileView {
            index: file.index,
            path: files::path(file),
            size: file.size,
            read: file.offset,
        });
        let children = view.session.children.clone();
        Ok(SessionDetail {
            files: files.collect(),
            duplicates: cursor.duplicates,
            gaps: cursor.gaps,
            children,
            view,
        })
    }

    /// The sessions that tell of sub-agents that they are theirs. The records of a review do not say whose it is.
    fn starters(&self) -> Starters<'_> {
        Starters::new(|from| {
            let rows = self.in_order(Bound::Included(from));
            rows.map(|row| row.map(|(position, row)| (position, row.children)))
        })
    }

    pub(crate) fn source(&self, text: &str) -> Result<SourceView> {
        let id = self.resolve(text)?;
        let (row, cursor) = self.known(&id)?;
        Ok(SourceView {
            format: format_of(row.format),
            files: cursor.files.iter().map(files::path).collect(),
        })
    }

    /// Rows of a session in order; the token of a page is the ordinal of its first row.
    pub(crate) fn rows<R: Packed>(&self, id: &SessionId, kind: Kind, page: &PageRequest) -> Result<Page<R>> {
        let from = match page.token.as_str() {
            "" => 0,
            token => token.parse().map_err(|_| page.invalid())?,
        };
        if self.reader.get::<Sessions>(&id.as_str().to_owned())?.is_none() {
            return Err(InsightError::NoSession(id.to_string()));
        }
        let rows = page::rows::<R>(self.reader, id, kind, from).take(page.limit() + 1);
        let mut items = rows.collect::<std::result::Result<Vec<_>, _>>()?;
        let next = items.get(page.limit()).map(|row| row.ordinal().to_string()).unwrap_or_default();
        items.truncate(page.limit());
        Ok(Page { items, next })
    }

    pub(crate) fn signals(&self, filter: &SignalFilter, page: &PageRequest) -> Result<Page<Signal>> {
        if filter.rules == RuleSet::Compat {
            return self.compat_signals(filter, page);
        }
        let (start, first) = signal_token(page)?;
        let mut items: Vec<Signal> = Vec::new();
        let sessions = self.in_order(start.clone().map_or(Bound::Unbounded, Bound::Included));
        for row in sessions {
            let ((time, id), row) = row?;
            let here = (time, id);
            if filter.session.as_ref().is_some_and(|wanted| wanted.as_str() != here.1)
                || !may_have(filter, &row)
            {
                continue;
            }
            let Ok(session) = here.1.parse::<SessionId>() else { continue };
            let from = if start.as_ref() == Some(&here) { first } else { 0 };
            for numbered in page::rows::<Numbered>(self.reader, &session, Kind::Signals, from) {
                let Numbered { ordinal, signal } = numbered?;
                if !accepts_signal(filter, &signal) {
                    continue;
                }
                if items.len() == page.limit() {
                    let next = format!("{:016x}.{ordinal}.{}", here.0, here.1);
                    return Ok(Page { items, next });
                }
                items.push(Arc::unwrap_or_clone(signal));
            }
        }
        Ok(Page { items, next: String::new() })
    }

    /// What the rule set `compat` finds, read from the files of each session as it is asked for. It is for spines
    /// only; a session whose files are gone has none.
    fn compat_signals(&self, filter: &SignalFilter, page: &PageRequest) -> Result<Page<Signal>> {
        let (start, first) = signal_token(page)?;
        let mut items: Vec<Signal> = Vec::new();
        for row in self.in_order(start.clone().map_or(Bound::Unbounded, Bound::Included)) {
            let (here, row) = row?;
            let wanted = filter.session.as_ref().is_none_or(|wanted| wanted.as_str() == here.1);
            if !wanted || format_of(row.format) != Format::Spine || !is_of(&filter.sessions, &row) {
                continue;
            }
            let Ok(session) = here.1.parse::<SessionId>() else { continue };
            let (_, cursor) = self.known(&session)?;
            let from = if start.as_ref() == Some(&here) { first } else { 0 };
            for (ordinal, signal) in (0..).zip(batch::compat(&session, &cursor)) {
                if ordinal < from || !accepts_signal(filter, &signal) {
                    continue;
                }
                if items.len() == page.limit() {
                    return Ok(Page { items, next: format!("{:016x}.{ordinal}.{}", here.0, here.1) });
                }
                items.push(signal);
            }
        }
        Ok(Page { items, next: String::new() })
    }

    pub(crate) fn evidence(&self, text: &str, limit: usize) -> Result<Evidence> {
        let signal = self.signal(text)?;
        let (_, cursor) = self.known(&signal.session_id)?;
        let records = signal.places.iter().map(|place| record(&cursor, *place, limit)).collect();
        Ok(Evidence { signal, records })
    }

    pub(crate) fn report(&self, filter: &SessionFilter) -> Result<Report> {
        let mut report = Report::default();
        let mut repositories: HashMap<String, RepositoryLine> = HashMap::new();
        let mut days: BTreeMap<jiff::civil::Date, DayLine> = BTreeMap::new();
        for row in self.in_order(Bound::Unbounded) {
            let (_, row) = row?;
            if !accepts(filter, &row) {
                continue;
            }
            add(&mut report, &row);
            let (friction, delight) = (sum(&row.friction), sum(&row.delight));
            let name = repository(&row);
            let line = repositories
                .entry(name.clone())
                .or_insert_with(|| RepositoryLine { repository: name, ..RepositoryLine::default() });
            line.sessions += 1;
            line.friction += friction;
            line.delight += delight;
            if let Some(begun) = row.started_at {
                let day = Timestamp::from(begun).to_zoned(TimeZone::UTC).date();
                let line = days.entry(day).or_insert(DayLine { day, sessions: 0, friction: 0, delight: 0 });
                line.sessions += 1;
                line.friction += friction;
                line.delight += delight;
            }
        }
        report.days = days.into_values().collect();
        report.repositories = repositories.into_values().collect();
        report
            .repositories
            .sort_by(|a, b| b.sessions.cmp(&a.sessions).then_with(|| a.repository.cmp(&b.repository)));
        report.repositories.truncate(REPOSITORIES);
        Ok(report)
    }

    pub(crate) fn findings(
        &self,
        session: Option<&SessionId>,
        page: &PageRequest,
    ) -> Result<Page<FindingView>> {
        let (start, first) = signal_token(page)?;
        let mut items = Vec::new();
        for row in self.in_order(start.clone().map_or(Bound::Unbounded, Bound::Included)) {
            let ((time, id), row) = row?;
            if row.findings == 0 || session.is_some_and(|wanted| wanted.as_str() != id) {
                continue;
            }
            let Ok(session) = id.parse::<SessionId>() else { continue };
            let (_, cursor) = self.known(&session)?;
            let here = (time, id);
            let from = if start.as_ref() == Some(&here) { first } else { 0 };
            for finding in page::rows::<FindingRow>(self.reader, &session, Kind::Findings, from) {
                let FindingRow { ordinal, place, error, code, message } = finding?;
                if items.len() == page.limit() {
                    return Ok(Page { items, next: format!("{:016x}.{ordinal}.{}", here.0, here.1) });
                }
                let path = file(&cursor, place).map(files::path).unwrap_or_default();
                items.push(FindingView { session: session.clone(), path, place, error, code, message });
            }
        }
        Ok(Page { items, next: String::new() })
    }

    /// What sessions add up to that count by their ids and homes.
    pub(crate) fn ingested(&self, counts: impl Fn(&str, &Path) -> bool) -> Result<Ingested> {
        let mut done = Ingested::default();
        for row in self.reader.scan::<Sessions>(.., Order::Ascending) {
            let (id, row) = row?;
            if !counts(&id, Path::new(OsStr::from_bytes(&row.home))) {
                continue;
            }
            done.sessions += 1;
            done.records += row.counts.map_or(0, |counts| counts.records);
            done.bytes += row.bytes;
            done.signals += sum(&row.friction) + sum(&row.delight);
            done.findings += row.findings;
        }
        Ok(done)
    }
}

fn session_token(page: &PageRequest) -> Result<Option<(u64, String)>> {
    if page.token.is_empty() {
        return Ok(None);
    }
    let (time, id) = page.token.split_once('.').ok_or_else(|| page.invalid())?;
    let time = u64::from_str_radix(time, 16).map_err(|_| page.invalid())?;
    Ok(Some((time, id.to_owned())))
}

/// A session in the index, and the ordinal within it.
fn signal_token(page: &PageRequest) -> Result<(Option<(u64, String)>, u32)> {
    let Some((time, rest)) = session_token(page)? else { return Ok((None, 0)) };
    let (ordinal, id) = rest.split_once('.').ok_or_else(|| page.invalid())?;
    let ordinal = ordinal.parse().map_err(|_| page.invalid())?;
    Ok((Some((time, id.to_owned())), ordinal))
}

pub(crate) fn accepts(filter: &SessionFilter, row: &SessionMessage) -> bool {
    let categories = filter.categories.is_empty()
        || filter
            .categories
            .iter()
            .any(|wanted| row.friction.contains_key(wanted) || row.delight.contains_key(wanted));
    categories
        && filter.severity.is_none_or(|least| row.severity >= least)
        && is_of(filter, row)
        && overlaps(filter, row)
}

fn overlaps(filter: &SessionFilter, row: &SessionMessage) -> bool {
    let begun = row.started_at.map(Timestamp::from);
    let ended = row.ended_at.map(Timestamp::from).or(begun);
    filter.since.is_none_or(|since| ended.is_some_and(|ended| ended >= since))
        && filter.until.is_none_or(|until| begun.is_some_and(|begun| begun < until))
}

/// Whether a session is one of those wanted, leaving out what is about its signals and times.
fn is_of(filter: &SessionFilter, row: &SessionMessage) -> bool {
    let same = |wanted: &Option<String>, found: Option<&str>| {
        wanted.as_deref().is_none_or(|wanted| found.is_some_and(|found| found.eq_ignore_ascii_case(wanted)))
    };
    let source = filter.source.as_deref().is_none_or(|wanted| {
        row.source.eq_ignore_ascii_case(wanted)
            || (wanted.eq_ignore_ascii_case("subagent") && is_sub_agent(&row.source))
    });
    let policy = filter.policy.is_none()
        || same(&filter.policy, row.approval_policy.as_deref())
        || same(&filter.policy, row.sandbox_policy.as_deref());
    let repository = filter.repository.as_deref().is_none_or(|wanted| {
        let wanted = wanted.to_lowercase();
        [&row.git_url, &row.repo_root, &row.cwd]
            .into_iter()
            .flatten()
            .any(|text| text.to_lowercase().contains(&wanted))
    });
    source
        && policy
        && repository
        && same(&filter.model, row.model.as_deref())
        && same(&filter.profile, Some(&row.profile))
}

/// Whether a session may have signals that are wanted, by its row alone.
fn may_have(filter: &SignalFilter, row: &SessionMessage) -> bool {
    let counts = match filter.kind {
        Some(SignalType::Friction) => vec![&row.friction],
        Some(SignalType::Delight) => vec![&row.delight],
        None => vec![&row.friction, &row.delight],
    };
    let wanted = &filter.sessions.categories;
    let any = counts.into_iter().any(|counts| {
        if wanted.is_empty() {
            !counts.is_empty()
        } else {
            wanted.iter().any(|category| counts.contains_key(category))
        }
    });
    any && is_of(&filter.sessions, row)
}

pub(crate) fn accepts_signal(filter: &SignalFilter, signal: &Signal) -> bool {
    let sessions = &filter.sessions;
    (sessions.categories.is_empty() || sessions.categories.contains(&signal.category))
        && filter.kind.is_none_or(|kind| kind == signal.kind)
        && filter.settled.is_none_or(|settled| settled == signal.settled)
        && sessions.severity.is_none_or(|least| signal.severity >= least)
        && sessions.since.is_none_or(|since| signal.at.is_some_and(|at| at >= since))
        && sessions.until.is_none_or(|until| signal.at.is_some_and(|at| at < until))
}

/// A session as lists show it, with what only others know of it.
fn shown(
    position: &Position,
    row: &SessionMessage,
    starters: &mut Starters<'_>,
) -> Result<Option<SessionView>> {
    let mut view = view(&position.1, row);
    if let Some(view) =
        view.as_mut().filter(|view| view.session.parent.is_none() && is_sub_agent(&row.source))
    {
        view.session.parent = starters.of(position)?.and_then(|starter| starter.parse().ok());
    }
    Ok(view)
}

fn view(id: &str, row: &SessionMessage) -> Option<SessionView> {
    let session: Session = row.session(id.parse().ok()?);
    Some(SessionView {
        session,
        profile: row.profile.clone(),
        friction: row.friction.clone(),
        delight: row.delight.clone(),
        severity: row.severity,
        settled: row.settled,
        gone_at: (row.gone_at != 0).then(|| Timestamp::from_microsecond(row.gone_at).unwrap_or_default()),
        home: OsString::from_vec(row.home.clone()).into(),
        path: OsString::from_vec(row.path.clone()).into(),
        bytes: row.bytes,
        findings: row.findings,
    })
}

fn add(report: &mut Report, row: &SessionMessage) {
    let counts = row.counts.unwrap_or_default();
    let tokens = row.tokens.unwrap_or_default();
    report.sessions += 1;
    report.processed += u64::from(row.settled);
    report.with_friction += u64::from(!row.friction.is_empty());
    report.with_delight += u64::from(!row.delight.is_empty());
    report.turns += counts.turns;
    report.calls += counts.calls;
    report.records += counts.records;
    report.tokens = report.tokens.saturating_add(tokens.input).saturating_add(tokens.output);
    report.bytes += row.bytes;
    for (category, count) in &row.friction {
        *report.friction.entry(category.clone()).or_default() += u64::from(*count);
    }
    for (category, count) in &row.delight {
        *report.delight.entry(category.clone()).or_default() += u64::from(*count);
    }
    if !row.profile.is_empty() {
        *report.profiles.entry(row.profile.clone()).or_default() += 1;
    }
}

fn sum(counts: &BTreeMap<String, u32>) -> u64 {
    counts.values().map(|count| u64::from(*count)).sum()
}

fn repository(row: &SessionMessage) -> String {
    [&row.git_url, &row.repo_root, &row.cwd].into_iter().flatten().next().cloned().unwrap_or_default()
}

pub(crate) fn file(cursor: &CursorRow, place: Place) -> Option<&FileRow> {
    cursor.files.iter().find(|file| file.index == place.file)
}

/// A record as its file has it now.
fn record(cursor: &CursorRow, place: Place, limit: usize) -> EvidenceRecord {
    let Some(row) = file(cursor, place) else {
        return EvidenceRecord { place, path: PathBuf::new(), content: EvidenceContent::Gone };
    };
    let path = files::path(row);
    let content = match read_record(row, place, limit) {
        Ok(content) => content,
        Err(error) => EvidenceContent::Unreadable {
            why: error.source().map_or_else(|| error.to_string(), ToString::to_string),
        },
    };
    EvidenceRecord { place, path, content }
}

fn read_record(row: &FileRow, place: Place, limit: usize) -> Result<EvidenceContent> {
    let gone = Ok(EvidenceContent::Gone);
    let file = match files::listed(row).open() {
        Ok(file) => file,
        Err(OpenError::Replaced(_)) => return gone,
        Err(OpenError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => return gone,
        Err(OpenError::Io { path, source }) => return Err(InsightError::Read { path, cause: source }),
    };
    let failed = |cause| InsightError::Read { path: files::path(row), cause };
    if !files::is_same(row, &file).map_err(failed)? {
        return gone;
    }
    let wanted = usize::try_from(place.len).unwrap_or(usize::MAX);
    let len = u32::try_from(wanted.min(limit)).unwrap_or(u32::MAX);
    let bytes = trace::lines::read_at(file, Place { len, ..place }).map_err(failed)?;
    Ok(EvidenceContent::Bytes { cut: wanted > bytes.len(), bytes })
}
