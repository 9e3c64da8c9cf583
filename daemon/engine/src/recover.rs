//! Opening the engine: what the store says is taken up where it was.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tokio::sync::{mpsc, watch};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::approval::waiting_approvals;
use crate::clock::Clock;
use crate::control::RunError;
use crate::core::{Active, Core, Lease, Stored};
use crate::engine::{Engine, OnEnd, Shared, new_run};
use crate::event::{EventLog, Events};
use crate::files::RunFiles;
use crate::logs::LogHub;
use crate::process::Supervisor;
use crate::run::tables::{ByKind, ByLabel, ByStatus, Leases, Requests, Runs, StartRow, Starts, Steps, table};
use crate::run::{LeaseKey, RunId, RunState, Status, Turn};
use crate::settings::Settings;
use crate::store::{Batch, Options, Order, Store, Table, TableInfo};
use crate::timetable::Schedules;
use crate::unreadable::{is_of_one_run, unreadable};
use crate::workflow::Registry;

table! { /// Small facts of the daemon's own, by name.
Facts = 0x01 "facts": String => FactRow }

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct FactRow {
    #[prost(uint64, tag = "1")]
    pub number: u64,
}

/// The engine's own tables. Those of other crates have prefixes of their own: `insight` 0x40 to 0x4f, the
/// daemon itself 0x50 to 0x5f.
pub const TABLES: &[TableInfo] = &[
    TableInfo::of::<Facts>(),
    TableInfo::of::<Runs>(),
    TableInfo::of::<Starts>(),
    TableInfo::of::<Steps>(),
    TableInfo::of::<ByStatus>(),
    TableInfo::of::<ByKind>(),
    TableInfo::of::<ByLabel>(),
    TableInfo::of::<Requests>(),
    TableInfo::of::<Leases>(),
    TableInfo::of::<Events>(),
    TableInfo::of::<Schedules>(),
];

const PAUSED: &str = "paused";

pub(crate) fn put_paused(batch: &mut Batch, paused: bool) {
    batch.put::<Facts>(&PAUSED.to_owned(), &FactRow { number: u64::from(paused) });
}

/// What an engine is made of.
pub struct Setup {
    /// Where everything is kept.
    pub state_dir: PathBuf,
    /// The settings.
    pub settings: Settings,
    /// The workflows that it knows.
    pub registry: Registry,
    /// How shims are started.
    pub supervisor: Supervisor,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Which runs are started when a run has ended.
    pub on_end: OnEnd,
    /// Every table of the store: [`TABLES`], and what other crates keep beside them
    /// ([`join_tables`](crate::store::join_tables)).
    pub tables: &'static [TableInfo],
    /// How the store is opened.
    pub store: Options,
}

impl Engine {
    /// Opens the store and takes up what is active: workflows are replayed, living processes are
    /// adopted, lost ones are found out.
    pub async fn open(setup: Setup) -> Result<Self, RunError> {
        let directory = setup.state_dir.join("store");
        let options = setup.store;
        let opened = tokio::task::spawn_blocking(move || {
            let store = Store::open(&directory, setup.tables, &options)?;
            let files = RunFiles::new(&setup.state_dir, store.blobs().clone()).map_err(|error| {
                crate::store::StoreError::Io {
                    action: "create the directory of runs in",
                    path: setup.state_dir.clone(),
                    cause: error,
                }
            })?;
            let core = load(&store, &files, Arc::new(setup.settings))?;
            Ok::<_, RunError>((store, files, core))
        });
        let (store, files, core) = opened.await.map_err(|_| RunError::Closed)??;
        let (oldest, next) = (core.oldest_seq, core.next_seq);
        let (commits, receiver) = mpsc::unbounded_channel();
        let log = Arc::new(EventLog::new(store.clone(), oldest, next - 1));
        let hooks = {
            let (registry, files, on_end) = (setup.registry.clone(), files.clone(), setup.on_end);
            Box::new(move |run: &crate::run::Run, now| {
                let starts = on_end(run).into_iter();
                let made = starts.map(|start| new_run(&registry, &files, start, now));
                made.filter_map(|new| {
                    new.inspect_err(|error| tracing::error!(%error, "a hook is not valid")).ok()
                })
                .collect()
            })
        };
        let shared = Shared {
            core: Mutex::new(core),
            store,
            files,
            log,
            commits,
            registry: setup.registry,
            supervisor: setup.supervisor,
            logs: LogHub::new(),
            clock: setup.clock,
            hooks,
            tasks: TaskTracker::new(),
            broken: watch::Sender::default(),
            halted: watch::Sender::default(),
        };
        let engine = Self::from_shared(shared, receiver);
        engine.take_up().await?;
        Ok(engine)
    }

