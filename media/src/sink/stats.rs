//! Distributions in fixed memory.

use serde::Serialize;

/// A distribution, in the unit that its field's name says.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Summary {
    /// How many values.
    pub count: u64,
    /// The smallest.
    pub min: f64,
    /// The mean.
    pub mean: f64,
    /// Half are below it; to the step of the histogram.
    pub median: f64,
    /// 95 % are below it; to the step of the histogram.
    pub p95: f64,
    /// The largest.
    pub max: f64,
}

impl Summary {
    /// Every value less by `offset`.
    pub(crate) fn minus(self, offset: f64) -> Self {
        Self {
            count: self.count,
            min: self.min - offset,
            mean: self.mean - offset,
            median: self.median - offset,
            p95: self.p95 - offset,
            max: self.max - offset,
        }
    }
}

/// Counts values in steps of equal width, so that an hour takes no more memory than a second.
#[derive(Debug, Clone)]
pub(crate) struct Histogram {
    low: f64,
    step: f64,
    counts: Vec<u64>,
    count: u64,
    sum: f64,
    min: f64,
    max: f64,
}

impl Histogram {
    /// `steps` of `step` from `low`; what lies outside counts in the first or last.
    pub(crate) fn new(low: f64, step: f64, steps: usize) -> Self {
        Self {
            low,
            step,
            counts: vec![0; steps],
            count: 0,
            sum: 0.0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
        }
    }

    pub(crate) fn add(&mut self, value: f64) {
        let index = (((value - self.low) / self.step) as usize).min(self.counts.len() - 1);
        self.counts[index] += 1;
        self.count += 1;
        self.sum += value;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }

    /// `None` without values.
    pub(crate) fn summary(&self) -> Option<Summary> {
        (self.count > 0).then(|| Summary {
            count: self.count,
            min: self.min,
            mean: self.sum / self.count as f64,
            median: self.quantile(0.5),
            p95: self.quantile(0.95),
            max: self.max,
        })
    }

    /// The middle of the step in which the share `share` of the values is reached.
    fn quantile(&self, share: f64) -> f64 {
        let rank = ((self.count as f64 * share).ceil() as u64).max(1);
        let mut below = 0;
        let found = self.counts.iter().position(|count| {
            below += count;
            below >= rank
        });
        let middle = self.low + (found.unwrap_or(0) as f64 + 0.5) * self.step;
        middle.clamp(self.min, self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_right_to_a_step() {
        let mut histogram = Histogram::new(0.0, 1.0, 100);
        assert_eq!(histogram.summary(), None);
        for value in 0..1_000 {
            histogram.add(f64::from(value) / 10.0);
        }
        histogram.add(-5.0);
        histogram.add(1e9);
        let summary = histogram.summary().unwrap();
        assert!(
            (summary.median - 50.0).abs() <= 1.0 && (summary.p95 - 95.0).abs() <= 1.0,
            "{summary:?}"
        );
        assert_eq!((summary.count, summary.min, summary.max), (1_002, -5.0, 1e9));
    }
}
