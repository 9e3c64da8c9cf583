//! The full check: does the store hold what it should?

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use uuid::Uuid;

use super::database::{Database, Identity, RawRow};
use super::error::StoreError;
use super::hex::hex;
use super::open::{self, Invariants, Options};
use super::reader::Reader;
use super::table::{META_PREFIX, Table, TableInfo, Tables, encode_key};
use super::watermark::{self, Found};

/// How many rows a reader takes for itself at a time.
const TAKEN_AT_ONCE: usize = 64;

/// Something that should not be so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    row: Option<(String, String)>,
    problem: String,
}

impl Finding {
    /// About the store as a whole.
    pub fn new(problem: impl Into<String>) -> Self {
        Self { row: None, problem: problem.into() }
    }

    /// About the row `key` of table `T`.
    pub fn row<T: Table>(key: &T::Key, problem: impl Into<String>) -> Self {
        Self { row: Some((T::NAME.to_owned(), hex(&encode_key::<T>(key)))), problem: problem.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.row {
            Some((table, key)) => write!(out, "table {table}, row {key}: {}", self.problem),
            None => out.write_str(&self.problem),
        }
    }
}

/// What a full check saw.
#[derive(Clone, Debug)]
pub struct Report {
    /// The store's id, if there is a store.
    pub id: Option<Uuid>,
    /// How many batches were ever committed.
    pub commits: u64,
    /// How many rows each table holds.
    pub rows: BTreeMap<&'static str, u64>,
    /// What is wrong; empty for a sound store.
    pub findings: Vec<Finding>,
}

/// Checks the store in `directory` without changing what it holds. Blocks. Errors mean that the check could
/// not be made; what it found wrong is in the report.
pub fn verify(
    directory: &Path,
    tables: &'static [TableInfo],
    options: &Options,
) -> Result<Report, StoreError> {
    let tables = Tables::new(tables)?;
    let _lock = open::lock(directory)?;
    let mark = watermark::read(&watermark::path(directory))?;
    let path = open::database_path(directory);
    if !Database::exists(&path) {
        let findings = open::against_watermark(&mark, None, directory).into_iter().collect();
        return Ok(Report { id: None, commits: 0, rows: BTreeMap::new(), findings });
    }
    let database = match Database::open(&path, options.cache_bytes) {
        Ok(database) => Arc::new(database),
        Err(error @ StoreError::Database { .. }) => {
            let findings = vec![Finding::new(error.to_string())];
            return Ok(Report { id: None, commits: 0, rows: BTreeMap::new(), findings });
        }
        Err(error) => return Err(error),
    };
    full(&database, tables, options.invariants, &mark, directory)
}

/// Every check there is, on an open database.
pub(super) fn full(
    database: &Arc<Database>,
    tables: Tables,
    invariants: Option<Invariants>,
    mark: &Found,
    directory: &Path,
) -> Result<Report, StoreError> {
    let mut findings = Vec::new();
    let identity = match database.identity() {
        Ok(identity) => identity,
        Err(error @ StoreError::Database { .. }) => {
            findings.push(Finding::new(error.to_string()));
            None
        }
        Err(error) => return Err(error),
    };
    findings.extend(open::against_watermark(mark, identity, directory));
    let rows = every_row(database, tables, &mut findings);
    if let Some(invariants) = invariants
        && findings.is_empty()
    {
        findings.extend(invariants(&Reader::new(Arc::clone(database)))?);
    }
    let Identity { id, commits } = identity.unwrap_or(Identity { id: Uuid::nil(), commits: 0 });
    Ok(Report { id: identity.map(|_| id), commits, rows, findings })
}

/// Reads every row and counts them by table.
///
/// Two threads read, one from each end, until they meet: most of the time goes into decoding pages, and a daemon
/// that was killed is waited for.
fn every_row(
    database: &Database,
    tables: Tables,
    findings: &mut Vec<Finding>,
) -> BTreeMap<&'static str, u64> {
    let rows = || database.scan((Bound::Excluded(vec![META_PREFIX, u8::MAX]), Bound::Unbounded));
    let meeting = Meeting::default();
    let (front, back) = thread::scope(|scope| {
        let back = scope.spawn(|| Part::read(rows().rev(), tables, |keys| meeting.take_from_back(keys)));
        let front = Part::read(rows(), tables, |keys| meeting.take_from_front(keys));
        // Without the second thread's word nothing is known of its rows.
        (front, back.join().unwrap_or_else(|_| Part::unread()))
    });
    findings.extend(front.findings);
    findings.extend(back.findings.into_iter().rev());
    let mut counts = front.counts;
    for (table, count) in back.counts {
        *counts.entry(table).or_insert(0) += count;
    }
    counts
}

