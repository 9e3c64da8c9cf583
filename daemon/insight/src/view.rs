//! What is asked of insight, and what it answers.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use trace::session::{Format, Session};
use trace::{Place, SessionId};
use uuid::Uuid;

use crate::signal::{RuleSet, Signal, SignalId, SignalType};

/// Which page of a list is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageRequest {
    /// How many items at most; 0 means 100, and there are never more than 1000.
    pub size: usize,
    /// The token of the page before; empty for the first page.
    pub token: String,
}

/// A page of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Asks for the next page; empty after the last.
    pub next: String,
}

/// Which sessions are wanted: those that satisfy everything that is given.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SessionFilter {
    /// Ended at this time or later.
    pub since: Option<Timestamp>,
    /// Began before this time.
    pub until: Option<Timestamp>,
    /// Have a signal of one of these categories.
    pub categories: Vec<String>,
    /// Have a signal of friction of at least this severity.
    pub severity: Option<f64>,
    /// Who used Codex, such as `exec`; `subagent` stands for every kind of sub-agent.
    pub source: Option<String>,
    /// The model.
    pub model: Option<String>,
    /// A part of the repository's URL, its directory or the working directory.
    pub repository: Option<String>,
    /// The approval policy or the sandbox policy.
    pub policy: Option<String>,
    /// The profile, such as `success_high_friction`.
    pub profile: Option<String>,
}

/// Which signals are wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct SignalFilter {
    /// Of which sessions. Its `categories`, `severity` and times are about the signals themselves here.
    pub sessions: SessionFilter,
    /// Of this session only.
    pub session: Option<SessionId>,
    /// Friction or delight only.
    pub kind: Option<SignalType>,
    /// By which rules.
    pub rules: RuleSet,
    /// Only settled ones, or only those that are not.
    pub settled: Option<bool>,
}

impl Default for SignalFilter {
    fn default() -> Self {
        Self {
            sessions: SessionFilter::default(),
            session: None,
            kind: None,
            rules: RuleSet::V1,
            settled: None,
        }
    }
}

/// A session as lists show it.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionView {
    /// The session.
    pub session: Session,
    /// Its profile, such as `success_high_friction`; empty while nothing can be said.
    pub profile: String,
    /// Signals of friction by category.
    pub friction: BTreeMap<String, u32>,
    /// Signals of delight by category.
    pub delight: BTreeMap<String, u32>,
    /// The greatest severity of a signal of friction; 0 when there is none.
    pub severity: f64,
    /// Whether it has settled.
    pub settled: bool,
    /// When its files were found gone.
    pub gone_at: Option<Timestamp>,
    /// The Codex home that it lies in.
    pub home: PathBuf,
    /// The rollout, or the first segment of the spine.
    pub path: PathBuf,
    /// Bytes read of it.
    pub bytes: u64,
    /// What could not be read of it.
    pub findings: u64,
}

/// A session in full.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionDetail {
    /// As in lists.
    pub view: SessionView,
    /// Its files, in order.
    pub files: Vec<FileView>,
    /// Records whose number had come before.
    pub duplicates: u64,
    /// Places where numbers are missing.
    pub gaps: u64,
    /// Sessions that this one started, as far as they are known here.
    pub children: Vec<SessionId>,
}

/// A file of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileView {
    /// Its number, as [`Place::file`] has it.
    pub index: u32,
    /// Where it is, or was.
    pub path: PathBuf,
    /// Its size when it was last looked at.
    pub size: u64,
    /// How much of it has been read.
    pub read: u64,
}

/// A signal's evidence.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// The signal.
    pub signal: Signal,
    /// The records, in the order in which the signal names them.
    pub records: Vec<EvidenceRecord>,
}

/// A record, as its file has it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvidenceRecord {
    /// Where it stands.
    pub place: Place,
    /// In which file.
    pub path: PathBuf,
    /// What stands there.
    pub content: EvidenceContent,
}

