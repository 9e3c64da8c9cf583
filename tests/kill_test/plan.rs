//! Kinds of work, and what must have become of each in the end.

use std::ops::RangeInclusive;
use std::time::Duration;

use spindle_client::v1::OnInterrupt;

use crate::book::{BEGIN, END, alone_in};
use crate::nest::Work;

/// A kind of work that is one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Over at once.
    Short,
    /// Longer than most daemons live here.
    Long,
    /// Exits with code 7.
    Failing,
    /// Fails twice, then succeeds.
    Retried,
    /// Runs into its limit of time.
    Late,
    /// Writes much while its log is followed.
    Noisy,
    /// Shares a lease with others.
    Leased,
    /// Is canceled.
    Canceled,
    /// Loses its shim, and is taken up again by itself.
    ShimLostResumed,
    /// Loses its shim, and stays where it is.
    ShimLostHeld,
}

/// The true end of a piece of work.
#[derive(Debug, Clone)]
pub(crate) struct Expected {
    /// How the run stands, as [`crate::story::Events`] tells it: one of these.
    pub(crate) outcomes: &'static [&'static str],
    /// How often its child began, over all attempts.
    pub(crate) begun: RangeInclusive<usize>,
    /// How often its child came to its end.
    pub(crate) ended: usize,
}

/// The lines that a [`Plan::Noisy`] child writes each of several times.
const NOISE: u32 = 5000;
/// How often.
const NOISES: u32 = 4;

impl Plan {
    /// All kinds, the usual ones several times, to be drawn from.
    pub(crate) const DRAWN: [Self; 16] = [
        Self::Short,
        Self::Short,
        Self::Short,
        Self::Short,
        Self::Long,
        Self::Failing,
        Self::Failing,
        Self::Retried,
        Self::Retried,
        Self::Late,
        Self::Noisy,
        Self::Leased,
        Self::Leased,
        Self::Canceled,
        Self::ShimLostResumed,
        Self::ShimLostHeld,
    ];

    fn script(self) -> String {
        match self {
            Self::Short => format!("{BEGIN}; {END}"),
            Self::Long => format!("{BEGIN}; sleep 4; {END}"),
            Self::Failing => format!("{BEGIN}; {END}; exit 7"),
            Self::Retried => {
                format!(r#"{BEGIN}; test "$(grep -c begin "$BOOK/$KEY")" -ge 3 || exit 1; {END}"#)
            }
            Self::Late | Self::Canceled | Self::ShimLostHeld => format!("{BEGIN}; sleep 60; {END}"),
            Self::Noisy => {
                format!("{BEGIN}; for n in $(seq {NOISES}); do seq {NOISE}; sleep 0.3; done; {END}")
            }
            Self::Leased => format!("{}; {BEGIN}; sleep 0.1; {END}", alone_in("gpu")),
            Self::ShimLostResumed => {
                format!(r#"{BEGIN}; test "$(grep -c begin "$BOOK/$KEY")" -ge 2 || sleep 60; {END}"#)
            }
        }
    }

    /// The work itself.
    pub(crate) fn work(self, mut work: Work) -> Work {
        work.exec.argv[2] = self.script().into_bytes();
        match self {
            Self::Retried => work.attempts(3),
            Self::Late => work.timeout(Duration::from_millis(700)),
            Self::Leased => work.lease("gpu:0"),
            Self::ShimLostResumed => {
                work.options.on_interrupt = OnInterrupt::Resume.into();
                work
            }
            Self::ShimLostHeld => {
                work.options.on_interrupt = OnInterrupt::Hold.into();
                work
            }
            Self::Short | Self::Long | Self::Failing | Self::Noisy | Self::Canceled => work,
        }
    }

    /// What must become of it.
    pub(crate) fn expected(self) -> Expected {
        let expected = |outcomes, begun, ended| Expected { outcomes, begun, ended };
        match self {
            Self::Short | Self::Long | Self::Noisy | Self::Leased => expected(&["succeeded 0"], 1..=1, 1),
            Self::Failing => expected(&["failed exit 7"], 1..=1, 1),
            Self::Retried => expected(&["succeeded 0"], 3..=3, 1),
            // On a machine under load the limit may come before the child's first line.
            Self::Late => expected(&["failed timeout signal 15"], 0..=1, 0),
            Self::Canceled => expected(&["canceled canceled", "canceled canceled signal 15"], 0..=1, 0),
            Self::ShimLostResumed => expected(&["succeeded 0"], 2..=2, 1),
            Self::ShimLostHeld => expected(&["interrupted interrupted"], 1..=1, 0),
        }
    }
}

/// What a [`Plan::Noisy`] child writes.
pub(crate) fn noise() -> Vec<u8> {
    use std::fmt::Write as _;

    let mut once = String::new();
    for line in 1..=NOISE {
        writeln!(once, "{line}").unwrap();
    }
    once.repeat(NOISES as usize).into_bytes()
}
