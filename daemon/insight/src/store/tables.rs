//! The tables of insight: prefix bytes 0x40 to 0x4f of the engine's store.

use engine::store::{Table, TableInfo};

use super::message::{LinkMessage, SessionMessage};

macro_rules! table {
    ($(#[$doc:meta])* $table:ident = $prefix:literal $name:literal: $key:ty => $value:ty) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub(crate) struct $table;
        impl Table for $table {
            const NAME: &'static str = $name;
            const PREFIX: u8 = $prefix;
            type Key = $key;
            type Value = $value;
        }
    };
}

table! { /// Sessions by id: what lists and reports need of one, in a row of its own.
Sessions = 0x40 "trace-sessions": String => SessionMessage }
table! { /// How far each session has been read.
Cursors = 0x41 "trace-cursors": String => CursorRow }
table! { /// Files of sessions that have many, by session and order: [`super::cursor`].
Files = 0x48 "trace-files": (String, u64) => FilesRow }
table! { /// What derivation and rules know at a session's cursor, compressed and cut into chunks.
States = 0x42 "trace-states": (String, u64) => Bytes }
table! { /// Packed rows, by session, kind ([`super::page::Kind`]) and the ordinal of the first.
Pages = 0x43 "trace-pages": (String, u8, u64) => PageRow }
table! { /// Sessions by the time of their beginning.
ByTime = 0x44 "trace-sessions-by-time": (u64, String) => LinkMessage }
table! { /// What became known of signals, in order: packed changes by the number of the first.
Log = 0x45 "signal-log": u64 => PageRow }
table! { /// The runs that sessions belong to.
Owners = 0x47 "trace-owners": String => OwnerRow }
table! { /// Registered directories, where other tools keep runs, by path.
WatchedDirectories = 0x4d "watched-directories": Vec<u8> => WatchedRow }
table! { /// Runs of other tools, by directory: what was last told of them.
ExternalRuns = 0x4e "external-runs": Vec<u8> => ExternalRow }

/// All of them.
pub const TABLES: &[TableInfo] = &[
    TableInfo::of::<Sessions>(),
    TableInfo::of::<Cursors>(),
    TableInfo::of::<Files>(),
    TableInfo::of::<States>(),
    TableInfo::of::<Pages>(),
    TableInfo::of::<ByTime>(),
    TableInfo::of::<Log>(),
    TableInfo::of::<Owners>(),
    TableInfo::of::<WatchedDirectories>(),
    TableInfo::of::<ExternalRuns>(),
];

/// How far a session has been read, and from what.
#[expect(clippy::struct_excessive_bools, reason = "a row of independent facts")]
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct CursorRow {
    /// Which meaning the stored state has; another one than the program's means reading anew.
    #[prost(uint32, tag = "1")]
    pub version: u32,
    /// What it is read from, as the number of [`trace::session::Format`].
    #[prost(uint32, tag = "2")]
    pub format: u32,
    /// The Codex home.
    #[prost(bytes = "vec", tag = "3")]
    pub home: Vec<u8>,
    #[prost(message, repeated, tag = "4")]
    pub files: Vec<FileRow>,
    /// The seq that is expected next, 0 before the first record.
    #[prost(uint64, tag = "5")]
    pub next_seq: u64,
    /// Records whose seq came again or leapt.
    #[prost(uint64, tag = "6")]
    pub duplicates: u64,
    #[prost(uint64, tag = "7")]
    pub gaps: u64,
    /// Findings in all; only the first ones are kept.
    #[prost(uint64, tag = "8")]
    pub findings: u64,
    /// When the newest file was last written, in microseconds.
    #[prost(int64, tag = "9")]
    pub changed_at: i64,
    /// Whether what was read last closes the session.
    #[prost(bool, tag = "10")]
    pub closed: bool,
    /// Whether its rules about the whole session have been asked since the last record.
    #[prost(bool, tag = "11")]
    pub settled: bool,
    /// Whether it is being read anew, and signals of the former reading wait to be compared.
    #[prost(bool, tag = "12")]
    pub anew: bool,
    /// The ordinal of the next signal.
    #[prost(uint32, tag = "13")]
    pub next_signal: u32,
    /// The time that the session stands under in the index; none before it is there.
    #[prost(uint64, optional, tag = "14")]
    pub indexed_at: Option<u64>,
    /// How many rows the stored state takes.
    #[prost(uint64, tag = "15")]
    pub state_chunks: u64,
    /// When its files were found gone, in microseconds; 0 while they are there.
    #[prost(int64, tag = "16")]
    pub gone_at: i64,
    /// Whether its beginning has been told as an event.
    #[prost(bool, tag = "17")]
    pub announced: bool,
    /// Bytes read.
    #[prost(uint64, tag = "18")]
    pub bytes: u64,
    /// How many findings are kept.
    #[prost(uint32, tag = "19")]
    pub kept_findings: u32,
    /// Whether anything was news when it was read since the session settled last: then so is that it settles, however
    /// long that takes.
    #[prost(bool, tag = "20")]
    pub news: bool,
    /// Whether it went on after it had been taken for one of the past.
    #[prost(bool, tag = "21")]
    pub went_on: bool,
    /// How many of its first files stand in rows of their own.
    #[prost(uint64, tag = "22")]
    pub put_away: u64,
    /// In how many.
    #[prost(uint64, tag = "23")]
    pub file_rows: u64,
}

/// Files of a session, in order.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct FilesRow {
    #[prost(message, repeated, tag = "1")]
    pub files: Vec<FileRow>,
}