    /// Starts the tasks of runs that were at work, alarms of retries, and what can be dispatched.
    async fn take_up(&self) -> Result<(), RunError> {
        let active: Vec<(RunId, RunState)> =
            self.core().runs.iter().map(|(id, active)| (*id, active.run.state.clone())).collect();
        // Adoption comes before any takeover: tasks first, new runs after.
        for (run, state) in &active {
            if matches!(state, RunState::Running { .. } | RunState::Waiting { .. }) {
                self.start_task(*run);
            }
        }
        self.transact(|tx| {
            tx.event(
                None,
                "daemon.started",
                serde_json::json!({ "version": env!("CARGO_PKG_VERSION"), "active": active.len() }),
            );
            tx.drop_dead_leases();
            for (run, state) in active {
                match state {
                    RunState::Queued { until: Turn::Retry { at } } => tx.alarm(run, at),
                    RunState::Queued { until: Turn::After } => tx.look_at_predecessors(run),
                    _ => {}
                }
            }
            Ok::<_, RunError>(())
        })
        .await
    }
}

/// Reads what is active into memory.
fn load(store: &Store, files: &RunFiles, settings: Arc<Settings>) -> Result<Core, RunError> {
    let mut core = Core::new(settings);
    let (first, last) = Engine::event_range(store)?;
    core.oldest_seq = first.max(1);
    core.next_seq = last + 1;
    core.paused = store.get::<Facts>(&PAUSED.to_owned())?.is_some_and(|fact| fact.number != 0);
    for status in Status::ALL {
        let keys = store.keys::<ByStatus>(
            (status.number(), Uuid::nil())..=(status.number(), Uuid::max()),
            Order::Ascending,
        );
        for key in keys {
            let (_, id) = key?;
            if status.is_ended() {
                core.kept += 1;
            } else {
                let active = match load_active(store, files, RunId(id)) {
                    Ok(active) => active,
                    Err(error) if is_of_one_run(&error) => {
                        tracing::error!(run = %RunId(id), %error, "a run cannot be read back; it is set aside");
                        core.unreadable.insert(RunId(id), unreadable(store, RunId(id), &error));
                        continue;
                    }
                    Err(error) => return Err(error),
                };
                core.approvals
                    .extend(waiting_approvals(&active).into_iter().map(|approval| (approval.id, approval)));
                core.adopt(active);
            }
        }
    }
    for row in store.scan::<Leases>(.., Order::Ascending) {
        let (key, row) = row?;
        if let (Ok(run), Ok(taken_at)) =
            (Uuid::from_slice(&row.run), jiff::Timestamp::from_microsecond(row.taken_at))
        {
            core.leases.insert(LeaseKey(key), Lease { run: RunId(run), taken_at });
        }
    }
    Ok(core)
}

fn load_active(store: &Store, files: &RunFiles, run: RunId) -> Result<Active, RunError> {
    let missing = || RunError::NotFound(run.to_string());
    let record = store.get::<Runs>(&run.0)?.ok_or_else(missing)?.read(run)?;
    let start_row: StartRow = store.get::<Starts>(&run.0)?.ok_or_else(missing)?;
    let start = start_row.read(run, files)?;
    let mut steps = Vec::new();
    for row in store.scan::<Steps>((run.0, 0)..=(run.0, u64::MAX), Order::Ascending) {
        let (_, row) = row?;
        steps.push(Stored { step: row.read(run, files)?, row });
    }
    Ok(Active::new(record, Arc::new(start), start_row, steps))
}

impl crate::core::Tx<'_> {
    /// A lease ends in the same batch as its run, so none should be left without one. Were one
    /// left all the same, it would block its resource for ever.
    fn drop_dead_leases(&mut self) {
        // A run that cannot be read may still have a process at work on what it holds.
        let alive = |run: &RunId| self.core.runs.contains_key(run) || self.core.unreadable.contains_key(run);
        let dead = self.core.leases.iter().filter(|(_, lease)| !alive(&lease.run));
        let dead: Vec<(LeaseKey, RunId)> = dead.map(|(key, lease)| (key.clone(), lease.run)).collect();
        for (key, run) in dead {
            tracing::warn!(%key, %run, "a lease was left by a run that is over; it is taken back");
            self.release(&key, run);
        }
    }
}
