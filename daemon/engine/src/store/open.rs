//! Opening: the guards that stand before the first read and write.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::check::{self, Finding};
use super::database::{Database, Identity};
use super::error::StoreError;
use super::files;
use super::reader::Reader;
use super::table::Tables;
use super::watermark::{self, Found, Watermark};

/// A check of what must hold between rows, beyond each row's own form. It runs after an unclean end and for
/// `spindle daemon verify`.
pub type Invariants = fn(&Reader) -> Result<Vec<Finding>, StoreError>;

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bytes of the database's page cache.
    pub cache_bytes: u64,
    /// How many batches may wait before [`Store::reserve`](super::Store::reserve) does.
    pub queue: usize,
    /// With fewer bytes free on the disk, opening is refused.
    pub free_space_floor: u64,
    /// A batch that takes longer than this to become durable aborts the process.
    pub flush_limit: Duration,
    /// What must hold between rows.
    pub invariants: Option<Invariants>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cache_bytes: 8 << 20,
            queue: 1024,
            free_space_floor: 64 << 20,
            flush_limit: Duration::from_secs(30),
            invariants: None,
        }
    }
}

/// A store that passed all guards.
pub(super) struct Opened {
    pub(super) lock: Lock,
    pub(super) database: Arc<Database>,
    pub(super) identity: Identity,
}

/// The claim on a store's directory, for as long as it lives.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing is not enough: a child process that is just being started has a copy of the descriptor, and
        // would hold the lock until it runs its program.
        if let Err(error) = self.file.unlock() {
            tracing::warn!(%error, "the store's lock was not released");
        }
    }
}

/// Where the database of the store in `directory` is.
pub(super) fn database_path(directory: &Path) -> PathBuf {
    directory.join("sled")
}

/// Opens or creates the store in `directory`, and marks it as in use.
pub(super) fn open(directory: &Path, tables: Tables, options: &Options) -> Result<Opened, StoreError> {
    files::create_private_directory(directory)?;
    let lock = lock(directory)?;
    require_space(directory, options.free_space_floor)?;
    let mark_path = watermark::path(directory);
    let mark = watermark::read(&mark_path)?;
    let path = database_path(directory);
    if !Database::exists(&path)
        && let Some(finding) = against_watermark(&mark, None, directory)
    {
        // Before sled puts an empty database in the place of the lost one.
        return Err(damaged(directory, vec![finding]));
    }
    let database = match Database::open(&path, options.cache_bytes) {
        Ok(database) => Arc::new(database),
        Err(error @ StoreError::Database { .. }) => {
            return Err(damaged(directory, vec![Finding::new(error.to_string())]));
        }
        Err(error) => return Err(error),
    };
    files::sync_directory(directory)?;
    let identity = inspect(&database, tables, options, &mark, directory)?;
    watermark::write(&mark_path, Watermark { store: identity.id, commits: identity.commits, clean: false })?;
    Ok(Opened { lock, database, identity })
}

/// Compares the database with its watermark; after anything but a clean end, checks it in full.
fn inspect(
    database: &Arc<Database>,
    tables: Tables,
    options: &Options,
    mark: &Found,
    directory: &Path,
) -> Result<Identity, StoreError> {
    let clean = matches!(
        (mark, database.identity()),
        (Found::Mark(mark), Ok(Some(identity)))
            if mark.clean && mark.store == identity.id && mark.commits == identity.commits
    );
    let identity = if clean {
        database.identity()?
    } else {
        let report = check::full(database, tables, options.invariants, mark, directory)?;
        if !report.findings.is_empty() {
            return Err(damaged(directory, report.findings));
        }
        report.id.map(|id| Identity { id, commits: report.commits })
    };
    match (identity, mark) {
        (Some(identity), Found::Mark(_)) => Ok(identity),
        (before, _) => {
            // A new store; or one whose watermark a person removed to accept it as it is. In the second case
            // numbers that watchers hold may mean other events from now on, hence the new id.
            let identity = Identity { id: Uuid::now_v7(), commits: before.map_or(0, |old| old.commits) + 1 };
            database.identify(identity)?;
            if before.is_some() {
                tracing::warn!(store = %identity.id, "the store had no watermark; it was checked and got a new id");
            }
            Ok(identity)
        }
    }
}

/// What the watermark says against a database with this identity.
pub(super) fn against_watermark(
    mark: &Found,
    identity: Option<Identity>,
    directory: &Path,
) -> Option<Finding> {
    let path = watermark::path(directory);
    let accept = format!("To accept the store as it is, remove {}", path.display());
    match mark {
        Found::Nothing => None,
        Found::Unreadable(problem) => {
            Some(Finding::new(format!("{} cannot be understood ({problem}). {accept}", path.display())))
        }
        Found::Mark(mark) => {
            let commits = identity.map_or(0, |identity| identity.commits);
            if commits < mark.commits {
                Some(Finding::new(format!(
                    "commits are missing: {} of them were acknowledged, the database in {} knows {commits}. {accept}",
                    mark.commits,
                    database_path(directory).display(),
                )))
            } else if identity.is_some_and(|identity| identity.id != mark.store) {
                Some(Finding::new(format!(
                    "{} belongs to another store, {}. {accept}",
                    path.display(),
                    mark.store
                )))
            } else {
                None
            }
        }
    }
}

fn damaged(directory: &Path, findings: Vec<Finding>) -> StoreError {
    StoreError::Damaged { path: directory.to_owned(), findings }
}

/// Claims the directory, which must be there.
pub(super) fn lock(directory: &Path) -> Result<Lock, StoreError> {
    let path = directory.join("lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(StoreError::io("open", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let holder = file.read_to_string(&mut holder).ok().and_then(|_| holder.trim().parse().ok());
            return Err(StoreError::Locked { path, holder });
        }
        Err(TryLockError::Error(cause)) => return Err(StoreError::Io { action: "lock", path, cause }),
    }
    // The number is for messages only, the lock is what counts: it need not survive a crash, and a full disk
    // must not keep a store from being read.
    let written =
        file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
    if let Err(error) = written {
        tracing::debug!(%error, "the lock file does not name this process");
    }
    Ok(Lock { file })
}

pub(super) fn require_space(directory: &Path, floor: u64) -> Result<(), StoreError> {
    let space =
        rustix::fs::statvfs(directory).map_err(|error| StoreError::io("measure", directory)(error.into()))?;
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    if free < floor {
        return Err(StoreError::NoSpace { path: directory.to_owned(), free, floor });
    }
    Ok(())
}
