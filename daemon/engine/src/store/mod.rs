//! The store: everything the engine must find again after a crash.
//!
//! One sled tree, cut into typed tables ([`Table`]) by a prefix byte. Writers collect their changes in a
//! [`Batch`] and hand it to [`Store::commit`]; one thread merges what waits, makes it durable and answers.
//! This is the only module that knows sled.
//!
//! A store is a directory: `lock` (who has it open), `sled/` (the rows), `watermark` (how far the rows had
//! come), `blobs/` (what is too large for a row).
//!
//! - `handle`: the handle that the rest of the engine holds ([`Store`], [`Permit`], [`Ticket`]);
//! - `writer`: the store thread: one flush and one `fdatasync` for all that waits, then the answers;
//! - `watchdog`: aborts the process when a flush hangs, because a kill is safe and a deadlock is not;
//! - `open`: lock, space floor, half-written snapshots, and what an unclean end asks for;
//! - `watermark`: the small file beside the store that shows when commits went missing;
//! - `check`: reads every row after an unclean end and for `spindle daemon verify`;
//! - `transfer`: export and import as JSON lines;
//! - `spill`: syncs the files that sled moves large pages into, which sled itself does not;
//! - `blob`: content-addressed files for what is too large for a row;
//! - `key`, `table`, `batch`, `reader`: the typed face of the rows.

mod batch;
mod blob;
mod check;
mod database;
mod error;
mod files;
mod handle;
mod hex;
mod key;
mod open;
mod reader;
mod spill;
mod table;
mod transfer;
mod watchdog;
mod watermark;
mod writer;

pub use batch::Batch;
pub use blob::{BlobId, BlobIdError, Blobs, MAX_BLOB_BYTES};
pub use check::{Finding, Report, verify};
pub use error::{RowProblem, StoreError};
pub use handle::{Permit, Stats, Store, Ticket};
pub use key::{Key, PrefixOf};
pub use open::{Invariants, Options};
pub use reader::{Keys, Order, Reader, Rows};
pub use table::{MAX_KEY_BYTES, MAX_VALUE_BYTES, Table, TableInfo, join_tables};
pub use transfer::{Transferred, export, import};
