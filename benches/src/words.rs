//! Verdicts in words, only where a difference is clear of the noise.

use crate::{
    metric::Metric,
    scenario::handshake::Phase,
    summary::{ArmSummary, RowSummary, Summary, Verdict},
    work::{Arm, Work},
};

/// What can be said, a sentence each.
pub fn verdicts(summary: &Summary) -> Vec<String> {
    summary.rows.iter().flat_map(row).collect()
}

/// What a row says: its first arm against each of the others.
pub(crate) fn row(row: &RowSummary) -> Vec<String> {
    let Some((reference, others)) = row.arms.split_first() else {
        return Vec::new();
    };
    let others = others
        .iter()
        .filter(|arm| !matches!(arm.arm, Arm::Again(..) | Arm::Floor { .. }));
    others
        .filter_map(|other| sentence(row.work, reference, other))
        .collect()
}

/// `b` against `a`, if that is clear. The better one is named first.
fn sentence(work: Work, a: &ArmSummary, b: &ArmSummary) -> Option<String> {
    let metric = work.headline();
    let (number_a, number_b) = (a.cells.get(&metric)?, b.cells.get(&metric)?);
    let (good, bad, numbers) = match number_b.verdict {
        Verdict::Unclear => return None,
        Verdict::Better => (b, a, [number_b, number_a]),
        Verdict::Worse => (a, b, [number_a, number_b]),
    };
    let [first, second] = numbers.map(|cell| cell.level.value);
    let ratio = number_b.ratio?;
    // Said as a number above 1, whichever way round it was measured.
    let turn = |ratio: f64| if ratio < 1.0 { 1.0 / ratio } else { ratio };
    let (one, other) = (turn(ratio.low), turn(ratio.high));
    let times = format!(
        "{} × ({} to {})",
        short(turn(ratio.value)),
        short(one.min(other)),
        short(one.max(other))
    );
    let what = match metric {
        Metric::Total => format!("opens the channel {times} as fast as"),
        Metric::RoundTrip => format!("answers {times} as fast as"),
        Metric::Recovery => format!("recovers {times} as fast as"),
        Metric::MemoryPerPair => format!("takes {times} less memory than"),
        Metric::Cpu => format!("takes {times} less processor time than"),
        rate => format!("has {times} the {} of", rate.title()),
    };
    let reason = reason(good, bad)
        .map(|reason| format!(", {reason}"))
        .unwrap_or_default();
    Some(format!(
        "{work}: {} {what} {}: {} against {} {}{reason}.",
        good.arm,
        bad.arm,
        short(first),
        short(second),
        metric.unit()
    ))
}

/// The phase that makes most of the difference between two handshakes.
pub(crate) fn phase(
    good: impl Fn(Metric) -> Option<f64>,
    bad: impl Fn(Metric) -> Option<f64>,
) -> Option<(Phase, f64)> {
    let differences = Phase::ALL.into_iter().filter_map(|phase| {
        let difference = bad(phase.metric())? - good(phase.metric())?;
        Some((phase, difference))
    });
    differences.max_by(|a, b| a.1.total_cmp(&b.1))
}

fn reason(good: &ArmSummary, bad: &ArmSummary) -> Option<String> {
    let level = |arm: &ArmSummary, metric| arm.cells.get(&metric).map(|cell| cell.level.value);
    let (phase, difference) = phase(|metric| level(good, metric), |metric| level(bad, metric))?;
    let all = level(bad, Metric::Total)? - level(good, Metric::Total)?;
    let title = phase.metric().title();
    Some(format!(
        "most of it in {title} ({} of {} ms)",
        short(difference),
        short(all)
    ))
}

/// Three significant digits, and no more decimals than that.
pub fn short(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let digits = 2 - value.abs().log10().floor() as i32;
    if digits > 0 {
        return format!("{value:.*}", digits.min(6) as usize);
    }
    let whole = format!("{value:.0}");
    let (sign, digits) = whole
        .strip_prefix('-')
        .map_or(("", &*whole), |digits| ("-", digits));
    let groups: Vec<&str> = {
        let first = digits.len() % 3;
        let (head, tail) = digits.split_at(first);
        let mut groups = if head.is_empty() { Vec::new() } else { vec![head] };
        groups.extend((0..tail.len() / 3).map(|n| &tail[3 * n..3 * n + 3]));
        groups
    };
    format!("{sign}{}", groups.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (value, text) in [
            (0.0, "0"),
            (0.012_34, "0.0123"),
            (1.234_5, "1.23"),
            (12.34, "12.3"),
            (999.6, "1,000"),
            (123_456.7, "123,457"),
            (-1_234.0, "-1,234"),
        ] {
            assert_eq!(short(value), text);
        }
    }
}
