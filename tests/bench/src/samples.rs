//! Repeated measurements of one thing.

use std::time::{Duration, Instant};

/// What several rounds measured, in seconds.
#[derive(Debug, Default, Clone)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn add(&mut self, time: Duration) {
        self.0.push(time.as_secs_f64());
    }

    /// Does something and adds how long it took.
    pub(crate) fn time<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let done = work();
        self.add(start.elapsed());
        done
    }

    pub(crate) fn median(&self) -> f64 {
        self.percentile(50)
    }

    /// The sample below which `percent` of all lie; NaN when there are none.
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let last = sorted.len().saturating_sub(1);
        sorted.get(last * percent / 100).copied().unwrap_or(f64::NAN)
    }
}

/// How often something happened in a second.
#[expect(clippy::cast_precision_loss, reason = "counts here stay far below 2^52")]
pub(crate) fn rate(count: usize, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples_whatever_their_order() {
        let mut samples = Samples::default();
        for second in [5, 1, 4, 2, 3] {
            samples.add(Duration::from_secs(second));
        }
        assert_eq!(
            [0, 50, 99, 100].map(|percent| samples.percentile(percent).to_string()),
            ["1", "3", "4", "5"]
        );
    }
}
