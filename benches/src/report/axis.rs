//! Axes: where a value is put, and which values have a tick.

use crate::words::short;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use std::ops::Range;

/// More ticks than this are too many for one axis.
const MOST_TICKS: usize = 9;

/// Mantissas of the ticks of a logarithmic axis, from many to few.
const MANTISSAS: [&[f64]; 5] = [
    &[
        1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0,
    ],
    &[1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.0],
    &[1.0, 1.5, 2.0, 3.0, 5.0, 7.0],
    &[1.0, 2.0, 5.0],
    &[1.0],
];

/// One axis of a plot.
#[derive(Debug, Clone)]
pub(super) struct Axis {
    title: String,
    log: bool,
    low: f64,
    high: f64,
    ticks: Vec<f64>,
}

impl Axis {
    /// From zero to a little more than the largest value; `None` if there is none.
    pub(super) fn linear(title: impl Into<String>, values: impl Iterator<Item = f64>) -> Option<Self> {
        let largest = values.filter(|v| v.is_finite() && *v > 0.0).reduce(f64::max)?;
        let high = largest * 1.04;
        let decade = 10_f64.powf((high / 6.0).log10().floor());
        let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * decade);
        let step = steps.into_iter().find(|step| high / step <= 6.0)?;
        let ticks = (0..10).map(|n| f64::from(n) * step);
        Some(Self {
            title: title.into(),
            log: false,
            low: 0.0,
            high,
            ticks: ticks.take_while(|v| *v <= high).collect(),
        })
    }

    /// Around all values that have a logarithm; `None` if there is none.
    pub(super) fn log(title: impl Into<String>, values: impl Iterator<Item = f64>) -> Option<Self> {
        let values = values.filter(|v| v.is_finite() && *v > 0.0);
        let (low, high) = values.fold((f64::INFINITY, 0.0_f64), |(low, high), v| {
            (low.min(v), high.max(v))
        });
        if high == 0.0 {
            return None;
        }
        // Room at both ends, and more where the values are all about the same.
        let room = (high / low).powf(0.05).max(1.08);
        let (low, high) = (low / room, high * room);
        let decades = low.log10().floor() as i32..=high.log10().floor() as i32;
        let ticks = |mantissas: &[f64]| -> Vec<f64> {
            let all = decades
                .clone()
                .flat_map(|decade| mantissas.iter().map(move |m| m * 10_f64.powi(decade)));
            all.filter(|v| (low..=high).contains(v)).collect()
        };
        let ticks = MANTISSAS.into_iter().map(ticks);
        let ticks = ticks.reduce(|many, fewer| if many.len() > MOST_TICKS { fewer } else { many })?;
        Some(Self {
            title: title.into(),
            log: true,
            low,
            high,
            ticks,
        })
    }

    /// The same with ticks at these values only.
    pub(super) fn with_ticks(mut self, mut ticks: Vec<f64>) -> Self {
        ticks.sort_by(f64::total_cmp);
        ticks.dedup();
        self.ticks = ticks;
        self
    }

    /// What it shows, with the unit.
    pub(super) fn title(&self) -> &str {
        &self.title
    }

    /// Whether a value can be put on it.
    pub(super) fn holds(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }

    /// What is outside is put at the end.
    fn place(&self, value: f64) -> f64 {
        let scale = |value: f64| if self.log { value.log10() } else { value };
        let [low, high, value] = [self.low, self.high, value.clamp(self.low, self.high)].map(scale);
        (value - low) / (high - low)
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        from + (self.place(*value) * f64::from(to - from)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() {
            Vec::new()
        } else {
            self.ticks.clone()
        }
    }

    fn range(&self) -> Range<f64> {
        self.low..self.high
    }
}

impl ValueFormatter<f64> for Axis {
    /// A short number without zeros at its end.
    fn format_ext(&self, value: &f64) -> String {
        let text = short(*value);
        match text.split_once('.') {
            Some((whole, digits)) if digits.trim_end_matches('0').is_empty() => whole.to_owned(),
            Some(_) => text.trim_end_matches('0').to_owned(),
            None => text,
        }
    }
}
