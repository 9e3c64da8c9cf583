//! The daemon's many lives.

use std::fmt;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::Asked;
use crate::nest::Nest;

/// So often it is killed at least.
const KILLS: u32 = 100;

/// What was done to the daemon, for people.
#[derive(Debug, Default)]
pub(crate) struct Lives {
    kills: u32,
    while_starting: u32,
    terminations: u32,
    ready: Vec<Duration>,
}

impl fmt::Display for Lives {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kills, while_starting, terminations, ready } = self;
        let mut ready = ready.clone();
        ready.sort();
        let (middle, longest) = (ready[ready.len() / 2], ready[ready.len() - 1]);
        write!(
            f,
            "{kills} times SIGKILL, {while_starting} of them while it started, {terminations} times SIGTERM; "
        )?;
        write!(f, "ready again after {middle:.0?} in the middle, {longest:.0?} at the longest")
    }
}

/// Lets the daemon live and die until it has died often enough, and for long enough. At the end it lives.
pub(crate) async fn live_and_die(nest: &mut Nest, asked: &Asked, begun: Instant) -> Lives {
    let mut rng = StdRng::seed_from_u64(asked.seed);
    let mut lives = Lives::default();
    while lives.kills < KILLS || begun.elapsed() < asked.at_least {
        // A life of random length: it is no condition that is waited for.
        tokio::time::sleep(Duration::from_millis(rng.random_range(100..2500))).await;
        if rng.random_ratio(1, 8) {
            assert!(nest.terminate().await.success());
            lives.terminations += 1;
        } else {
            nest.kill();
            lives.kills += 1;
        }
        while rng.random_ratio(1, 6) {
            nest.spawn();
            tokio::time::sleep(Duration::from_millis(rng.random_range(0..250))).await;
            nest.kill();
            lives.kills += 1;
            lives.while_starting += 1;
        }
        let starting = Instant::now();
        nest.start().await;
        lives.ready.push(starting.elapsed());
    }
    lives
}