/// What stands where a record was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EvidenceContent {
    /// The line's bytes, without its newline.
    Bytes {
        /// The beginning of the line, up to the limit that was asked for.
        bytes: Vec<u8>,
        /// Whether there is more.
        cut: bool,
    },
    /// The file is gone, or something else has taken its place.
    Gone,
    /// The file cannot be read now.
    Unreadable {
        /// Why.
        why: String,
    },
}

/// What the sessions of a filter add up to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Sessions that are known.
    pub sessions: u64,
    /// Of these, settled ones: their rules have been asked for the last time.
    pub processed: u64,
    /// Sessions with at least one signal of friction.
    pub with_friction: u64,
    /// Sessions with at least one signal of delight.
    pub with_delight: u64,
    /// User turns.
    pub turns: u64,
    /// Tool calls.
    pub calls: u64,
    /// Records.
    pub records: u64,
    /// Tokens, given to models and made by them.
    pub tokens: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Signals of friction by category.
    pub friction: BTreeMap<String, u64>,
    /// Signals of delight by category.
    pub delight: BTreeMap<String, u64>,
    /// Sessions by profile.
    pub profiles: BTreeMap<String, u64>,
    /// The ten repositories with the most sessions.
    pub repositories: Vec<RepositoryLine>,
    /// By day of the session's beginning (UTC), in order; days without a session are left out.
    pub days: Vec<DayLine>,
}

/// A repository in a report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RepositoryLine {
    /// Its URL, else its directory, else the working directory; empty when nothing is known.
    pub repository: String,
    /// Sessions in it.
    pub sessions: u64,
    /// Signals of friction.
    pub friction: u64,
    /// Signals of delight.
    pub delight: u64,
}

/// A day in a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DayLine {
    /// The day.
    pub day: Date,
    /// Sessions that began.
    pub sessions: u64,
    /// Their signals of friction.
    pub friction: u64,
    /// Their signals of delight.
    pub delight: u64,
}

/// How far an ingest has come.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// Sessions found so far.
    pub sessions_total: u64,
    /// Sessions that are read to the end.
    pub sessions_done: u64,
    /// Bytes to be read, as far as is known.
    pub bytes_total: u64,
    /// Bytes read.
    pub bytes_done: u64,
    /// Since it began, as of the last time that those who follow it were woken.
    pub elapsed: Duration,
    /// Whether everything has been found: the totals are final.
    pub complete: bool,
}

impl Progress {
    /// Whether everything has been found and read.
    pub fn is_done(&self) -> bool {
        self.complete && self.sessions_done >= self.sessions_total
    }
}

/// What an ingest has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ingested {
    /// Sessions that are known of the homes asked for.
    pub sessions: u64,
    /// Their records.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Their current signals.
    pub signals: u64,
    /// What could not be read of them.
    pub findings: u64,
}

/// Numbers about the live pipeline.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InsightStats {
    /// Sessions that are known.
    pub sessions: u64,
    /// Sessions that have not settled.
    pub open_sessions: u64,
    /// Sessions whose files are gone.
    pub gone_sessions: u64,
    /// Their current signals.
    pub signals: u64,
    /// Their records.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What could not be read of them.
    pub findings: u64,
    /// When everything was looked over last.
    pub last_scan: Option<Timestamp>,
    /// How long that took.
    pub last_scan_took: Option<Duration>,
    /// Bytes read since the start.
    pub bytes_read: u64,
    /// Records read since the start.
    pub records_read: u64,
    /// Signals raised since the start.
    pub signals_raised: u64,
    /// Signals withdrawn since the start.
    pub signals_withdrawn: u64,
    /// Sessions that wait to be read.
    pub queue_depth: u64,
    /// Sessions in memory.
    pub sessions_in_memory: u64,
    /// Batches committed since the start.
    pub commits: u64,
    /// The number of the newest change of a signal.
    pub last_change: u64,
    /// The number of the oldest change that is kept.
    pub oldest_change: u64,
    /// Homes that are watched, and how.
    pub homes: Vec<HomeView>,
}

/// A watched home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HomeView {
    /// The directory.
    pub path: PathBuf,
    /// Whether it is there.
    pub present: bool,
    /// Whether the file system tells of changes; else they are found by polling.
    pub notified: bool,
    /// How many of its directories are watched.
    pub watches: u64,
    /// What is wrong with it, if something is.
    pub problem: Option<String>,
}