/// A file of a session.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct FileRow {
    /// Its number: the segment's index, 0 for a rollout.
    #[prost(uint32, tag = "1")]
    pub index: u32,
    /// Its path, as bytes: file names need not be UTF-8.
    #[prost(bytes = "vec", tag = "2")]
    pub path: Vec<u8>,
    #[prost(uint64, tag = "3")]
    pub device: u64,
    #[prost(uint64, tag = "4")]
    pub inode: u64,
    /// Up to where it has been read: the beginning of a line.
    #[prost(uint64, tag = "5")]
    pub offset: u64,
    /// Lines before that.
    #[prost(uint64, tag = "6")]
    pub lines: u64,
    /// A hash of its beginning and of what stands before the offset: a file that was rewritten in place has the
    /// same identity, but other content.
    #[prost(fixed64, tag = "7")]
    pub sample: u64,
    /// Its size when it was last looked at.
    #[prost(uint64, tag = "9")]
    pub size: u64,
    /// When it was last written, as it was when it was last looked at, in nanoseconds.
    #[prost(int64, tag = "10")]
    pub modified: i64,
}

/// Rows, packed.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct PageRow {
    /// How many.
    #[prost(uint32, tag = "1")]
    pub rows: u32,
    /// How they are packed: 0 as they are, 1 with LZ4, the size in front.
    #[prost(uint32, tag = "2")]
    pub codec: u32,
    #[prost(bytes = "vec", tag = "3")]
    pub bytes: Vec<u8>,
}

/// A part of a large value.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Bytes {
    #[prost(bytes = "vec", tag = "1")]
    pub bytes: Vec<u8>,
}

/// The run that a session belongs to.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct OwnerRow {
    /// Its place in the order in which sessions were told of: the first go first.
    #[prost(uint64, tag = "1")]
    pub number: u64,
    /// The run's id, 16 bytes.
    #[prost(bytes = "vec", tag = "2")]
    pub run: Vec<u8>,
    /// The ids of the schedules that led to it, 16 bytes each.
    #[prost(bytes = "vec", tag = "3")]
    pub lineage: Vec<u8>,
}

/// A registered directory.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct WatchedRow {
    /// When it was registered, in microseconds.
    #[prost(int64, tag = "1")]
    pub added_at: i64,
    /// Whether its runs have been told: one that is found at the next start and is not among them is new.
    #[prost(bool, tag = "2")]
    pub looked: bool,
}

/// A run of another tool, as it was told.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ExternalRow {
    /// The registered directory.
    #[prost(bytes = "vec", tag = "1")]
    pub registered: Vec<u8>,
    /// Its state, as JSON has it.
    #[prost(string, tag = "2")]
    pub state: String,
    /// The rest of what is said when it is gone.
    #[prost(string, tag = "3")]
    pub tool: String,
    #[prost(string, tag = "4")]
    pub id: String,
    #[prost(string, tag = "5")]
    pub title: String,
    /// When it ended, in microseconds; 0 if it has not, or its files do not say.
    #[prost(int64, tag = "6")]
    pub finished_at: i64,
}