/// Where two readers of the same rows stand, so that each row is taken by exactly one of them.
#[derive(Default)]
struct Meeting {
    taken: Mutex<Taken>,
}

/// The newest key that each reader took.
#[derive(Default)]
struct Taken {
    front: Option<sled::IVec>,
    back: Option<sled::IVec>,
}

impl Meeting {
    /// How many of these rows belong to the reader that comes from the front; not all: they have met.
    fn take_from_front(&self, rows: &[RawRow]) -> usize {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let Taken { front, back } = &mut *taken;
        let free = rows.partition_point(|(key, _)| back.as_ref().is_none_or(|back| key < back));
        if let Some((key, _)) = rows[..free].last() {
            *front = Some(key.clone());
        }
        free
    }

    /// How many of these rows belong to the reader that comes from the back; not all: they have met.
    fn take_from_back(&self, rows: &[RawRow]) -> usize {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let Taken { front, back } = &mut *taken;
        let free = rows.partition_point(|(key, _)| front.as_ref().is_none_or(|front| key > front));
        if let Some((key, _)) = rows[..free].last() {
            *back = Some(key.clone());
        }
        free
    }
}

/// What one reader saw, in the order in which it read.
#[derive(Default)]
struct Part {
    counts: BTreeMap<&'static str, u64>,
    findings: Vec<Finding>,
}

impl Part {
    /// Checks rows for as long as they are for this reader to `take`.
    fn read(
        mut rows: impl Iterator<Item = Result<RawRow, StoreError>>,
        tables: Tables,
        take: impl Fn(&[RawRow]) -> usize,
    ) -> Self {
        let mut part = Self::default();
        let mut gathered = Vec::with_capacity(TAKEN_AT_ONCE);
        loop {
            let mut end = None;
            gathered.clear();
            for row in rows.by_ref().take(TAKEN_AT_ONCE) {
                match row {
                    Ok(row) => gathered.push(row),
                    Err(error) => end = Some(error),
                }
            }
            let ours = take(&gathered);
            gathered[..ours].iter().for_each(|(key, value)| part.check(tables, key, value));
            if let Some(error) = end {
                part.findings.push(Finding::new(format!("reading all rows ended early: {error}")));
            } else if ours == TAKEN_AT_ONCE {
                continue;
            }
            return part;
        }
    }

    /// The part of a reader that did not come to its end.
    fn unread() -> Self {
        Self { findings: vec![Finding::new("reading all rows ended early: a panic")], ..Self::default() }
    }

    fn check(&mut self, tables: Tables, key: &[u8], value: &[u8]) {
        let problem = match tables.by_prefix(key[0]) {
            Some(table) => {
                *self.counts.entry(table.name).or_insert(0) += 1;
                (table.check)(key, value).err().map(|problem| problem.to_string())
            }
            None => {
                Some("no table with this prefix is known; a newer program may have written it".to_owned())
            }
        };
        if let Some(problem) = problem {
            self.findings.push(Finding { row: Some((tables.name_of(key[0]), hex(key))), problem });
        }
    }
}
