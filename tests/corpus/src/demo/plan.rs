//! Which session has what, so that the published totals come out.

use std::ops::RangeInclusive;

use crate::demo::DEMO;
use crate::random::Random;

/// Sessions of each kind, as published.
const SUCCESSES: usize = 160;
const FAILURES: usize = 110;
const DENIALS: usize = 64;
const COMPACTIONS: usize = 64;
const ERRORS: usize = 20;
const MIXED: usize = 82;

/// What each kind has of the totals. These are not published; they are chosen near the middle of what is
/// known of the kinds, and what is left over is `mixed`.
const SUCCESS_TURNS: u64 = 240;
const FAILURE_TURNS: u64 = 330;
const DENIED: u64 = 256;
const MIXED_TURNS: u64 = 369;
/// Successes with commands; the others have patches. With the compactions they are the first attempts that
/// succeeded: a `mixed` session has at least one command that fails.
const COMMAND_SUCCESSES: usize = 143 - COMPACTIONS;
/// Commands of the compactions, all good.
const COMPACTION_CALLS: u64 = 379;

/// A session of the demo.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) source: &'static str,
    pub(super) turns: Vec<Turn>,
}

/// What happens in a turn.
pub(super) type Turn = Vec<Deed>;

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// A command ends with this code.
    Command(i32),
    /// A patch is applied or not.
    Patch(bool),
    /// A command is asked for, and allowed or not.
    Asked { granted: bool },
    /// The user speaks of giving up.
    GivesUp,
    /// A compaction and the warning after it.
    Compaction,
    /// The error of this number.
    Error(usize),
}

/// The sessions, in an order drawn by chance.
pub(super) fn sessions(random: &mut Random) -> Vec<Session> {
    let mut all: Vec<Vec<Turn>> = Vec::new();
    all.extend(successes(random));
    all.extend(failures(random));
    all.extend(denials(random));
    all.extend(compactions(random));
    // One of the five errors is a timeout, the last; five sessions have it.
    let error = |number| if number < 5 { 4 } else { number % 4 };
    all.extend((0..ERRORS).map(|number| vec![vec![Deed::Error(error(number))]]));
    all.extend(mixed(random));
    random.shuffle(&mut all);

    let mut sources: Vec<&str> =
        DEMO.sources.iter().flat_map(|(name, count)| (0..*count).map(move |_| *name)).collect();
    random.shuffle(&mut sources);
    all.into_iter().zip(sources).map(|(turns, source)| Session { source, turns }).collect()
}

fn successes(random: &mut Random) -> Vec<Vec<Turn>> {
    let turns = random.with_sum(SUCCESSES, 1..=2, SUCCESS_TURNS);
    let deed = |number| if number < COMMAND_SUCCESSES { Deed::Command(0) } else { Deed::Patch(true) };
    turns
        .iter()
        .enumerate()
        .map(|(number, turns)| (0..*turns).map(|_| vec![deed(number)]).collect())
        .collect()
}

fn failures(random: &mut Random) -> Vec<Vec<Turn>> {
    let turns = random.with_sum(FAILURES, 2..=4, FAILURE_TURNS);
    turns.iter().map(|turns| (0..*turns).map(|_| vec![failing(random)]).collect()).collect()
}

fn failing(random: &mut Random) -> Deed {
    Deed::Command(random.pick(&[1, 2, 127, 255]))
}

fn denials(random: &mut Random) -> Vec<Vec<Turn>> {
    let denied = random.with_sum(DENIALS, 3..=5, DENIED);
    let turn = |denied: &u64| {
        let asked = (0..*denied).map(|_| Deed::Asked { granted: false });
        asked.chain([Deed::GivesUp]).collect()
    };
    denied.iter().map(|denied| vec![turn(denied)]).collect()
}

fn compactions(random: &mut Random) -> Vec<Vec<Turn>> {
    let boundaries = random.with_sum(COMPACTIONS, 2..=4, DEMO.compactions);
    let turns = DEMO.turns - SUCCESS_TURNS - FAILURE_TURNS - DENIALS as u64 - ERRORS as u64 - MIXED_TURNS;
    let turns = random.with_sum(COMPACTIONS, 8..=15, turns);
    let calls = random.with_sum(COMPACTIONS, 2..=8, COMPACTION_CALLS);
    let mut sessions = Vec::new();
    for ((boundaries, turns), calls) in boundaries.into_iter().zip(turns).zip(calls) {
        let mut session = vec![Vec::new(); usize::try_from(turns).unwrap_or_default()];
        deal(random, &mut session, calls, |_| Deed::Command(0));
        deal(random, &mut session, boundaries, |_| Deed::Compaction);
        sessions.push(session);
    }
    sessions
}

