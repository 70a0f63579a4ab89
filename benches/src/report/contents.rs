//! What a report says, in the order in which it says it; Markdown and HTML differ only in how it looks.

use super::tables::{self, Table};
use crate::{
    compare::Comparison,
    lab::Equal,
    plan::Effort,
    results::{RowResult, Run},
    summary::{RowSummary, Summary},
    words,
    work::{Arm, Profile, Scenario},
};

/// What a report says.
#[derive(Debug)]
pub(super) struct Contents {
    /// Why its figures should not be relied on.
    pub(super) doubts: Vec<String>,
    /// The pairs side by side.
    pub(super) overview: Option<Table>,
    /// Whether anything is clear of the noise.
    pub(super) clear: bool,
    /// The machine and the parameters: names and values.
    pub(super) facts: Vec<(&'static str, String)>,
    /// Against an earlier run.
    pub(super) comparison: Option<Compared>,
    /// The scenarios.
    pub(super) sections: Vec<Section>,
    /// What the peers agreed on.
    pub(super) negotiated: Option<Table>,
}

/// Against an earlier run.
#[derive(Debug)]
pub(super) struct Compared {
    /// What else was different.
    pub(super) notes: Vec<String>,
    /// What has changed, a sentence each.
    pub(super) verdicts: Vec<String>,
    /// The numbers.
    pub(super) table: Table,
}

/// A scenario.
#[derive(Debug)]
pub(super) struct Section {
    /// Which one.
    pub(super) scenario: Scenario,
    /// What is clear of the noise, a sentence each.
    pub(super) verdicts: Vec<String>,
    /// Its rows.
    pub(super) rows: Vec<Part>,
}

/// A row of the plan.
#[derive(Debug)]
pub(super) struct Part {
    /// What was measured.
    pub(super) title: String,
    /// How often, how long.
    pub(super) effort: String,
    /// Its numbers.
    pub(super) tables: Vec<Table>,
    /// What must be known about them.
    pub(super) notes: Vec<String>,
}

/// How the tables are read.
pub(super) const LEGEND: &str = "A number is the median of the blocks' medians, in brackets the interval that holds \
    it in 95 of 100 such runs. n counts calls or batches. A ratio is to the first arm of its table, of blocks that \
    were measured together; its interval is widened by the noise, which is how far the same pair is from itself. It \
    is called better or worse only where the interval does not contain 1.";

/// Why a percentile is missing.
pub(super) const NO_PERCENTILE: &str = "A dash for a percentile: the sample does not carry it. With n values none \
    beyond 1 − 10/n is given, for fewer than ten values would lie above it.";

impl Contents {
    /// What is said about a run.
    pub(super) fn of(run: &Run, summary: &Summary, comparison: Option<&Comparison>) -> Self {
        let mut sections: Vec<Section> = Vec::new();
        for (index, (result, row)) in run.rows.iter().zip(&summary.rows).enumerate() {
            if sections
                .last()
                .is_none_or(|section| section.scenario != row.scenario)
            {
                sections.push(Section {
                    scenario: row.scenario,
                    verdicts: Vec::new(),
                    rows: Vec::new(),
                });
            }
            if let Some(section) = sections.last_mut() {
                section.verdicts.extend(words::row(row));
                section.rows.push(part(run, index, result, row));
            }
        }
        Self {
            doubts: summary.doubts.clone(),
            overview: tables::overview(summary),
            clear: sections.iter().any(|section| !section.verdicts.is_empty()),
            facts: facts(run),
            comparison: comparison.map(|comparison| Compared {
                notes: comparison
                    .notes
                    .iter()
                    .chain(&comparison.outside)
                    .cloned()
                    .collect(),
                verdicts: comparison.verdicts(),
                table: tables::changes(comparison),
            }),
            sections,
            negotiated: tables::negotiated(summary),
        }
    }
}

impl Scenario {
    /// Its heading in a report, and what is measured in it.
    pub(super) fn heading(self) -> (&'static str, &'static str) {
        match self {
            Self::Handshake => (
                "Handshake",
                "From entering the call, the making of both peers included, to a data channel that is open on both \
                 sides.",
            ),
            Self::Frames => (
                "Frame throughput",
                "Complete H.264 frames in order, as fast as they go, every byte checked.",
            ),
            Self::OpenLoop => (
                "Frames on a schedule",
                "N × 30 frames a second, sent when they are due whatever happens: how many before they come late.",
            ),
            Self::Codecs => (
                "Codecs in the loop",
                "Pictures that are coded, sent, received and decoded.",
            ),
            Self::Data => (
                "Data channels",
                "Messages on a reliable, ordered channel: as fast as it takes them, there and back, and to a reader \
                 that stalls.",
            ),
            Self::Peers => (
                "Many pairs in a process",
                "What a pair costs in memory and processor time, and how fast all of them connect.",
            ),
            Self::Forward => (
                "Forwarding",
                "One video that is received and sent on to others, as a small SFU does.",
            ),
            Self::Tax => (
                "What visavis costs",
                "Each library driven by hand, and through visavis: the ratio of the pair is what visavis adds.",
            ),
        }
    }
}

/// The names of the parameters, and what they were.
fn facts(run: &Run) -> Vec<(&'static str, String)> {
    let (environment, plan, load) = (&run.environment, &run.plan, &run.load);
    let or = |text: &str, none: &str| if text.is_empty() { none } else { text }.to_owned();
    let percent = |part: f64| format!("{:.1} %", part * 100.0);
    let list = |items: Vec<String>, none: &str| or(&items.join(", "), none);
    let versions = environment
        .versions
        .iter()
        .map(|(name, version)| format!("{name} {version}"));
    let profile = match plan.profile {
        Profile::Shipped => "shipped: every stack as it comes".to_owned(),
        Profile::Equal => {
            let Equal {
                srtp_profile,
                key_exchange,
                rtp_packet_size,
            } = Equal::PROFILE;
            format!(
                "equal: {srtp_profile:?}, {key_exchange:?} and RTP packets of {rtp_packet_size} bytes on every stack"
            )
        }
    };
    let effort = match plan.effort {
        Effort::Quick => "quick: a first look",
        Effort::Full => "full",
    };
    let handicaps = plan.handicaps.iter().map(|handicap| format!("{handicap:?}"));
    // The file's name will do: where it lay is nobody's business.
    let recording = plan.recording.as_deref().and_then(std::path::Path::file_name);
    let recording = recording.map_or("none; a coded test pattern".into(), |name| {
        name.to_string_lossy().into_owned()
    });
    vec![
        ("Processor", or(&environment.cpu, "unknown")),
        ("Processors", format!("{} for this process", environment.cores)),
        ("Kernel", or(&environment.kernel, "unknown")),
        ("Compiler", or(&environment.rustc, "unknown")),
        ("Build", or(&environment.build, "unknown")),
        ("Versions", list(versions.collect(), "unknown")),
        (
            "Driven in",
            format!(
                "{}, {} worker threads",
                environment.driven_in, environment.workers
            ),
        ),
        ("Profile", profile),
        ("Effort", effort.to_owned()),
        (
            "Warm-up",
            format!(
                "at least {} batches or calls, and until the values have settled",
                plan.warmup
            ),
        ),
        (
            "Order of the arms",
            format!("random in each block, seed {}", plan.seed),
        ),
        (
            "Network",
            match &plan.namespace {
                None => "loopback, where a batch that GSO sends is never cut".to_owned(),
                Some(_) => "a veth pair between two network namespaces".to_owned(),
            },
        ),
        ("Recording", recording),
        ("Faults put in", list(handicaps.collect(), "none")),
        (
            "Took",
            format!(
                "{:.0} s{}",
                load.seconds,
                if run.interrupted { ", then ended early" } else { "" }
            ),
        ),
        (
            "Meanwhile",
            format!(
                "other programs used {} of the machine, its hypervisor took {}",
                percent(load.others),
                percent(load.steal)
            ),
        ),
    ]
}

fn part(run: &Run, index: usize, result: &RowResult, row: &RowSummary) -> Part {
    let visits = result.arms.iter().map(|arm| arm.visits.len()).max().unwrap_or(0);
    let planned = run
        .plan
        .rows
        .get(index)
        .filter(|planned| planned.work == row.work);
    let effort = planned.map_or_else(
        || format!("{visits} blocks"),
        |planned| {
            let done = if visits < planned.blocks as usize {
                format!("{visits} of {} blocks", planned.blocks)
            } else {
                format!("{visits} blocks")
            };
            // Where calls are counted there is no budget.
            if planned.budget.is_zero() {
                done
            } else {
                format!("{done} of {} ms an arm", planned.budget.as_millis())
            }
        },
    );
    let tables = tables::row(row);
    Part {
        title: row.work.to_string(),
        effort,
        notes: notes(result, row),
        tables,
    }
}

/// What must be known about a row's numbers.
fn notes(result: &RowResult, row: &RowSummary) -> Vec<String> {
    let mut notes = Vec::new();
    if row.arms.iter().all(|arm| arm.cells.is_empty()) {
        notes.push("Nothing was measured.".to_owned());
    }
    let again = row.arms.iter().find(|arm| matches!(arm.arm, Arm::Again(..)));
    let noise: Vec<String> = row
        .noise
        .iter()
        .map(|(metric, factor)| format!("{} × {factor:.2}", metric.title()))
        .collect();
    match again {
        Some(_) if !noise.is_empty() => {
            notes.push(format!(
                "Noise, how far the same pair is from itself: {}.",
                noise.join(", ")
            ));
        }
        _ => notes.push("The noise is not known, so nothing is called better or worse.".to_owned()),
    }
    for arm in &row.arms {
        if let Some(reason) = &arm.failure {
            notes.push(format!(
                "{} of {} failed, the first one: {reason}",
                arm.failures, arm.arm
            ));
        }
    }
    let visits = || result.arms.iter().flat_map(|arm| &arm.visits);
    let drifting = visits()
        .filter(|visit| !visit.settled && !visit.values.is_empty())
        .count();
    if drifting > 0 {
        let all = visits().count();
        notes.push(format!(
            "In {drifting} of {all} visits the values still drifted when the warm-up was over."
        ));
    }
    notes
}
