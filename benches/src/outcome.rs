//! What a visit has measured, and the batches that measure it.

use crate::{metric::Metric, stats::median, tap::Negotiated, work::Visit};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;

/// A visit whose work fails this often is over.
const MAX_FAILURES: usize = 5;

/// The medians of the last batches of a warm-up and of those before them may differ by this much.
const SETTLED: f64 = 0.1;

/// How many batches are compared with as many before them.
const SETTLING: usize = 3;

/// A warm-up ends after this, or after the visit's budget if that is longer, settled or not.
const LONGEST: Duration = Duration::from_millis(500);

/// The numbers of one batch, or of one call. The warm-up watches the first one's metric: its median, where the batch has
/// several of it.
pub type Values = Vec<(Metric, f64)>;

/// What a visit has found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The first batch of the process, before any warm-up.
    pub first: BTreeMap<Metric, f64>,
    /// The measured values, in order.
    pub values: BTreeMap<Metric, Vec<f64>>,
    /// Curves: a metric against something that the work varies, such as the load.
    pub curves: BTreeMap<Metric, Vec<(f64, f64)>>,
    /// What went wrong. A failure is a result.
    pub failures: Vec<String>,
    /// How many batches the warm-up took.
    pub warm_up: u32,
    /// Whether the warm-up ended because the values had stopped drifting.
    pub settled: bool,
    /// What the peers agreed on, read off the wire.
    pub negotiated: Option<Negotiated>,
    /// Seconds of processor time that the whole visit took.
    pub cpu: f64,
}

impl Outcome {
    /// Nothing but a failure.
    pub fn failed(reason: impl Into<String>) -> Self {
        Self {
            failures: vec![reason.into()],
            ..Self::default()
        }
    }

    /// Adds the values of one batch.
    pub fn add(&mut self, values: &[(Metric, f64)]) {
        for &(metric, value) in values {
            self.values.entry(metric).or_default().push(value);
        }
    }

    /// Measures `batch` again and again: once apart, then until its values have stopped drifting, then for the
    /// visit's budget. What fails is kept as a failure, and ends the visit if it happens often.
    pub async fn measure(&mut self, visit: &Visit, mut batch: impl AsyncFnMut() -> Result<Values, String>) {
        let mut watched = Vec::new();
        let began = Instant::now();
        loop {
            match batch().await {
                Ok(values) => {
                    let levels = levels(&values);
                    if self.first.is_empty() {
                        self.first = levels;
                    } else {
                        watched.extend(values.first().map(|(metric, _)| levels[metric]));
                    }
                }
                Err(reason) => self.failures.push(reason),
            }
            if self.failures.len() >= MAX_FAILURES {
                return;
            }
            self.settled = settled(&watched);
            let enough = watched.len() as u32 >= visit.warmup;
            if enough && (self.settled || began.elapsed() >= visit.budget.max(LONGEST)) {
                break;
            }
        }
        self.warm_up = watched.len() as u32 + 1;
        let began = Instant::now();
        while began.elapsed() < visit.budget || self.values.is_empty() {
            match batch().await {
                Ok(values) => self.add(&values),
                Err(reason) => self.failures.push(reason),
            }
            if self.failures.len() >= MAX_FAILURES {
                return;
            }
        }
    }
}

/// The median of each metric.
fn levels(values: &[(Metric, f64)]) -> BTreeMap<Metric, f64> {
    let mut all: BTreeMap<_, Vec<f64>> = BTreeMap::new();
    for &(metric, value) in values {
        all.entry(metric).or_default().push(value);
    }
    all.into_iter()
        .map(|(metric, values)| (metric, median(&values)))
        .collect()
}

/// Whether the last few values are like those before them.
fn settled(values: &[f64]) -> bool {
    let Some(start) = values.len().checked_sub(2 * SETTLING) else {
        return false;
    };
    let (before, last) = values[start..].split_at(SETTLING);
    let (before, last) = (median(before), median(last));
    (last - before).abs() <= SETTLED * before.abs()
}

/// Wall and processor time since a moment.
#[derive(Debug)]
pub struct Meter {
    began: Instant,
    used: Duration,
}

impl Meter {
    /// From now on.
    pub fn start() -> Self {
        Self {
            began: Instant::now(),
            used: processor_time(),
        }
    }

    /// Seconds of time, and seconds of processor time of all threads, kernel included.
    pub fn read(&self) -> (f64, f64) {
        let used = processor_time().saturating_sub(self.used);
        (self.began.elapsed().as_secs_f64(), used.as_secs_f64())
    }
}

/// User and system time of this process.
pub(crate) fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_settle_when_they_stop_drifting() {
        assert!(!settled(&[1.0; 5]));
        assert!(settled(&[9.0, 1.0, 1.0, 1.05, 1.0, 1.0, 0.95]));
        assert!(!settled(&[3.0, 2.9, 2.8, 2.0, 2.0, 2.0]));
    }
}
