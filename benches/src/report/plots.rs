//! Which plots a run has, and what is in them.

use super::{
    axis::Axis,
    bars,
    canvas::Picture,
    chart::{Chart, Line, Point},
    forest,
    inks::Series,
};
use crate::{
    metric::Metric,
    results::{RowResult, Run},
    scenario::handshake::Phase,
    summary::{ArmSummary, RowSummary, Summary},
    work::{Arm, Network, Scenario, Work},
};

/// A plot in its place.
#[derive(Debug)]
pub(super) struct Figure {
    /// Its name, unique in a report.
    pub(super) name: String,
    /// The scenario that it belongs to.
    pub(super) scenario: Scenario,
    /// What it shows.
    pub(super) title: String,
    /// How it is read.
    pub(super) caption: String,
    /// The plot.
    pub(super) picture: Picture,
}

/// Every plot of a run as a file of its own: a name without an ending, and the SVG, which follows the reader's choice
/// of light or dark.
pub fn svgs(run: &Run, summary: &Summary) -> Vec<(String, String)> {
    let file = |figure: Figure| {
        let svg = figure.picture.file(&figure.name, &figure.title, &figure.caption);
        (figure.name, svg)
    };
    figures(run, summary).into_iter().map(file).collect()
}

/// Every plot that the run has values for.
pub(super) fn figures(run: &Run, summary: &Summary) -> Vec<Figure> {
    let plots = Plots {
        run,
        summary,
        pairs: pairs(summary),
    };
    let mut figures = Vec::new();
    figures.extend(plots.phases(false));
    figures.extend(plots.phases(true));
    figures.extend(plots.distributions());
    figures.extend(plots.frames());
    figures.extend(plots.open_loop());
    figures.extend(plots.messages(Metric::Throughput));
    figures.extend(plots.messages(Metric::MessagesPerSecond));
    for metric in [Metric::MemoryPerPair, Metric::Cpu, Metric::HandshakesPerSecond] {
        figures.extend(
            [false, true]
                .into_iter()
                .filter_map(|active| plots.peers(metric, active)),
        );
    }
    figures.extend(plots.forward());
    for scenario in Scenario::ALL {
        figures.extend(
            [false, true]
                .into_iter()
                .filter_map(|virtual_time| plots.ratios(scenario, virtual_time)),
        );
    }
    figures
}

/// The pairs of a run, in the order in which they come; each has its colour and mark in all plots.
fn pairs(summary: &Summary) -> Vec<Arm> {
    let mut pairs: Vec<Arm> = Vec::new();
    for arm in summary.rows.iter().flat_map(|row| &row.arms) {
        if matches!(arm.arm, Arm::Pair(..)) && !pairs.contains(&arm.arm) {
            pairs.push(arm.arm.clone());
        }
    }
    pairs
}

/// What plots are made from.
pub(super) struct Plots<'a> {
    run: &'a Run,
    summary: &'a Summary,
    pairs: Vec<Arm>,
}

