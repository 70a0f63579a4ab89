//! From every value to what can be said: levels, ratios, and verdicts where the difference is clear of the noise.

use crate::{
    metric::{Better, Metric},
    results::{ArmResult, RowResult, Run},
    stats::{self, Estimate},
    tap::Negotiated,
    work::{Arm, Scenario, Work},
};
use serde::Serialize;
use std::collections::BTreeMap;

/// No difference smaller than this factor is called one, however quiet the machine.
const LEAST_NOISE: f64 = 1.02;

/// With fewer blocks than this there is no interval worth the name.
const LEAST_BLOCKS: usize = 3;

/// More of the machine than this taken by a hypervisor, or by other programs, makes a run unreliable.
const MOST_STEAL: f64 = 0.02;
const MOST_OTHERS: f64 = 0.1;

/// What a run says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Why its figures should not be relied on. Empty: they can be.
    pub doubts: Vec<String>,
    /// Row by row.
    pub rows: Vec<RowSummary>,
}

/// What a row says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RowSummary {
    /// The group it is shown in.
    pub scenario: Scenario,
    /// What was measured.
    pub work: Work,
    /// The factor within which the same pair differs from itself, by metric: the width of the A/A run.
    pub noise: BTreeMap<Metric, f64>,
    /// Arm by arm; the first is the one that the others are compared with.
    pub arms: Vec<ArmSummary>,
}

/// What an arm's results say.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ArmSummary {
    /// The arm.
    pub arm: Arm,
    /// How many of its calls or batches failed, and why the first one did.
    pub failures: usize,
    /// Why the first one did.
    pub failure: Option<String>,
    /// What the peers agreed on.
    pub negotiated: Option<Negotiated>,
    /// Its numbers.
    pub cells: BTreeMap<Metric, Cell>,
    /// A metric against what the work varies, the points of all blocks.
    pub curves: BTreeMap<Metric, Vec<(f64, f64)>>,
}

/// One number of one arm.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cell {
    /// How many values there are.
    pub n: usize,
    /// The median of the blocks' medians.
    pub level: Estimate,
    /// The 95th percentile of all values, if the sample carries it.
    pub p95: Option<f64>,
    /// The 99th.
    pub p99: Option<f64>,
    /// The median of the first of each process, before any warm-up.
    pub first: Option<f64>,
    /// How many times the first arm's number it is. The interval is widened by the noise.
    pub ratio: Option<Estimate>,
    /// Whether it differs from the first arm's.
    pub verdict: Verdict,
}

/// Whether a number differs from what it is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Better, clear of the noise.
    Better,
    /// Worse, clear of the noise.
    Worse,
    /// The noise could be all of it.
    Unclear,
}

impl Verdict {
    /// What an interval, widened by the noise, says about a metric.
    pub(crate) fn of(metric: Metric, ratio: Estimate) -> Self {
        let smaller = ratio.high < 1.0;
        let larger = ratio.low > 1.0;
        match metric.better() {
            Better::Less if smaller => Self::Better,
            Better::Less if larger => Self::Worse,
            Better::More if larger => Self::Better,
            Better::More if smaller => Self::Worse,
            _ => Self::Unclear,
        }
    }
}

impl Work {
    /// The number that it is done for.
    pub fn headline(self) -> Metric {
        match self {
            Self::Handshake { .. } => Metric::Total,
            Self::Frames { .. } | Self::Codecs { .. } => Metric::FramesPerSecond,
            Self::OpenLoop { .. } => Metric::HighestLoad,
            Self::Messages { size } if size >= 1024 => Metric::Throughput,
            Self::Messages { .. } => Metric::MessagesPerSecond,
            Self::RoundTrips { .. } => Metric::RoundTrip,
            Self::StalledReader { .. } => Metric::Recovery,
            Self::Peers {
                active: false,
                disconnected_after: None,
                ..
            } => Metric::MemoryPerPair,
            Self::Peers { .. } | Self::Forward { .. } => Metric::Cpu,
        }
    }
}

impl Summary {
    /// What `run` says.
    pub fn of(run: &Run) -> Self {
        Self {
            doubts: doubts(run),
            rows: run.rows.iter().map(RowSummary::of).collect(),
        }
    }
}

impl RowSummary {
    fn of(row: &RowResult) -> Self {
        let noise = noise(row);
        let reference = row.arms.first();
        let arms = row
            .arms
            .iter()
            .map(|arm| ArmSummary::of(arm, reference, &noise))
            .collect();
        Self {
            scenario: row.scenario,
            work: row.work,
            noise,
            arms,
        }
    }

    /// By what the rows of two runs are known to be the same.
    pub fn key(&self) -> (Scenario, Work, Option<&Arm>) {
        (self.scenario, self.work, self.arms.first().map(|arm| &arm.arm))
    }

    /// The summary of an arm.
    pub fn arm(&self, arm: &Arm) -> Option<&ArmSummary> {
        self.arms.iter().find(|summary| summary.arm == *arm)
    }
}

