//! The plots that are lines over what the work varies.

use super::{
    axis::Axis,
    chart::{Chart, Line, Point},
    plots::{Figure, Plots},
    tables::titled,
};
use crate::{
    metric::Metric,
    stats::median,
    summary::RowSummary,
    work::{Arm, Content, Scenario, Work},
};

/// Frames that are older than this come after the next one is due.
const DUE: f64 = 33.0;

impl Plots<'_> {
    /// Throughput of frames.
    pub(super) fn frames(&self) -> Option<Figure> {
        let size = |work: Work| match work {
            Work::Frames {
                content: Content::Size(size),
                ..
            } => Some(size as f64 / 1e3),
            _ => None,
        };
        let lines = self.over(Scenario::Frames, Metric::Throughput, size);
        let chart = over(
            lines,
            "size of a frame, kB, logarithmic",
            Metric::Throughput,
            true,
        )?;
        Some(Figure {
            name: "frames-throughput".to_owned(),
            scenario: Scenario::Frames,
            title: "Throughput against the size of frames".to_owned(),
            caption: "Higher is faster. Vertical bars are 95 % intervals. A floor is what the same bytes cost with \
                      UDP and the cipher alone: no stack can be above it."
                .to_owned(),
            picture: chart.draw()?,
        })
    }

    /// Rates of messages.
    pub(super) fn messages(&self, metric: Metric) -> Option<Figure> {
        let size = |work: Work| match work {
            Work::Messages { size } => Some(size as f64 / 1e3),
            _ => None,
        };
        let chart = over(
            self.over(Scenario::Data, metric, size),
            "size of a message, kB, logarithmic",
            metric,
            true,
        )?;
        let (name, title) = match metric {
            Metric::Throughput => ("messages-throughput", "Throughput against the size of messages"),
            _ => ("messages-rate", "Messages a second against their size"),
        };
        Some(Figure {
            name: name.to_owned(),
            scenario: Scenario::Data,
            title: title.to_owned(),
            caption: "Higher is faster; both axes are logarithmic. Vertical bars are 95 % intervals."
                .to_owned(),
            picture: chart.draw()?,
        })
    }

    /// What pairs cost.
    pub(super) fn peers(&self, metric: Metric, active: bool) -> Option<Figure> {
        let n = |work: Work| match work {
            Work::Peers {
                pairs,
                active: is,
                disconnected_after: None,
            } if is == active => Some(pairs as f64),
            _ => None,
        };
        let (kind, title) = if active {
            ("active", "that send video")
        } else {
            ("idle", "that send nothing")
        };
        let (name, what) = match metric {
            Metric::MemoryPerPair => ("memory", "Memory of a pair"),
            Metric::Cpu => ("cpu", "Processor time"),
            _ => ("handshakes", "Handshakes a second, all at once,"),
        };
        let axis = "pairs in the process, logarithmic";
        let chart = over(
            self.over(Scenario::Peers, metric, n),
            axis,
            metric,
            metric != Metric::MemoryPerPair,
        )?;
        let direction = match metric {
            Metric::HandshakesPerSecond => "Higher is faster",
            _ => "Lower is cheaper",
        };
        Some(Figure {
            name: format!("peers-{name}-{kind}"),
            scenario: Scenario::Peers,
            title: format!("{what} against the number of pairs {title}"),
            caption: format!("{direction}. Vertical bars are 95 % intervals."),
            picture: chart.draw()?,
        })
    }

    /// What forwarding costs.
    pub(super) fn forward(&self) -> Option<Figure> {
        let n = |work: Work| match work {
            Work::Forward { receivers } => Some(receivers as f64),
            _ => None,
        };
        let lines = self.over(Scenario::Forward, Metric::Cpu, n);
        let chart = over(lines, "receivers, logarithmic", Metric::Cpu, true)?;
        Some(Figure {
            name: "forward-cpu".to_owned(),
            scenario: Scenario::Forward,
            title: "Processor time against the number of receivers".to_owned(),
            caption: "Lower is cheaper; both axes are logarithmic. Vertical bars are 95 % intervals."
                .to_owned(),
            picture: chart.draw()?,
        })
    }

    /// The ages of frames on a schedule.
    pub(super) fn open_loop(&self) -> Vec<Figure> {
        let ages = [
            (
                Metric::AgeP50,
                "open-loop-age-median",
                "The age that half of the frames exceed",
            ),
            (
                Metric::AgeP99,
                "open-loop-age-p99",
                "The age that 1 % of the frames exceed",
            ),
        ];
        let figure = |row: &RowSummary, (metric, name, title): (Metric, &str, &str), n: usize| {
            let lines = row.arms.iter().filter_map(|arm| {
                Some(Line {
                    name: arm.arm.to_string(),
                    series: self.series(&arm.arm)?,
                    points: medians(arm.curves.get(&metric)?),
                    marks: true,
                })
            });
            let lines: Vec<Line> = lines.collect();
            let points = || lines.iter().flat_map(|line| &line.points);
            let chart = Chart {
                x: Axis::log(
                    "N, × 30 frames a second, logarithmic",
                    points().map(|point| point.x),
                )?,
                y: Axis::log(
                    format!("{}, logarithmic", titled(metric)),
                    values(&lines).chain([DUE]),
                )?,
                lines,
                limit: Some((DUE, "33 ms: the next frame is due")),
                listed: false,
            };
            let number = if n == 0 {
                String::new()
            } else {
                format!("-{}", n + 1)
            };
            Some(Figure {
                name: format!("{name}{number}"),
                scenario: Scenario::OpenLoop,
                title: format!("{title}, against the load"),
                caption: "Further right is more load, higher is later. Where a line crosses the one at 33 ms, frames \
                          come too late. Vertical bars are the least and the most of all blocks."
                    .to_owned(),
                picture: chart.draw()?,
            })
        };
        let rows = self.rows(Scenario::OpenLoop).enumerate();
        rows.flat_map(|(n, row)| ages.map(|age| figure(row, age, n)))
            .flatten()
            .collect()
    }

    /// A metric of a scenario's rows against what its work varies, a line an arm.
    fn over(&self, scenario: Scenario, metric: Metric, x: impl Fn(Work) -> Option<f64>) -> Vec<Line> {
        let mut lines: Vec<(Arm, Line)> = Vec::new();
        for row in self.rows(scenario) {
            let Some(x) = x(row.work) else { continue };
            for arm in &row.arms {
                let (Some(cell), Some(series)) = (arm.cells.get(&metric), self.series(&arm.arm)) else {
                    continue;
                };
                let point = Point {
                    x,
                    y: cell.level.value,
                    interval: Some((cell.level.low, cell.level.high)),
                };
                match lines.iter_mut().find(|(known, _)| *known == arm.arm) {
                    Some((_, line)) => line.points.push(point),
                    None => lines.push((
                        arm.arm.clone(),
                        Line {
                            name: arm.arm.to_string(),
                            series,
                            points: vec![point],
                            marks: true,
                        },
                    )),
                }
            }
        }
        let mut lines: Vec<Line> = lines.into_iter().map(|(_, line)| line).collect();
        for line in &mut lines {
            line.points.sort_by(|a, b| a.x.total_cmp(&b.x));
        }
        lines
    }
}

