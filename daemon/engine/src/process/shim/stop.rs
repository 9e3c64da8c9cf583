//! When and how a child is stopped: the ladder, and the limits that set it going. Pure: time is passed in.

use std::time::{Duration, Instant};

use super::super::launch::Limits;
use super::super::record::Cause;

/// Pause between two rounds of SIGKILL, for those who were born during the last one.
const ROUND: Duration = Duration::from_millis(10);
/// So long processes may take to go after the first SIGKILL before the shim gives up on them.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Nothing.
    Wait,
    /// Send the first signal.
    Ask,
    /// Send SIGKILL to all that is left.
    Kill,
    /// Nothing helps: tell who is left, and end.
    GiveUp,
}

/// Where a child stands on its way to the end.
#[derive(Debug)]
pub(super) struct Stop {
    cause: Cause,
    limits: Limits,
    began: Instant,
    ladder: Ladder,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ladder {
    /// Nobody has asked for an end.
    Untouched,
    /// An end was asked for, the first signal is to be sent.
    Asked { grace: Duration },
    /// It was sent; who is left at this moment is killed.
    Grace { until: Instant },
    /// SIGKILL is sent round by round until the shim gives up.
    Killing { next: Instant, give_up: Instant },
}

impl Stop {
    /// A child that begins to run now.
    pub(super) fn new(limits: Limits, now: Instant) -> Self {
        Self { cause: Cause::Ended, limits, began: now, ladder: Ladder::Untouched }
    }

    /// Why the attempt ends, as far as is known now.
    pub(super) fn cause(&self) -> Cause {
        self.cause
    }

    /// Whether the end was asked for, by whomever.
    pub(super) fn under_way(&self) -> bool {
        self.ladder != Ladder::Untouched
    }

    /// Asks for an end. Only the first to ask is the cause.
    pub(super) fn ask(&mut self, cause: Cause, grace: Duration) {
        if !self.under_way() {
            self.cause = cause;
            self.ladder = Ladder::Asked { grace };
        }
    }

    /// Has everyone killed now. When the child has ended by itself and only what it left is being cleared away, that
    /// stays the cause.
    pub(super) fn kill(&mut self, now: Instant) {
        if !(self.under_way() && self.cause == Cause::Ended) {
            self.cause = Cause::Killed;
        }
        if !matches!(self.ladder, Ladder::Killing { .. }) {
            self.ladder = Ladder::Killing { next: now, give_up: now + PATIENCE };
        }
    }

    /// Looks at the limits; `last_output` is when the child last wrote.
    pub(super) fn check_limits(
        &mut self,
        now: Instant,
        last_output: Instant,
        exceeded: bool,
        grace: Duration,
    ) {
        let passed = |since: Instant, limit: Option<Duration>| {
            limit.is_some_and(|limit| now.saturating_duration_since(since) >= limit)
        };
        if exceeded {
            self.ask(Cause::OutputLimit, grace);
        } else if passed(self.began, self.limits.wall) {
            self.ask(Cause::WallLimit, grace);
        } else if passed(last_output.max(self.began), self.limits.idle) {
            self.ask(Cause::IdleLimit, grace);
        }
    }

    /// What is to be done now; each action is told once when it is due.
    pub(super) fn action(&mut self, now: Instant) -> Action {
        match self.ladder {
            Ladder::Asked { grace } => {
                self.ladder = Ladder::Grace { until: now + grace };
                Action::Ask
            }
            Ladder::Grace { until } if now >= until => {
                self.ladder = Ladder::Killing { next: now + ROUND, give_up: now + PATIENCE };
                Action::Kill
            }
            Ladder::Killing { next, give_up } if now >= next => {
                self.ladder = Ladder::Killing { next: now + ROUND, give_up };
                if now >= give_up { Action::GiveUp } else { Action::Kill }
            }
            _ => Action::Wait,
        }
    }

    /// When to look again at the latest; `None` when only an event can change anything.
    pub(super) fn next_look(&self, last_output: Instant) -> Option<Instant> {
        match self.ladder {
            Ladder::Asked { .. } => Some(self.began),
            Ladder::Grace { until } => Some(until),
            Ladder::Killing { next, .. } => Some(next),
            Ladder::Untouched => {
                let wall = self.limits.wall.and_then(|limit| self.began.checked_add(limit));
                let idle = self.limits.idle.and_then(|limit| last_output.max(self.began).checked_add(limit));
                wall.into_iter().chain(idle).min()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(10);

    fn second(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn the_ladder_asks_waits_for_the_grace_and_kills() {
        let start = Instant::now();
        let mut stop = Stop::new(Limits::default(), start);
        assert_eq!(stop.action(start), Action::Wait);
        stop.ask(Cause::Stopped, GRACE);
        assert_eq!(stop.action(start), Action::Ask);
        assert_eq!(stop.action(second(start, 9)), Action::Wait);
        assert_eq!(stop.action(second(start, 10)), Action::Kill);
        assert_eq!(stop.action(second(start, 11)), Action::Kill);
        assert_eq!(stop.action(second(start, 15)), Action::GiveUp);
    }

    #[test]
    fn a_kill_skips_the_grace() {
        let start = Instant::now();
        let mut stop = Stop::new(Limits::default(), start);
        stop.ask(Cause::Stopped, GRACE);
        assert_eq!(stop.action(start), Action::Ask);
        stop.kill(start);
        assert_eq!(stop.action(start), Action::Kill);
        assert_eq!(stop.cause(), Cause::Killed);
    }

    #[test]
    fn a_second_request_neither_changes_the_cause_nor_starts_the_grace_again() {
        let start = Instant::now();
        let mut stop = Stop::new(Limits::default(), start);
        stop.ask(Cause::WallLimit, GRACE);
        assert_eq!(stop.action(start), Action::Ask);
        stop.ask(Cause::Stopped, GRACE);
        assert_eq!(stop.action(second(start, 10)), Action::Kill);
        assert_eq!(stop.cause(), Cause::WallLimit);
    }

    #[test]
    fn output_puts_the_idle_limit_off_and_not_the_wall_limit() {
        let start = Instant::now();
        let limits = Limits {
            wall: Some(Duration::from_secs(100)),
            idle: Some(Duration::from_secs(5)),
            ..Limits::default()
        };
        let mut stop = Stop::new(limits, start);
        assert_eq!(stop.next_look(second(start, 4)), Some(second(start, 9)));
        assert_eq!(stop.next_look(second(start, 98)), Some(second(start, 100)));
        stop.check_limits(second(start, 8), second(start, 4), false, GRACE);
        assert_eq!(stop.action(second(start, 8)), Action::Wait);
        stop.check_limits(second(start, 9), second(start, 4), false, GRACE);
        assert_eq!((stop.action(second(start, 9)), stop.cause()), (Action::Ask, Cause::IdleLimit));
    }

    #[test]
    fn a_kill_while_leftovers_are_cleared_away_leaves_the_cause() {
        let start = Instant::now();
        let mut stop = Stop::new(Limits::default(), start);
        stop.ask(Cause::Ended, GRACE);
        stop.kill(start);
        assert_eq!(stop.cause(), Cause::Ended);
    }
}
