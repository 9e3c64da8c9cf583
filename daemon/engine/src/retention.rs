//! Forgetting: ended runs go by request, by age and by number.

use std::collections::HashSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use uuid::Uuid;

use crate::control::RunError;
use crate::engine::Engine;
use crate::process::platform;
use crate::run::tables::{ByKind, ByLabel, ByStatus, PackedRow, Requests, RunRow, Runs};
use crate::run::{Refused, Run, RunId, Status};
use crate::store::{Batch, Order, StoreError};

/// How many runs one pass of retention looks at: the next end of a run starts another.
const PASS: usize = 200;

/// A file of a request that is older than this is named by a row, or never will be.
const UNDER_WAY: Duration = Duration::from_hours(1);

impl Engine {
    /// Forgets an ended run: its record, its logs, and what it kept in files.
    pub async fn delete(&self, run: RunId) -> Result<(), RunError> {
        if let Some((record, _)) = self.active(run)
            && !record.state.is_ended()
        {
            return Err(Refused { state: record.state.word(), wanted: "deleted" }.into());
        }
        let store = self.store().clone();
        if let Some(record) = self.unreadable_run(run) {
            // Of what could not be read, nothing is known but its keys.
            let read = tokio::task::spawn_blocking(move || store.get::<Runs>(&run.0).ok().flatten());
            let row = read.await.map_err(|_| RunError::Closed)?.unwrap_or_default();
            return self.forget(record, row).await;
        }
        let row = tokio::task::spawn_blocking(move || store.get::<Runs>(&run.0));
        let row =
            row.await.map_err(|_| RunError::Closed)??.ok_or_else(|| RunError::NotFound(run.to_string()))?;
        self.forget(row.read(run)?, row).await
    }

    async fn forget(&self, record: Run, row: RunRow) -> Result<(), RunError> {
        let run = record.id;
        let files = self.files().clone();
        let read = tokio::task::spawn_blocking(move || {
            // A record that cannot be unpacked can still be forgotten.
            let packed = row.unpack(run, &files).unwrap_or_else(|_| PackedRow::default());
            row.files(&packed)
        });
        let named = read.await.map_err(|_| RunError::Closed)?;
        self.transact(|tx| {
            if let Some(active) = tx.core.runs.get(&run)
                && !active.run.state.is_ended()
            {
                // Resumed in the meantime.
                return Err(Refused { state: active.run.state.word(), wanted: "deleted" }.into());
            }
            if tx.core.followers.contains_key(&run) {
                // Its followers, which wait for others as well, will ask how it ended.
                return Err(Refused { state: "followed by a waiting run", wanted: "deleted" }.into());
            }
            if tx.core.unreadable.contains_key(&run) {
                tx.forget_unreadable(run)?;
            } else {
                tx.core.forget(run);
                tx.core.kept = tx.core.kept.saturating_sub(1);
            }
            delete_rows(&mut tx.batch, &record);
            tx.event(Some(run), "run.deleted", json!({}));
            Ok::<_, RunError>(())
        })
        .await?;
        // After the rows: a crash in between leaves files that nothing names, never rows that name
        // files which are gone.
        let files = self.files().clone();
        let removed = tokio::task::spawn_blocking(move || {
            for file in named {
                files.remove_value(&file);
            }
            files.remove(run)
        });
        if let Ok(Err(error)) = removed.await {
            tracing::warn!(%run, %error, "could not remove the directory of a deleted run");
        }
        Ok(())
    }

    /// Whether more ended runs are kept than the settings allow.
    pub fn keeps_too_many(&self) -> bool {
        let core = self.core();
        core.kept > core.settings.keep_runs
    }

    /// Forgets the oldest ended runs beyond the limits of number and age; resolves when a pass is
    /// done. Runs on which others wait are kept.
    pub async fn retain(&self) -> Result<u64, RunError> {
        let (settings, kept) = {
            let core = self.core();
            (core.settings.clone(), core.kept)
        };
        let surplus = kept.saturating_sub(settings.keep_runs);
        let age = SignedDuration::try_from(settings.keep_runs_for).unwrap_or(SignedDuration::MAX);
        let oldest = self.now().checked_sub(age).unwrap_or(Timestamp::MIN);
        // Old runs that are still active, however many, must not hide the ended ones behind them.
        let active: HashSet<RunId> = {
            let core = self.core();
            let active = core.runs.values().map(|active| &active.run).filter(|run| !run.state.is_ended());
            active.map(|run| run.id).collect()
        };
        let store = self.store().clone();
        let found = tokio::task::spawn_blocking(move || {
            let rows = store.scan::<Runs>(.., Order::Ascending);
            let ended = rows.filter(|row| row.as_ref().map_or(true, |(id, _)| !active.contains(&RunId(*id))));
            let mut old = Vec::new();
            for (number, row) in ended.take(PASS).enumerate() {
                // What cannot be read is kept until a person decides.
                let (id, row) = match row {
                    Err(StoreError::Row { .. }) => continue,
                    row => row?,
                };
                let Ok(record) = row.read(RunId(id)) else { continue };
                let expired = record.finished_at.is_some_and(|time| time < oldest);
                if record.state.is_ended() && (expired || (number as u64) < surplus) {
                    old.push((record, row));
                }
            }
            Ok::<_, RunError>(old)
        });
        let old = found.await.map_err(|_| RunError::Closed)??;
        let mut forgotten = 0;
        for (record, row) in old {
            match self.forget(record, row).await {
                Ok(()) => forgotten += 1,
                Err(RunError::Refused(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(forgotten)
    }

    /// Removes the directories and files of runs that the store does not know: left by a crash between a
    /// deletion and its files, or between the files of a start and the start.
    pub async fn sweep_directories(&self) -> Result<(), RunError> {
        let (store, files) = (self.store().clone(), self.files().clone());
        let swept = tokio::task::spawn_blocking(move || {
            let present = files.all().unwrap_or_default();
            // The index names every run and is far smaller than the runs: looking each of them up
            // would bring the whole history into memory at every start.
            let known: HashSet<Uuid> = store
                .keys::<ByStatus>(.., Order::Ascending)
                .map(|key| Ok(key?.1))
                .collect::<Result<_, RunError>>()?;
            for run in present {
                // A run that changes its state meanwhile may be missed in the index.
                if !known.contains(&run.0)
                    && store.get::<Runs>(&run.0)?.is_none()
                    && let Err(error) = files.remove(run)
                {
                    tracing::warn!(%run, %error, "could not remove the directory of a run that is gone");
                }
            }
            files.sweep_values(UNDER_WAY, |run| {
                Ok(known.contains(&run.0)
                    || store.keys::<Runs>(run.0..=run.0, Order::Ascending).next().is_some())
            })?;
            // All that opening needed has been needed by now.
            platform::give_memory_back();
            Ok::<_, RunError>(())
        });
        swept.await.map_err(|_| RunError::Closed)?
    }
}

fn delete_rows(batch: &mut Batch, run: &Run) {
    let id: Uuid = run.id.0;
    batch.delete::<Runs>(&id);
    for status in Status::ALL {
        batch.delete::<ByStatus>(&(status.number(), id));
    }
    batch.delete::<ByKind>(&(run.kind.clone(), id));
    for (key, value) in &run.labels {
        batch.delete::<ByLabel>(&(format!("{key}={value}"), id));
    }
    if let Some(request) = &run.request_id {
        batch.delete::<Requests>(request);
    }
}