impl ArmSummary {
    fn of(arm: &ArmResult, reference: Option<&ArmResult>, noise: &BTreeMap<Metric, f64>) -> Self {
        let mut curves: BTreeMap<Metric, Vec<(f64, f64)>> = BTreeMap::new();
        for (metric, points) in arm.visits.iter().flat_map(|visit| &visit.curves) {
            curves.entry(*metric).or_default().extend(points);
        }
        let reference = reference.filter(|reference| reference.arm != arm.arm);
        let metrics: std::collections::BTreeSet<Metric> = arm
            .visits
            .iter()
            .flat_map(|visit| visit.values.keys().copied())
            .collect();
        let cells = metrics.into_iter().filter_map(|metric| {
            let cell = Cell::of(metric, arm, reference, noise.get(&metric).copied())?;
            Some((metric, cell))
        });
        let mut failed = arm.visits.iter().flat_map(|visit| &visit.failures);
        Self {
            arm: arm.arm.clone(),
            failures: arm.failures(),
            failure: failed.next().cloned(),
            negotiated: arm.visits.iter().find_map(|visit| visit.negotiated.clone()),
            cells: cells.collect(),
            curves,
        }
    }
}

impl Cell {
    fn of(
        metric: Metric,
        arm: &ArmResult,
        reference: Option<&ArmResult>,
        noise: Option<f64>,
    ) -> Option<Self> {
        let blocks = arm.blocks(metric);
        let values: Vec<f64> = blocks.iter().flatten().copied().collect();
        let first: Vec<f64> = arm
            .visits
            .iter()
            .filter_map(|visit| visit.first.get(&metric).copied())
            .collect();
        let ratio = reference.and_then(|reference| stats::paired_ratio(&blocks, &reference.blocks(metric)));
        // Without an A/A run there is a ratio, but nothing is said about it.
        let ratio = ratio.map(|ratio| ratio.widened(noise.unwrap_or(1.0)));
        let verdict = match (ratio, noise) {
            (Some(ratio), Some(_)) => Verdict::of(metric, ratio),
            _ => Verdict::Unclear,
        };
        Some(Self {
            n: values.len(),
            level: stats::level(&blocks)?,
            p95: stats::percentile(&values, 0.95),
            p99: stats::percentile(&values, 0.99),
            first: (!first.is_empty()).then(|| stats::median(&first)),
            ratio,
            verdict,
        })
    }
}

/// The factor within which a pair differs from itself, by metric.
pub(crate) fn noise(row: &RowResult) -> BTreeMap<Metric, f64> {
    let again = row.arms.iter().find(|arm| matches!(arm.arm, Arm::Again(..)));
    let Some((again, Arm::Again(offerer, answerer))) = again.map(|again| (again, &again.arm)) else {
        return BTreeMap::new();
    };
    let Some(pair) = row.arm(&Arm::Pair(offerer.clone(), answerer.clone())) else {
        return BTreeMap::new();
    };
    let metrics = again.visits.iter().flat_map(|visit| visit.values.keys().copied());
    let metrics: std::collections::BTreeSet<Metric> = metrics.collect();
    let band = |metric| {
        let (again, pair) = (again.blocks(metric), pair.blocks(metric));
        let enough = again.iter().filter(|block| !block.is_empty()).count() >= LEAST_BLOCKS;
        let ratio = enough.then(|| stats::paired_ratio(&again, &pair)).flatten()?;
        Some(ratio.high.max(1.0 / ratio.low).max(LEAST_NOISE))
    };
    metrics
        .into_iter()
        .filter_map(|metric| Some((metric, band(metric)?)))
        .collect()
}

/// Why a run's figures should not be relied on.
fn doubts(run: &Run) -> Vec<String> {
    let mut doubts = Vec::new();
    let percent = |part: f64| format!("{:.1} %", part * 100.0);
    if run.load.steal > MOST_STEAL {
        doubts.push(format!(
            "{} of the machine was taken by its hypervisor",
            percent(run.load.steal)
        ));
    }
    if run.load.others > MOST_OTHERS {
        doubts.push(format!(
            "other programs used {} of the machine",
            percent(run.load.others)
        ));
    }
    if run.environment.build != "release" {
        doubts.push(format!(
            "this is a {} build; measure with --release",
            run.environment.build
        ));
    }
    if run.interrupted {
        doubts.push("it was ended early".to_owned());
    }
    if !run.plan.handicaps.is_empty() {
        doubts.push(format!("faults were put in on purpose: {:?}", run.plan.handicaps));
    }
    doubts.extend(run.rows.iter().filter_map(drift));
    doubts
}

/// The arm of a row whose headline number was another in the second half of the run.
fn drift(row: &RowResult) -> Option<String> {
    let metric = row.work.headline();
    let noise = *noise(row).get(&metric)?;
    row.arms.iter().find_map(|arm| {
        let blocks = arm.blocks(metric);
        let (early, late) = blocks.split_at(blocks.len() / 2);
        if early.len() < LEAST_BLOCKS {
            return None;
        }
        let ratio = stats::ratio(late, early)?.widened(noise);
        let drifted = Verdict::of(metric, ratio) != Verdict::Unclear;
        drifted.then(|| {
            format!(
                "{} of {} drifted: × {:.2} from the first to the second half ({})",
                metric.title(),
                arm.arm,
                ratio.value,
                row.work
            )
        })
    })
}
