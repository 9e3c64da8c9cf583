//! A corpus of the shape of an earlier tool's demo: 500 sessions in that demo's dialect.
//!
//! That tool was run once on its own demo corpus, and what it found there is published: how many sessions of
//! each kind, turns, calls and compactions, and how many signals of each category. Which session had what is
//! not: it hung on the random numbers of another language's library. So this corpus is made the other way
//! round. The published totals are dealt out to the sessions by [`plan`], within what is known of each kind,
//! and come out exactly, with every seed; a rule set that counts as the earlier tool did must find them.
//!
//! What is known of the kinds: `success` has one or two turns with good calls, `failure` two to four turns
//! that each fail with 1, 2, 127 or 255, `denial` three to five requests that are denied and then a user who
//! gives up, `compaction` eight to fifteen turns and two to four compactions, each followed by a warning of
//! truncation, `error` one error (one of five, one of these a timeout), `mixed` three to six turns of anything.
//!
//! The dialect: metadata nested in `meta` and `git`, a turn's settings beside its id, decisions as objects,
//! approvals that name the call where Codex names the turn, errors and warnings nested in `payload`,
//! compactions with numbers of tokens and no histories, times in seconds, small meta files.

mod plan;
mod spine;

use std::io;
use std::path::Path;

use crate::Made;
use crate::clock::{BEGINNING, Clock};
use crate::random::Random;

/// What is found in the demo corpus, by the rules of the tool that it was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demo {
    /// Sessions.
    pub sessions: u64,
    /// `turn_context` records, which that tool counts as turns.
    pub turns: u64,
    /// Commands and patches begun.
    pub calls: u64,
    /// Compactions.
    pub compactions: u64,
    /// Sessions by who used Codex.
    pub sources: [(&'static str, u64); 4],
    /// Signals by category.
    pub signals: [(&'static str, u64); 12],
}

/// The published totals.
pub const DEMO: Demo = Demo {
    sessions: 500,
    turns: 1_781,
    calls: 1_386,
    compactions: 190,
    sources: [("CLI", 210), ("VSCode", 143), ("exec", 76), ("SubAgent", 71)],
    signals: [
        ("exec_failure", 509),
        ("denial_exec", 285),
        ("truncation_warning", 190),
        ("compaction", 190),
        ("patch_failure", 80),
        ("repeated_denial", 64),
        ("repeated_compaction", 64),
        ("error_event", 15),
        ("timeout", 5),
        ("fast_completion", 172),
        ("first_attempt_success", 143),
        ("zero_denial", 19),
    ],
};

/// Makes the demo corpus below a directory, which becomes a Codex home.
///
/// # Errors
///
/// When a file cannot be written, or a session's file is already there.
pub fn demo(home: &Path, seed: u64) -> io::Result<Made> {
    let mut random = Random::new(seed);
    let mut made = Made::default();
    let mut now = Clock(BEGINNING);
    for session in plan::sessions(&mut random) {
        now.pass(1_000 * random.between(60..=7_200));
        made.add(spine::write(home, &session, &mut random, now)?);
    }
    Ok(made)
}