impl Plots<'_> {
    /// The mark of an arm; `None` if it has none.
    pub(super) fn series(&self, arm: &Arm) -> Option<Series> {
        match arm {
            Arm::Floor { segmentation } => Some(Series::Floor(*segmentation)),
            arm => self.pairs.iter().position(|pair| pair == arm).map(Series::Pair),
        }
    }

    /// The rows of a scenario.
    pub(super) fn rows(&self, scenario: Scenario) -> impl Iterator<Item = &RowSummary> {
        self.summary
            .rows
            .iter()
            .filter(move |row| row.scenario == scenario)
    }

    fn phases(&self, virtual_time: bool) -> Option<Figure> {
        let bar = |arm: &ArmSummary| {
            let level = |metric: Metric| arm.cells.get(&metric).map(|cell| cell.level.value);
            let phases = Phase::ALL.map(|phase| level(phase.metric()));
            self.series(&arm.arm)?;
            phases.iter().all(Option::is_some).then_some(())?;
            Some(bars::Bar {
                name: arm.arm.to_string(),
                phases: phases.map(Option::unwrap_or_default),
                total: level(Metric::Total)?,
            })
        };
        let of_kind = |row: &&RowSummary| simulated(row.work) == virtual_time;
        let groups = self
            .rows(Scenario::Handshake)
            .filter(of_kind)
            .map(|row| bars::Group {
                title: row.work.to_string(),
                bars: row.arms.iter().filter_map(bar).collect(),
            });
        let groups: Vec<_> = groups.filter(|group| !group.bars.is_empty()).collect();
        let (name, network) = if virtual_time {
            (
                "handshake-phases-simulated",
                "a simulated network in virtual time",
            )
        } else {
            ("handshake-phases", "loopback")
        };
        Some(Figure {
            name: name.to_owned(),
            scenario: Scenario::Handshake,
            title: format!("Phases of a handshake on {network}"),
            caption: "A bar is a pair: from left to right the medians of the phases of a call, so a longer bar is a \
                      slower one. The number at its end is the median of whole calls, to which medians of parts need \
                      not add up."
                .to_owned(),
            picture: bars::draw(&groups)?,
        })
    }

    /// How the totals are spread, for each kind of handshake on the machine's own network.
    fn distributions(&self) -> Vec<Figure> {
        let on_loopback = |row: &&RowResult| row.scenario == Scenario::Handshake && !simulated(row.work);
        let rows = self.run.rows.iter().filter(on_loopback).enumerate();
        rows.filter_map(|(n, row)| {
            let lines = row.arms.iter().filter_map(|arm| {
                let mut values = arm.blocks(Metric::Total).concat();
                values.retain(|value| value.is_finite() && *value > 0.0);
                values.sort_by(f64::total_cmp);
                Some(Line {
                    name: arm.arm.to_string(),
                    series: self.series(&arm.arm)?,
                    points: shares(&values),
                    marks: false,
                })
            });
            let lines: Vec<Line> = lines.filter(|line| !line.points.is_empty()).collect();
            let times = lines.iter().flat_map(|line| &line.points).map(|point| point.x);
            let chart = Chart {
                x: Axis::log("time until the channel is open, ms, logarithmic", times)?,
                y: Axis::linear("calls that took no longer, %", [96.2].into_iter())?
                    .with_ticks(vec![0.0, 25.0, 50.0, 75.0, 95.0]),
                lines,
                limit: None,
                listed: true,
            };
            Some(Figure {
                name: format!("handshake-distribution-{}", n + 1),
                scenario: Scenario::Handshake,
                title: format!("Distribution of the {}", row.work),
                caption: "How many of the calls had their channel open within a time: the further left a line is the \
                          faster, the steeper the steadier. Lines are named in the order of the tables."
                    .to_owned(),
                picture: chart.draw()?,
            })
        })
        .collect()
    }

    /// The headline numbers of a scenario, each against the first arm's.
    fn ratios(&self, scenario: Scenario, virtual_time: bool) -> Option<Figure> {
        let rows = self
            .rows(scenario)
            .filter(|row| simulated(row.work) == virtual_time);
        let groups = rows.map(|row| {
            let metric = row.work.headline();
            let compared = row
                .arms
                .iter()
                .filter(|arm| !matches!(arm.arm, Arm::Again(..) | Arm::Floor { .. }));
            let ratios = compared.filter_map(|arm| {
                let cell = arm.cells.get(&metric)?;
                Some(forest::Ratio {
                    name: arm.arm.to_string(),
                    times: cell.ratio?,
                    verdict: cell.verdict,
                })
            });
            let first = row
                .arms
                .first()
                .map(|arm| arm.arm.to_string())
                .unwrap_or_default();
            forest::Group {
                title: format!("{}: {}, against {first}", row.work, metric.title()),
                better: metric.better(),
                noise: row.noise.get(&metric).copied().unwrap_or(1.0),
                ratios: ratios.collect(),
            }
        });
        let groups: Vec<_> = groups.filter(|group| !group.ratios.is_empty()).collect();
        let (title, _) = scenario.heading();
        Some(Figure {
            name: format!("ratios-{}{}", scenario.name(), if virtual_time { "-simulated" } else { "" }),
            scenario,
            title: format!("{title}{}: ratios to the first arm", if virtual_time { ", simulated" } else { "" }),
            caption: "A line is an arm's number over that of the first arm, with its 95 % interval. The shaded band is \
                      the noise, how far the same pair is from itself: an interval outside of it is a difference, and \
                      a triangle says which way; a ring stands for none. The numbers have the interval widened by the \
                      band."
                .to_owned(),
            picture: forest::draw(&groups)?,
        })
    }
}

/// Which share of the sorted values is no larger than a value, in steps of half a percent.
fn shares(sorted: &[f64]) -> Vec<Point> {
    const STEPS: usize = 200;
    let Some(last) = sorted.len().checked_sub(1) else {
        return Vec::new();
    };
    let steps = (0..=STEPS).map(|step| Point {
        x: sorted[last * step / STEPS],
        y: 100.0 * step as f64 / STEPS as f64,
        interval: None,
    });
    steps.collect()
}

/// Whether a row's times are virtual.
fn simulated(work: Work) -> bool {
    matches!(
        work,
        Work::Handshake {
            network: Network::Simulated(_),
            ..
        }
    )
}
