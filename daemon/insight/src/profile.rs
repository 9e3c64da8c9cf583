//! A session in two words: how it ended, and how hard it was.
//!
//! How it ended is told by its last turn and its tool calls:
//!
//! | | |
//! |---|---|
//! | `abandoned` | the user interrupted the last turn |
//! | `unfinished` | Codex was cut off in the last turn |
//! | `failed` | the last turn ended with an error, or all that the agent tried in the session failed |
//! | `talk_only` | no tool was called |
//! | `success` | anything else: the last turn completed and something worked |
//!
//! How hard it was is told by its friction, the sum of severity times confidence over its friction signals:
//!
//! | | |
//! |---|---|
//! | `high_friction` | 2 or more, and at least half a point per user turn |
//! | `some_friction` | 0.5 or more |
//! | `smooth` | less |
//!
//! A success has one of three profiles, a failure one of two, the others one each; see [`Profile`].

use std::fmt;

use serde::{Deserialize, Serialize};
use trace::session::{CallOutcome, TurnEnd};
use trace::{Fact, What};

use crate::signal::{Signal, SignalType};

/// A session in two words; the module says when it is which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// It worked, and nothing stood in the way.
    SuccessSmooth,
    /// It worked, with some trouble.
    SuccessSomeFriction,
    /// It worked, and it was hard.
    SuccessHighFriction,
    /// It did not work, and was not tried for long.
    FailedLowFriction,
    /// It did not work, and it was hard.
    FailedHighFriction,
    /// The user stopped it.
    Abandoned,
    /// Codex was stopped in the middle.
    Unfinished,
    /// There were words only.
    TalkOnly,
}

impl Profile {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::SuccessSmooth,
        Self::SuccessSomeFriction,
        Self::SuccessHighFriction,
        Self::FailedLowFriction,
        Self::FailedHighFriction,
        Self::Abandoned,
        Self::Unfinished,
        Self::TalkOnly,
    ];

    /// The profile of a session; none while its first turn, or a later one, is still running. A session that
    /// has settled has one in any case, if it has turns at all: not every format tells when a turn ends.
    pub fn of<'a>(
        course: &Course,
        settled: bool,
        signals: impl IntoIterator<Item = &'a Signal>,
    ) -> Option<Self> {
        let friction = Friction::of(course.turns, signals);
        Some(match course.last {
            _ if course.turns == 0 => return None,
            Ending::Open if !settled => return None,
            Ending::Interrupted => Self::Abandoned,
            Ending::Cut => Self::Unfinished,
            Ending::Failed => friction.of_a_failure(),
            Ending::Open | Ending::Complete if !course.tried => Self::TalkOnly,
            Ending::Open | Ending::Complete if !course.worked => friction.of_a_failure(),
            Ending::Open | Ending::Complete => friction.of_a_success(),
        })
    }

    /// Its name, as it is stored and asked for.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SuccessSmooth => "success_smooth",
            Self::SuccessSomeFriction => "success_some_friction",
            Self::SuccessHighFriction => "success_high_friction",
            Self::FailedLowFriction => "failed_low_friction",
            Self::FailedHighFriction => "failed_high_friction",
            Self::Abandoned => "abandoned",
            Self::Unfinished => "unfinished",
            Self::TalkOnly => "talk_only",
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How hard it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Friction {
    Smooth,
    Some,
    High,
}

impl Friction {
    fn of<'a>(turns: u32, signals: impl IntoIterator<Item = &'a Signal>) -> Self {
        let points: f64 = signals
            .into_iter()
            .filter(|signal| signal.kind == SignalType::Friction)
            .map(|signal| signal.severity * signal.confidence)
            .sum();
        // Sums of decimal fractions come out a little beside what they are on paper.
        let reaches = |limit: f64| points > limit - 1e-6;
        if reaches(2.0) && reaches(f64::from(turns) / 2.0) {
            Self::High
        } else if reaches(0.5) {
            Self::Some
        } else {
            Self::Smooth
        }
    }

    fn of_a_success(self) -> Profile {
        match self {
            Self::Smooth => Profile::SuccessSmooth,
            Self::Some => Profile::SuccessSomeFriction,
            Self::High => Profile::SuccessHighFriction,
        }
    }

    fn of_a_failure(self) -> Profile {
        match self {
            Self::Smooth | Self::Some => Profile::FailedLowFriction,
            Self::High => Profile::FailedHighFriction,
        }
    }
}

/// How a session has gone, as far as its profile needs to know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Course {
    turns: u32,
    last: Ending,
    tried: bool,
    worked: bool,
}

