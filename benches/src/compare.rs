//! A run against an earlier one.

use crate::{
    metric::Metric,
    results::{ArmResult, Run},
    stats::{self, Estimate},
    summary::{RowSummary, Summary, Verdict, noise},
    words::{phase, short},
    work::{Arm, Scenario, Work},
};
use serde::Serialize;

/// What has changed since an earlier run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// What else was different: the machine, versions. Each may be the cause.
    pub notes: Vec<String>,
    /// Every number that both runs have.
    pub changes: Vec<Change>,
    /// The headline ratios that are outside of the earlier run's intervals, a sentence each. If nothing was changed
    /// between the runs, one of them was disturbed.
    pub outside: Vec<String>,
}

/// A number then and now.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// The group it is shown in.
    pub scenario: Scenario,
    /// What was measured.
    pub work: Work,
    /// On what.
    pub arm: Arm,
    /// Which number.
    pub metric: Metric,
    /// What it was.
    pub before: Estimate,
    /// What it is.
    pub now: Estimate,
    /// How many times the earlier one it is; the interval is widened by the noise of both runs.
    pub ratio: Estimate,
    /// Whether that is a change.
    pub verdict: Verdict,
    /// Of a handshake that took longer: the phase that most of it is in, and the milliseconds there.
    pub phase: Option<(Metric, f64)>,
}

/// What has changed from `before` to `now`.
///
/// # Errors
///
/// When the two are of different profiles: those are never compared.
pub fn compare(before: &Run, now: &Run) -> Result<Comparison, String> {
    if before.plan.profile != now.plan.profile {
        return Err(format!(
            "the earlier run is of the profile `{}`, this one of `{}`: what differs would be the settings",
            before.plan.profile.name(),
            now.plan.profile.name()
        ));
    }
    let mut changes = Vec::new();
    for row in &now.rows {
        let Some(earlier) = before.rows.iter().find(|earlier| earlier.key() == row.key()) else {
            continue;
        };
        let (noise_before, noise_now) = (noise(earlier), noise(row));
        for arm in &row.arms {
            let Some(old) = earlier
                .arm(&arm.arm)
                .filter(|_| !matches!(arm.arm, Arm::Again(..)))
            else {
                continue;
            };
            let metrics = arm
                .visits
                .first()
                .into_iter()
                .flat_map(|visit| visit.values.keys().copied());
            changes.extend(metrics.filter_map(|metric| {
                let (old_blocks, blocks) = (old.blocks(metric), arm.blocks(metric));
                let ratio = stats::ratio(&blocks, &old_blocks)?;
                let bands = noise_before.get(&metric).zip(noise_now.get(&metric));
                let ratio = ratio.widened(bands.map_or(1.0, |(a, b)| a.max(*b)));
                Some(Change {
                    scenario: row.scenario,
                    work: row.work,
                    arm: arm.arm.clone(),
                    metric,
                    before: stats::level(&old_blocks)?,
                    now: stats::level(&blocks)?,
                    ratio,
                    verdict: bands.map_or(Verdict::Unclear, |_| Verdict::of(metric, ratio)),
                    phase: (metric == Metric::Total)
                        .then(|| slower_phase(old, arm))
                        .flatten(),
                })
            }));
        }
    }
    Ok(Comparison {
        notes: notes(before, now),
        changes,
        outside: outside(&Summary::of(before), &Summary::of(now)),
    })
}

/// Which of the ratios to the first arm left the intervals that they had.
fn outside(before: &Summary, now: &Summary) -> Vec<String> {
    let mut outside = Vec::new();
    for row in &now.rows {
        let metric = row.work.headline();
        let ratio = |row: &RowSummary, arm: &Arm| row.arm(arm)?.cells.get(&metric)?.ratio;
        let Some(earlier) = before.rows.iter().find(|earlier| earlier.key() == row.key()) else {
            continue;
        };
        for arm in row.arms.iter().map(|arm| &arm.arm) {
            let Some((old, new)) = ratio(earlier, arm).zip(ratio(row, arm)) else {
                continue;
            };
            if !old.contains(new.value) {
                outside.push(format!(
                    "{}: {} of {arm} is × {} that of {}, and was × {} ({} to {})",
                    row.work,
                    metric.title(),
                    short(new.value),
                    row.arms[0].arm,
                    short(old.value),
                    short(old.low),
                    short(old.high)
                ));
            }
        }
    }
    outside
}

impl Comparison {
    /// The changes of headline numbers that are clear of the noise, a sentence each.
    pub fn verdicts(&self) -> Vec<String> {
        let clear = self
            .changes
            .iter()
            .filter(|change| change.verdict != Verdict::Unclear && change.metric == change.work.headline());
        clear.map(Change::sentence).collect()
    }
}

impl Change {
    fn sentence(&self) -> String {
        let unit = self.metric.unit();
        let verdict = if self.verdict == Verdict::Worse {
            "worse"
        } else {
            "better"
        };
        let phase = self.phase.filter(|_| self.verdict == Verdict::Worse);
        let phase = phase
            .map(|(phase, ms)| format!("; the phase \"{}\" takes {} ms longer", phase.title(), short(ms)));
        format!(
            "{}: {} of {} is {verdict}: {} {unit}, was {} (× {}, {} to {}){}.",
            self.work,
            self.metric.title(),
            self.arm,
            short(self.now.value),
            short(self.before.value),
            short(self.ratio.value),
            short(self.ratio.low),
            short(self.ratio.high),
            phase.unwrap_or_default()
        )
    }
}

fn slower_phase(old: &ArmResult, new: &ArmResult) -> Option<(Metric, f64)> {
    let level = |arm: &ArmResult, metric| stats::level(&arm.blocks(metric)).map(|level| level.value);
    let (phase, ms) = phase(|metric| level(old, metric), |metric| level(new, metric))?;
    Some((phase.metric(), ms))
}

fn notes(before: &Run, now: &Run) -> Vec<String> {
    let mut notes = Vec::new();
    let (old, new) = (&before.environment, &now.environment);
    for (what, old, new) in [
        ("processor", &old.cpu, &new.cpu),
        ("kernel", &old.kernel, &new.kernel),
        ("compiler", &old.rustc, &new.rustc),
        ("build", &old.build, &new.build),
    ] {
        if old != new {
            notes.push(format!("the {what} was {old}, now {new}"));
        }
    }
    for (name, version) in &new.versions {
        match old.versions.get(name) {
            Some(old) if old != version => notes.push(format!("{name} was {old}, now {version}")),
            _ => {}
        }
    }
    if before.plan.recording != now.plan.recording {
        notes.push("the recording was another".to_owned());
    }
    notes
}