/// What is left of the totals. A session of three turns with a call that succeeds is a fast completion, so
/// exactly so many have one as the totals want; longer ones are never fast.
fn mixed(random: &mut Random) -> Vec<Vec<Turn>> {
    let [exec_failures, denials, .., fast, _, calm] = DEMO.signals.map(|(_, count)| count);
    let patch_failures = DEMO.signals[4].1;
    let failing_commands = exec_failures - FAILURE_TURNS;
    let calls = DEMO.calls - SUCCESS_TURNS - FAILURE_TURNS - COMPACTION_CALLS;
    let successes = calls - failing_commands - patch_failures;
    let fast = usize::try_from(fast).unwrap_or_default() - SUCCESSES;

    let turns = random.with_sum(MIXED, 3..=6, MIXED_TURNS);
    let mut sessions: Vec<Vec<Turn>> =
        turns.iter().map(|turns| vec![Vec::new(); usize::try_from(*turns).unwrap_or_default()]).collect();
    sessions.sort_by_key(Vec::len);
    let short = sessions.iter().filter(|session| session.len() == 3).count();
    assert!(short >= fast, "too few mixed sessions of three turns");

    // Each has a command that fails, so that none is a success at the first attempt.
    spread(random, &mut sessions, 1..=5, failing_commands, failing);
    spread(random, &mut sessions, 0..=3, patch_failures, |_| Deed::Patch(false));
    spread(random, &mut sessions[short - fast..], 1..=6, successes, |random| {
        if random.percent(60) { Deed::Command(0) } else { Deed::Patch(true) }
    });
    random.shuffle(&mut sessions);
    // Two denials would not be a repeated one, but one does. Who is asked and never denied is calm.
    let denied = usize::try_from(denials - DENIED).unwrap_or_default();
    let calm = usize::try_from(calm).unwrap_or_default();
    for (number, session) in sessions.iter_mut().enumerate().take(denied + calm) {
        deal(random, session, 1, |_| Deed::Asked { granted: number >= denied });
    }
    sessions
}

/// Deals deeds out to sessions, so many in all and to each within a range.
fn spread(
    random: &mut Random,
    sessions: &mut [Vec<Turn>],
    range: RangeInclusive<u64>,
    total: u64,
    deed: impl Fn(&mut Random) -> Deed,
) {
    let shares = random.with_sum(sessions.len(), range, total);
    for (session, share) in sessions.iter_mut().zip(shares) {
        deal(random, session, share, &deed);
    }
}

/// Deals deeds out to the turns of a session, at any place.
fn deal(random: &mut Random, turns: &mut [Turn], count: u64, deed: impl Fn(&mut Random) -> Deed) {
    for _ in 0..count {
        let deed = deed(random);
        let turn = &mut turns[random.index(turns.len())];
        let place = random.index(turn.len() + 1);
        turn.insert(place, deed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts as the earlier tool's rules do.
    fn counted(sessions: &[Session]) -> Vec<(&'static str, u64)> {
        let mut counts: Vec<(&str, u64)> = DEMO.signals.iter().map(|(name, _)| (*name, 0)).collect();
        let mut add = |name: &str, more: usize| {
            counts.iter_mut().find(|(other, _)| *other == name).unwrap().1 += more as u64;
        };
        for session in sessions {
            let deeds: Vec<Deed> = session.turns.iter().flatten().copied().collect();
            let count = |wanted: &dyn Fn(&Deed) -> bool| deeds.iter().filter(|deed| wanted(deed)).count();
            let failures = count(&|deed| matches!(deed, Deed::Command(code) if *code != 0));
            let good_commands = count(&|deed| matches!(deed, Deed::Command(0)));
            let good_patches = count(&|deed| matches!(deed, Deed::Patch(true)));
            let denied = count(&|deed| matches!(deed, Deed::Asked { granted: false }));
            let asked = count(&|deed| matches!(deed, Deed::Asked { .. }));
            let compactions = count(&|deed| matches!(deed, Deed::Compaction));
            add("exec_failure", failures);
            add("patch_failure", count(&|deed| matches!(deed, Deed::Patch(false))));
            add("denial_exec", denied);
            add("repeated_denial", usize::from(denied >= 3));
            add("compaction", compactions);
            add("truncation_warning", compactions);
            add("repeated_compaction", usize::from(compactions >= 2));
            add("timeout", count(&|deed| matches!(deed, Deed::Error(4))));
            add("error_event", count(&|deed| matches!(deed, Deed::Error(0..4))));
            let fast = session.turns.len() <= 3 && good_commands + good_patches > 0;
            add("fast_completion", usize::from(fast));
            add("first_attempt_success", usize::from(good_commands > 0 && failures == 0));
            add("zero_denial", usize::from(asked > 0 && denied == 0));
        }
        counts
    }

    #[test]
    fn every_seed_gives_the_published_totals() {
        for seed in [1, 42, 1_000] {
            let sessions = sessions(&mut Random::new(seed));
            let calls = |deed: &&Deed| matches!(deed, Deed::Command(_) | Deed::Patch(_));
            let turns: usize = sessions.iter().map(|session| session.turns.len()).sum();
            assert_eq!(sessions.len() as u64, DEMO.sessions);
            assert_eq!(turns as u64, DEMO.turns);
            let deeds = sessions.iter().flat_map(|session| session.turns.iter().flatten());
            assert_eq!(deeds.filter(calls).count() as u64, DEMO.calls);
            for (name, count) in DEMO.sources {
                assert_eq!(sessions.iter().filter(|session| session.source == name).count() as u64, count);
            }
            assert_eq!(counted(&sessions), DEMO.signals);
        }
    }
}
