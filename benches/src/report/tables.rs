//! The tables of a report.

use crate::{
    compare::Comparison,
    metric::{Better, Metric},
    scenario::handshake::Phase,
    stats::Estimate,
    summary::{ArmSummary, Cell, RowSummary, Summary, Verdict},
    tap::Negotiated,
    words::short,
    work::{Arm, Work},
};
use std::collections::BTreeSet;

/// A table.
#[derive(Debug)]
pub(super) struct Table {
    /// What it shows.
    pub(super) caption: String,
    /// The columns' names, with their units.
    pub(super) header: Vec<String>,
    /// Line by line, as many fields as the header has.
    pub(super) lines: Vec<Vec<Field>>,
}

/// What is in a field of a table.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Field {
    /// Nothing.
    Nothing,
    /// Words.
    Text(String),
    /// A number.
    Number(String),
    /// A number, and the interval around it.
    Estimate(String, String),
    /// How many times another number it is, the interval around that, which may be empty, and what it says.
    Ratio(String, String, Verdict),
}

impl Table {
    /// Whether a column has words in it, which stand at the left.
    pub(super) fn has_words(&self, column: usize) -> bool {
        let mut fields = self.lines.iter().filter_map(|line| line.get(column));
        fields.any(|field| matches!(field, Field::Text(_)))
    }
}

/// The tables of a row: its headline number and the others, and of a handshake the phases.
pub(super) fn row(row: &RowSummary) -> Vec<Table> {
    let headline = row.work.headline();
    let phases = Phase::ALL.map(Phase::metric);
    let all: BTreeSet<Metric> = row
        .arms
        .iter()
        .flat_map(|arm| arm.cells.keys().copied())
        .collect();
    if all.is_empty() {
        return Vec::new();
    }
    let others: Vec<Metric> = all
        .iter()
        .copied()
        .filter(|metric| *metric != headline && !phases.contains(metric))
        .collect();
    let mut tables = vec![numbers(row, headline, &others)];
    let phases: Vec<Metric> = phases.into_iter().filter(|phase| all.contains(phase)).collect();
    if !phases.is_empty() {
        let lines = row.arms.iter().map(|arm| {
            let cells = phases.iter().map(|phase| level(arm, *phase));
            std::iter::once(name(&arm.arm)).chain(cells).collect()
        });
        tables.push(Table {
            caption: format!("Phases of the {}", row.work),
            header: std::iter::once("arm".to_owned())
                .chain(phases.iter().map(|phase| titled(*phase)))
                .collect(),
            lines: lines.collect(),
        });
    }
    tables
}

/// The headline numbers of the pairs, each as its ratio to the first one; `None` if there is but one pair.
pub(super) fn overview(summary: &Summary) -> Option<Table> {
    let rows = || {
        summary
            .rows
            .iter()
            .filter(|row| row.arms.first().is_some_and(|arm| is_pair(&arm.arm)))
    };
    let first = &rows().next()?.arms.first()?.arm;
    let mut pairs: Vec<&Arm> = Vec::new();
    for arm in rows()
        .flat_map(|row| &row.arms)
        .map(|arm| &arm.arm)
        .filter(|arm| is_pair(arm))
    {
        if arm != first && !pairs.contains(&arm) {
            pairs.push(arm);
        }
    }
    let lines = rows().filter(|row| row.arms[0].arm == *first).map(|row| {
        let metric = row.work.headline();
        let better = match metric.better() {
            Better::Less => "less",
            Better::More => "more",
        };
        let ratios = pairs.iter().map(|pair| {
            let cell = row.arm(pair).and_then(|arm| arm.cells.get(&metric));
            let with_ratio = cell.and_then(|cell| Some((cell.ratio?, cell.verdict)));
            with_ratio.map_or(Field::Nothing, |(value, verdict)| {
                Field::Ratio(format!("× {}", times(value.value)), String::new(), verdict)
            })
        });
        let words = [row.work.to_string(), metric.title().to_owned(), better.to_owned()];
        words.map(Field::Text).into_iter().chain(ratios).collect()
    });
    let words = ["work", "number", "better"].map(str::to_owned);
    let names = pairs.iter().map(ToString::to_string);
    (!pairs.is_empty()).then(|| Table {
        caption: format!("Each pair's number as a multiple of that of {first}"),
        header: words.into_iter().chain(names).collect(),
        lines: lines.collect(),
    })
}

/// What the peers agreed on; `None` if it was not read.
pub(super) fn negotiated(summary: &Summary) -> Option<Table> {
    let mut pairs: Vec<(&Arm, &Negotiated)> = Vec::new();
    let arms = summary.rows.iter().flat_map(|row| &row.arms);
    for arm in arms.filter(|arm| is_pair(&arm.arm)) {
        if let Some(negotiated) = &arm.negotiated
            && pairs.iter().all(|(pair, _)| **pair != arm.arm)
        {
            pairs.push((&arm.arm, negotiated));
        }
    }
    let or = |text: &Option<String>| text.clone().map_or(Field::Nothing, Field::Text);
    let lines = pairs.into_iter().map(|(arm, negotiated)| {
        let feedback = negotiated.feedback.join(", ");
        vec![
            name(arm),
            or(&negotiated.dtls),
            or(&negotiated.cipher_suite),
            or(&negotiated.key_exchange),
            or(&negotiated.srtp_profile),
            Field::Text(if negotiated.cookie { "yes" } else { "no" }.to_owned()),
            if feedback.is_empty() {
                Field::Nothing
            } else {
                Field::Text(feedback)
            },
            count(negotiated.datagrams as usize),
        ]
    });
    let lines: Vec<_> = lines.collect();
    let header = [
        "pair",
        "DTLS",
        "cipher suite",
        "key exchange",
        "SRTP profile",
        "cookie",
        "feedback for video",
        "datagrams",
    ];
    (!lines.is_empty()).then(|| Table {
        caption: "Read off the wire; datagrams are what the offerer sent until the channel was open"
            .to_owned(),
        header: header.map(str::to_owned).into(),
        lines,
    })
}

