//! Medians, percentiles that the sample can carry, and intervals by bootstrap over blocks.

use fastrand::Rng;
use serde::{Deserialize, Serialize};

/// How often blocks are drawn anew for an interval.
const RESAMPLES: usize = 1_000;

/// The value in the middle, or the mean of the two there.
///
/// # Panics
///
/// If there is none.
pub fn median(values: &[f64]) -> f64 {
    let sorted = sorted(values);
    let n = sorted.len();
    f64::midpoint(sorted[(n - 1) / 2], sorted[n / 2])
}

/// The smallest value that `fraction` of the values do not exceed; `None` if fewer than ten values lie above it,
/// for then the next run will say something else.
pub fn percentile(values: &[f64], fraction: f64) -> Option<f64> {
    let n = values.len() as f64;
    (fraction <= 1.0 - 10.0 / n).then(|| sorted(values)[(n * fraction).ceil() as usize - 1])
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// A value and the interval that holds it in 95 of 100 runs such as this one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The value.
    pub value: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl Estimate {
    /// Whether the interval has `value` inside.
    pub fn contains(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }

    /// The same with both ends further out by a factor.
    #[must_use]
    pub fn widened(self, factor: f64) -> Self {
        Self {
            low: self.low / factor,
            high: self.high * factor,
            ..self
        }
    }
}

/// The median of the blocks' medians. A block without values says nothing.
pub fn level(blocks: &[Vec<f64>]) -> Option<Estimate> {
    let medians = medians(blocks);
    let value = (!medians.is_empty()).then(|| median(&medians))?;
    let mut rng = seeded();
    let (low, high) = interval(|| median(&draw(&mut rng, &medians)));
    Some(Estimate { value, low, high })
}

/// How many times as large `a` is as `b`, of blocks that were measured together: in each, both had the same moment of
/// the machine. The median of the blocks' ratios.
pub fn paired_ratio(a: &[Vec<f64>], b: &[Vec<f64>]) -> Option<Estimate> {
    let both = a.iter().zip(b).filter(|(a, b)| !a.is_empty() && !b.is_empty());
    let ratios: Vec<f64> = both
        .map(|(a, b)| median(a) / median(b))
        .filter(|r| r.is_finite())
        .collect();
    let value = (!ratios.is_empty()).then(|| median(&ratios))?;
    let mut rng = seeded();
    let (low, high) = interval(|| median(&draw(&mut rng, &ratios)));
    Some(Estimate { value, low, high })
}

/// How many times as large `a` is as `b`, of blocks of two runs.
pub fn ratio(a: &[Vec<f64>], b: &[Vec<f64>]) -> Option<Estimate> {
    let (a, b) = (medians(a), medians(b));
    if a.is_empty() || b.is_empty() {
        return None;
    }
    let value = median(&a) / median(&b);
    let mut rng = seeded();
    let (low, high) = interval(|| median(&draw(&mut rng, &a)) / median(&draw(&mut rng, &b)));
    value.is_finite().then_some(Estimate { value, low, high })
}

fn medians(blocks: &[Vec<f64>]) -> Vec<f64> {
    blocks
        .iter()
        .filter(|b| !b.is_empty())
        .map(|b| median(b))
        .collect()
}

/// As many of the values as there are, each drawn from all of them.
fn draw(rng: &mut Rng, values: &[f64]) -> Vec<f64> {
    (0..values.len())
        .map(|_| values[rng.usize(..values.len())])
        .collect()
}

/// The middle 95 % of what `resample` says.
fn interval(mut resample: impl FnMut() -> f64) -> (f64, f64) {
    let all = sorted(&(0..RESAMPLES).map(|_| resample()).collect::<Vec<_>>());
    (all[RESAMPLES / 40], all[RESAMPLES - 1 - RESAMPLES / 40])
}

/// The same results give the same report.
fn seeded() -> Rng {
    Rng::with_seed(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_needs_ten_values_above_it() {
        let values: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!(percentile(&values, 0.95), Some(190.0));
        assert_eq!(percentile(&values[1..], 0.95), None);
        assert_eq!(percentile(&values, 0.99), None);
        assert!((median(&values) - 100.5).abs() < f64::EPSILON);
    }

    #[test]
    fn ratios_of_blocks_cancel_what_both_had() {
        let mut rng = Rng::with_seed(7);
        let (mut a, mut b) = (Vec::new(), Vec::new());
        for block in 0..20 {
            // The machine becomes slower and slower.
            let machine = 1.0 + f64::from(block) / 5.0;
            let mut sample = |level: f64| -> Vec<f64> {
                (0..10)
                    .map(|_| machine * level * (0.95 + 0.1 * rng.f64()))
                    .collect()
            };
            a.push(sample(3.0));
            b.push(sample(2.0));
        }
        let paired = paired_ratio(&a, &b).unwrap();
        assert!(
            paired.contains(1.5) && paired.high - paired.low < 0.1,
            "{paired:?}"
        );
        let unpaired = ratio(&a, &b).unwrap();
        assert!(
            unpaired.contains(1.5) && unpaired.high - unpaired.low > 0.3,
            "{unpaired:?}"
        );
    }

    #[test]
    fn an_interval_holds_the_truth_about_as_often_as_it_says() {
        let mut rng = Rng::with_seed(3);
        let mut held = 0;
        for _ in 0..200 {
            let mut block = || vec![1.0 + 0.1 * (rng.f64() + rng.f64() - 1.0)];
            let (a, b): (Vec<_>, Vec<_>) = (0..20).map(|_| (block(), block())).unzip();
            held += u32::from(paired_ratio(&a, &b).unwrap().contains(1.0));
        }
        assert!((180..=200).contains(&held), "{held} of 200");
    }
}