/// How the last turn ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Ending {
    #[default]
    Open,
    Complete,
    Failed,
    Interrupted,
    Cut,
}

impl Course {
    /// Takes the next fact.
    pub(crate) fn feed(&mut self, fact: &Fact<'_>) {
        match fact.what {
            What::TurnBegan(_) => {
                self.turns = self.turns.saturating_add(1);
                self.last = Ending::Open;
            }
            What::TurnEnded(turn) => {
                self.last = match &turn.end {
                    TurnEnd::Open => Ending::Open,
                    TurnEnd::Failed { .. } => Ending::Failed,
                    TurnEnd::Cut => Ending::Cut,
                    TurnEnd::Aborted { reason } if reason == "interrupted" => Ending::Interrupted,
                    TurnEnd::Complete | TurnEnd::Aborted { .. } => Ending::Complete,
                };
            }
            // Formats that do not tell the end of a turn do not tell that an error ended it either.
            What::Error { .. } if self.last == Ending::Open => self.last = Ending::Failed,
            What::AgentSpoke { .. } | What::CallOpened(_) if self.last == Ending::Failed => {
                self.last = Ending::Open;
            }
            What::CallClosed(call) => {
                self.tried = true;
                self.worked |= call.outcome == CallOutcome::Succeeded;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use crate::rules::story::Story;

    fn profile(story: &Story, settled: bool) -> Option<Profile> {
        Profile::of(story.rules.course(), settled, story.live.values())
    }

    fn ended(end: TurnEnd, change: impl Fn(&mut Story)) -> Profile {
        let mut story = Story::begun("fix it");
        change(&mut story);
        story.ends(end);
        profile(&story, false).unwrap()
    }

    #[test]
    fn a_success_is_smooth_or_not() {
        let good = |story: &mut Story| {
            story.exec("make", 0);
        };
        assert_eq!(ended(TurnEnd::Complete, good), Profile::SuccessSmooth);
        let once = |story: &mut Story| {
            story.exec("make", 2).exec("make", 0);
        };
        assert_eq!(ended(TurnEnd::Complete, once), Profile::SuccessSomeFriction);
        let often = |story: &mut Story| {
            story.exec("a", 2).exec("b", 2).exec("c", 2).exec("d", 2).exec("make", 0);
        };
        assert_eq!(ended(TurnEnd::Complete, often), Profile::SuccessHighFriction);
    }

    #[test]
    fn a_few_failures_in_a_long_session_are_no_high_friction() {
        let mut story = Story::begun("fix it");
        story.exec("a", 2).exec("b", 2).exec("c", 2).exec("d", 2).exec("make", 0);
        for _ in 0..10 {
            story.ends(TurnEnd::Complete).says("and more");
        }
        story.ends(TurnEnd::Complete);
        assert_eq!(profile(&story, false), Some(Profile::SuccessSomeFriction));
    }

    #[test]
    fn what_never_worked_has_failed() {
        let failed = |story: &mut Story| {
            story.exec("make", 2);
        };
        assert_eq!(ended(TurnEnd::Complete, failed), Profile::FailedLowFriction);
        let often = |story: &mut Story| {
            story.exec("a", 2).exec("b", 2).exec("c", 2).exec("d", 2);
        };
        assert_eq!(ended(TurnEnd::Complete, often), Profile::FailedHighFriction);
    }

    #[test]
    fn how_the_last_turn_ended_comes_first() {
        let good = |story: &mut Story| {
            story.exec("make", 0);
        };
        assert_eq!(ended(TurnEnd::Aborted { reason: "interrupted".into() }, good), Profile::Abandoned);
        assert_eq!(ended(TurnEnd::Cut, good), Profile::Unfinished);
        assert_eq!(ended(TurnEnd::Failed { info: None }, good), Profile::FailedLowFriction);
        assert_eq!(ended(TurnEnd::Complete, |_| ()), Profile::TalkOnly);
    }

    #[test]
    fn a_running_turn_has_no_profile_until_the_session_settles() {
        let mut story = Story::new();
        assert_eq!(profile(&story, true), None);
        story.says("fix it").exec("make", 0);
        assert_eq!(profile(&story, false), None);
        assert_eq!(profile(&story, true), Some(Profile::SuccessSmooth));
        story.error("gone", None);
        assert_eq!(profile(&story, true), Some(Profile::FailedLowFriction));
    }

    #[test]
    fn every_profile_is_stored_under_its_name() {
        for profile in Profile::ALL {
            assert_eq!(serde_json::to_value(profile).unwrap(), profile.as_str());
        }
    }
}
