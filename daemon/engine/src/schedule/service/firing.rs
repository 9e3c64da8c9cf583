//! Firing one schedule.

use uuid::Uuid;

use super::super::policy::{self, Decision};
use super::super::{Cause, Firing, HostError, Notice, Schedule};
use super::{Backoff, Scheduler};

impl Scheduler {
    /// Fires the earliest occurrence that a schedule owes, or tells those that it owes no longer.
    pub(super) async fn fire_due(&mut self, id: Uuid) {
        let Some(entry) = self.book.get(id) else {
            return;
        };
        let (schedule, backoff) = (entry.schedule.clone(), entry.backoff);
        let mut notices = entry.untold.clone();
        let mut advanced = schedule.clone();
        let occurrence = match advanced.pending.take() {
            Some(pending) => Some(pending),
            None => self.advance(&mut advanced, &mut notices),
        };
        if advanced == schedule {
            self.book.put(schedule); // the clock was set back just now: nothing is due
            return;
        }
        let Some(occurrence) = occurrence else {
            match self.host.save(&advanced, &notices).await {
                Ok(()) => self.book.put(advanced),
                Err(error) => {
                    tracing::warn!(schedule = schedule.name, %error, "cannot store that occurrences were missed");
                    let backoff = Backoff::after(backoff, self.clock.now());
                    self.book.put_off(schedule, Some(backoff), Vec::new());
                }
            }
            return;
        };

        let cause = Cause::Time(occurrence);
        let firing = Firing::new(id, cause.clone(), Vec::new());
        match self.carry_out(&advanced, firing, notices.clone()).await {
            Ok(stored) => self.book.put(stored),
            Err(error) => {
                // Exactly this occurrence is tried again, whatever else comes due meanwhile: its run
                // may have been started without our hearing of it.
                advanced.pending = Some(occurrence);
                let backoff = Backoff::after(backoff, self.clock.now());
                self.fail(advanced, cause, &error, notices, Some(backoff)).await;
            }
        }
    }

    /// Moves a schedule past the occurrences that have come, up to the first that is to be fired, and
    /// returns that one.
    fn advance(&self, schedule: &mut Schedule, notices: &mut Vec<Notice>) -> Option<jiff::Timestamp> {
        let due =
            policy::due(&schedule.trigger, schedule.id, schedule.next_at?, self.clock.now(), schedule.missed);
        if let Some(dropped) = due.dropped {
            schedule.counts.missed += dropped.count;
            notices.push(Notice::Missed(dropped));
        }
        let mut fire = due.fire.into_iter();
        let occurrence = fire.next();
        schedule.next_at = fire.next().or(due.next);
        occurrence
    }

    /// Carries a firing out as the overlap policy wants it: starts its run, or drops it. `advanced` is
    /// the schedule with this firing behind it; what is returned has been stored.
    ///
    /// An error means that nothing is known about the outcome and the same firing must be tried again.
    pub(super) async fn carry_out(
        &self,
        advanced: &Schedule,
        mut firing: Firing,
        mut notices: Vec<Notice>,
    ) -> Result<Schedule, HostError> {
        let active = self.host.active_runs_of(advanced.id).await?;
        match policy::overlap(advanced.overlap, &active, &firing.request_id) {
            Decision::Start => {}
            Decision::Queue(after) => firing.after = Some(after),
            Decision::Replace { cancel, after } => {
                let reason = format!("replaced by the next run of schedule {}", advanced.name);
                for run in cancel {
                    self.host.cancel(run, &reason).await?;
                }
                firing.after = Some(after);
            }
            Decision::Skip(active) => {
                let mut skipped = advanced.clone();
                skipped.counts.skipped += 1;
                notices.push(Notice::Skipped { cause: firing.cause, active });
                self.host.save(&skipped, &notices).await?;
                return Ok(skipped);
            }
        }
        match self.start(advanced, &firing, &notices).await {
            Err(HostError::Refused(problem)) => {
                let mut refused = advanced.clone();
                refused.last_error = Some(problem.clone());
                notices.push(Notice::Refused { cause: firing.cause, problem });
                self.host.save(&refused, &notices).await?;
                Ok(refused)
            }
            other => other,
        }
    }

    /// Starts the run of a firing and returns the schedule as it was stored with it.
    pub(super) async fn start(
        &self,
        advanced: &Schedule,
        firing: &Firing,
        notices: &[Notice],
    ) -> Result<Schedule, HostError> {
        let mut fired = advanced.clone();
        fired.counts.fired += 1;
        fired.last_at = Some(self.clock.now());
        fired.last_error = None;
        let run = self.host.fire(&fired, firing, notices).await?;
        Ok(fired.started(run))
    }

    /// Keeps a schedule whose firing failed, and tells so unless it has failed for the same reason
    /// before. The store may be what failed: then the notices wait for it.
    pub(super) async fn fail(
        &mut self,
        mut failed: Schedule,
        cause: Cause,
        error: &HostError,
        mut notices: Vec<Notice>,
        backoff: Option<Backoff>,
    ) {
        let problem = error.to_string();
        tracing::warn!(schedule = failed.name, %error, "a schedule could not start its run; trying again");
        failed.last_error = Some(problem.clone());
        let before = self.book.get(failed.id).map(|entry| &entry.schedule);
        if before != Some(&failed) {
            notices.push(Notice::Failed { cause, problem });
        }
        if !notices.is_empty() {
            match self.host.save(&failed, &notices).await {
                Ok(()) => notices.clear(),
                Err(error) => {
                    tracing::warn!(schedule = failed.name, %error, "nor could that be stored");
                }
            }
        }
        self.book.put_off(failed, backoff, notices);
    }
}