/// Something that could not be read, or is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FindingView {
    /// The session.
    pub session: SessionId,
    /// The file.
    pub path: PathBuf,
    /// Where.
    pub place: Place,
    /// Whether data is lost by it; else it is only strange.
    pub error: bool,
    /// A word for it, such as `invalid_json`.
    pub code: String,
    /// What is wrong.
    pub message: String,
}

/// What became known of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// It was found, or has changed.
    Raised,
    /// Later records have disproved it.
    Withdrawn,
    /// It is final for now: its session has settled.
    Settled,
}

/// A change in the log of signals.
#[derive(Clone, Debug, PartialEq)]
pub struct SignalChange {
    /// Its place in the log, from 1, without gaps.
    pub number: u64,
    /// When it became known.
    pub told_at: Timestamp,
    /// What became known.
    pub phase: Phase,
    /// The session.
    pub session: SessionId,
    /// The signal.
    pub id: SignalId,
    /// Friction or delight.
    pub kind: SignalType,
    /// The category.
    pub category: String,
    /// The severity.
    pub severity: f64,
    /// Whether it was news: told as an event as well, and seen by triggers.
    pub live: bool,
    /// The schedules that led to the run whose session it is, as far as that was known; empty where it was no news.
    pub lineage: Vec<Uuid>,
    /// The signal as it is now, or as it was when it was withdrawn. None only of a change before its withdrawal, once
    /// that has come and the change has left the memory: its withdrawal, which follows, tells of it.
    pub signal: Option<Arc<Signal>>,
}

/// What a session is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceView {
    /// Which kind of file.
    pub format: Format,
    /// Its files, in order.
    pub files: Vec<PathBuf>,
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum InsightError {
    /// There is no such session.
    #[error("there is no session {0:?}")]
    NoSession(String),
    /// The beginning of an id fits several.
    #[error("{prefix:?} fits more than one: {}", candidates.join(", "))]
    Ambiguous {
        /// What was typed.
        prefix: String,
        /// The first few that it fits.
        candidates: Vec<String>,
    },
    /// There is no such signal.
    #[error("there is no signal {id:?}")]
    NoSignal {
        /// What was typed.
        id: String,
        /// The rule set that it would be of.
        rules: RuleSet,
    },
    /// So little of a signal's id was typed that it is not looked for.
    #[error("{id:?} is too little of a signal's id: its first {least} characters are needed")]
    ShortSignal {
        /// What was typed.
        id: String,
        /// How many characters are needed.
        least: usize,
        /// The rule set that it is of.
        rules: RuleSet,
    },
    /// The token is of no page.
    #[error("{0:?} is no page token of this list")]
    InvalidToken(String),
    /// The change is no longer kept.
    #[error("change {wanted} is no longer kept: the oldest one is {oldest}")]
    Expired {
        /// The first change wanted.
        wanted: u64,
        /// The first one there is.
        oldest: u64,
    },
    /// The change is further ahead than the next one.
    #[error("there is no change {wanted}: the newest one is {newest}")]
    Ahead {
        /// The first change wanted.
        wanted: u64,
        /// The last one there is.
        newest: u64,
    },
    /// The directory is no Codex home.
    #[error("{path:?} is no Codex home: it holds no sessions of any kind")]
    NoHome {
        /// The directory.
        path: PathBuf,
    },
    /// The path has nothing to do with a Codex home.
    #[error("{path:?} is no Codex home and lies in none")]
    Homeless {
        /// The path.
        path: PathBuf,
    },
    /// There is no session at a path within a Codex home.
    #[error("there is no session at {path:?}")]
    Nothing {
        /// The path.
        path: PathBuf,
    },
    /// The session's files are gone, and what was asked for needs them.
    #[error("the files of session {0} are gone")]
    Gone(SessionId),
    /// Reading failed.
    #[error("could not read {path:?}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] engine::store::StoreError),
    /// The daemon is going down.
    #[error("the daemon is shutting down")]
    Closed,
}
