//! Sessions as Codex writes them, of a wanted size in all.
//!
//! Most are spines of the tracing Codex, with all that makes them hard to read: streamed deltas are the bulk
//! of the records, numbers are now and then out of order, segments rotate, turn ids begin again after a
//! resume, artifacts are written over, meta files are missing after a kill, parents repeat what their
//! reviewers do, questions are asked twice for one call, outputs have a long tail. About one session in
//! eight is a rollout of the published CLI, in turn of 0.169.0 and 0.75.0.

mod cast;
mod moment;
mod rollout;
mod rollout_pen;
mod spine_pen;
mod story;
mod words;

use std::io;
use std::path::Path;

use crate::Made;
use crate::clock::{BEGINNING, Clock};
use crate::random::Random;
use crate::real::cast::Cast;
use crate::real::rollout_pen::{RolloutPen, Version};
use crate::real::spine_pen::SpinePen;
use crate::real::story::Story;
use crate::real::words::Pool;

/// How big a session is on average when only the size of all is given.
const SESSION_BYTES: u64 = 512 << 10;

/// What kind of corpus.
#[derive(Clone, Copy, Debug)]
pub struct Real {
    /// About how many bytes all files of records have together. Every session has at least one turn, so
    /// that many sessions can need more.
    pub bytes: u64,
    /// How many sessions, sub-agents not counted.
    pub sessions: Option<u64>,
    /// The same seed gives the same bytes.
    pub seed: u64,
}

/// Makes sessions below a directory, which becomes a Codex home.
///
/// # Errors
///
/// When a file cannot be written, or a session's file is already there.
pub fn real(home: &Path, wanted: &Real) -> io::Result<Made> {
    let random = Random::new(wanted.seed);
    let pool = Pool::new(&random.fork(0));
    let sessions = wanted.sessions.unwrap_or(wanted.bytes / SESSION_BYTES).max(1);
    // A session cannot be half the corpus, so that a small one still has many.
    let mut weights = random.fork(1);
    let weights: Vec<u64> = (0..sessions).map(|_| weights.long_tail(256, 16_384)).collect();
    let total: u64 = weights.iter().sum();

    let mut made = Made::default();
    for (number, weight) in (0..sessions).zip(weights) {
        let mut random = random.fork(2 + number);
        let mut now = Clock(BEGINNING);
        // Forty days of work, whatever the number of sessions.
        now.pass(number * (40 * 86_400_000 / sessions) + random.below(1_000_000));
        // What one session has too much is taken from those that follow.
        let left = wanted.bytes.saturating_sub(made.bytes);
        let budget =
            (u128::from(wanted.bytes) * u128::from(weight) / u128::from(total)).min(u128::from(left));
        let budget = u64::try_from(budget).unwrap_or(left);
        let cast = Cast::new(&mut random, now.0, budget);
        made.add(match number % 16 {
            5 => rollout(home, &cast, Version::V0_169, &pool, &random, now, budget)?,
            13 => rollout(home, &cast, Version::V0_75, &pool, &random, now, budget)?,
            _ => spine(home, &cast, &pool, &random, now, budget, None)?,
        });
    }
    Ok(made)
}

fn spine(
    home: &Path,
    cast: &Cast,
    pool: &Pool,
    random: &Random,
    now: Clock,
    budget: u64,
    first: Option<&str>,
) -> io::Result<Made> {
    let mut pen = SpinePen::new(home, cast, pool, random.fork(1), now)?;
    let mut story = Story::new(cast, pool, random.fork(2));
    story.tell(&mut pen, budget, first)?;
    let mut made = pen.made();
    for (number, (child, began, prompt)) in (3..).zip(&story.children) {
        made.add(spine(home, child, pool, &random.fork(number), *began, budget / 20, Some(prompt))?);
    }
    Ok(made)
}

fn rollout(
    home: &Path,
    cast: &Cast,
    version: Version,
    pool: &Pool,
    random: &Random,
    now: Clock,
    budget: u64,
) -> io::Result<Made> {
    let mut pen = RolloutPen::new(home, cast, version, random.fork(1), now)?;
    Story::new(cast, pool, random.fork(2)).tell(&mut pen, budget, None)?;
    Ok(pen.made())
}