/// What has changed: the headline numbers, and all that is clear of the noise.
pub(super) fn changes(comparison: &Comparison) -> Table {
    let shown = comparison
        .changes
        .iter()
        .filter(|change| change.metric == change.work.headline() || change.verdict != Verdict::Unclear);
    let lines = shown.map(|change| {
        vec![
            Field::Text(change.work.to_string()),
            name(&change.arm),
            Field::Text(titled(change.metric)),
            estimate(change.before),
            estimate(change.now),
            ratio(change.ratio, change.verdict),
        ]
    });
    let header = ["work", "arm", "number", "before", "now", "ratio"];
    Table {
        caption: "Headline numbers, and all others that have changed".to_owned(),
        header: header.map(str::to_owned).into(),
        lines: lines.collect(),
    }
}

fn is_pair(arm: &Arm) -> bool {
    matches!(arm, Arm::Pair(..))
}

fn numbers(row: &RowSummary, headline: Metric, others: &[Metric]) -> Table {
    let cells = |arm: &ArmSummary| arm.cells.get(&headline).cloned();
    let percentiles = row
        .arms
        .iter()
        .filter_map(cells)
        .any(|cell| cell.p95.or(cell.p99).is_some())
        || matches!(row.work, Work::Handshake { .. } | Work::RoundTrips { .. });
    let first = row.arms.iter().filter_map(cells).any(|cell| cell.first.is_some());
    let compared = row.arms.len() > 1;
    let unit = with_unit("", headline);
    let mut header = vec!["arm".to_owned(), titled(headline)];
    if percentiles {
        header.extend(["p95", "p99"].map(|name| format!("{name}{unit}")));
    }
    header.extend(["n", "failures"].map(str::to_owned));
    if compared {
        header.push(format!("ratio to {}", row.arms[0].arm));
    }
    header.extend(others.iter().map(|metric| titled(*metric)));
    if first {
        header.push(format!("first of a process{unit}"));
    }
    let number = |value: Option<f64>| value.map_or(Field::Nothing, |value| Field::Number(short(value)));
    let lines = row.arms.iter().map(|arm| {
        let cell = arm.cells.get(&headline);
        let mut line = vec![name(&arm.arm), level(arm, headline)];
        if percentiles {
            line.push(number(cell.and_then(|cell| cell.p95)));
            line.push(number(cell.and_then(|cell| cell.p99)));
        }
        line.push(count(cell.map_or(0, |cell| cell.n)));
        line.push(count(arm.failures));
        if compared {
            // That a floor is lower is no merit.
            let floor = matches!(arm.arm, Arm::Floor { .. });
            let verdict = |cell: &Cell| if floor { Verdict::Unclear } else { cell.verdict };
            let with_ratio = cell.and_then(|cell| Some((cell.ratio?, verdict(cell))));
            line.push(with_ratio.map_or(Field::Nothing, |(value, verdict)| ratio(value, verdict)));
        }
        line.extend(others.iter().map(|metric| level(arm, *metric)));
        if first {
            line.push(number(cell.and_then(|cell| cell.first)));
        }
        line
    });
    Table {
        caption: row.work.to_string(),
        header,
        lines: lines.collect(),
    }
}

/// A metric's name, with its unit.
pub(super) fn titled(metric: Metric) -> String {
    with_unit(metric.title(), metric)
}

fn with_unit(name: &str, metric: Metric) -> String {
    match metric.unit() {
        "" => name.to_owned(),
        unit => format!("{name}, {unit}"),
    }
}

fn name(arm: &Arm) -> Field {
    Field::Text(arm.to_string())
}

/// A number without decimals, but with the groups of a short one.
fn count(n: usize) -> Field {
    Field::Number(if n < 100 { n.to_string() } else { short(n as f64) })
}

fn level(arm: &ArmSummary, metric: Metric) -> Field {
    arm.cells
        .get(&metric)
        .map_or(Field::Nothing, |cell| estimate(cell.level))
}

fn estimate(estimate: Estimate) -> Field {
    let Estimate { value, low, high } = estimate;
    Field::Estimate(short(value), format!("[{}–{}]", short(low), short(high)))
}

fn ratio(ratio: Estimate, verdict: Verdict) -> Field {
    let Estimate { value, low, high } = ratio;
    Field::Ratio(
        format!("× {}", times(value)),
        format!("[{}–{}]", times(low), times(high)),
        verdict,
    )
}

/// A ratio with two decimals, or three where it is small.
pub(super) fn times(ratio: f64) -> String {
    match ratio {
        0.1..100.0 => format!("{ratio:.2}"),
        0.001..0.1 => format!("{ratio:.3}"),
        _ => short(ratio),
    }
}