/// Lines over what the work varies, which has a tick at each of its values.
fn over(lines: Vec<Line>, title: &str, metric: Metric, logarithmic: bool) -> Option<Chart> {
    let xs: Vec<f64> = lines
        .iter()
        .flat_map(|line| &line.points)
        .map(|point| point.x)
        .collect();
    let y = if logarithmic {
        Axis::log(format!("{}, logarithmic", titled(metric)), values(&lines))
    } else {
        Axis::linear(titled(metric), values(&lines))
    };
    Some(Chart {
        x: Axis::log(title, xs.iter().copied())?.with_ticks(xs),
        y: y?,
        lines,
        limit: None,
        listed: false,
    })
}

/// Everything that has to be on the vertical axis.
fn values(lines: &[Line]) -> impl Iterator<Item = f64> {
    let points = lines.iter().flat_map(|line| &line.points);
    points.flat_map(|point| {
        let (low, high) = point.interval.unwrap_or((point.y, point.y));
        [low, point.y, high]
    })
}

/// The median at each place, and the least and the most there.
fn medians(points: &[(f64, f64)]) -> Vec<Point> {
    let mut sorted: Vec<(f64, f64)> = points
        .iter()
        .copied()
        .filter(|(x, y)| x.is_finite() && y.is_finite())
        .collect();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let places = sorted.chunk_by(|a, b| a.0.total_cmp(&b.0).is_eq());
    let places = places.map(|points| {
        let values: Vec<f64> = points.iter().map(|(_, y)| *y).collect();
        let ends = values
            .iter()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| {
                (low.min(*v), high.max(*v))
            });
        Point {
            x: points[0].0,
            y: median(&values),
            interval: Some(ends),
        }
    });
    places.collect()
}
