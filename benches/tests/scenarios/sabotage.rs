//! What is wrong on purpose is found, or makes the measurement fail.

use crate::{lab, visit};
use std::time::Duration;
use visavis_bench::{
    compare::compare,
    metric::Metric,
    plan::{Effort, Plan, Wishes},
    results::Run,
    runner,
    summary::{Summary, Verdict},
    work::{Content, Handicap, Network, Scenario, Work},
    worker,
};

const HANDSHAKE: Work = Work::Handshake {
    network: Network::Loopback,
    trickle: true,
    certificates_ahead: false,
};

const FRAMES: Work = Work::Frames {
    content: Content::Size(12_000),
    window: 8,
};

/// The failures of some work with a fault in it.
fn failures(work: Work, fault: Handicap) -> Vec<String> {
    let mut visit = visit(work, ("str0m", "webrtc-rs"));
    visit.handicaps = vec![fault];
    visit.budget = Duration::from_millis(500);
    worker::run(&lab(), &visit).failures
}

#[test]
fn a_dropped_frame_is_a_failure() {
    for work in [FRAMES, Work::Forward { receivers: 2 }] {
        let failures = failures(work, Handicap::DropFrames(20));
        assert!(!failures.is_empty(), "{work}");
    }
}

#[test]
fn a_step_announced_early_is_a_failure() {
    let failures = failures(HANDSHAKE, Handicap::EarlyOpen);
    assert!(
        failures.iter().all(|reason| reason.contains("before its time")) && !failures.is_empty(),
        "{failures:?}"
    );
}

/// A run of one scenario on one pair, made in this process.
async fn run(scenario: Scenario, work: Work, handicaps: &[Handicap]) -> Run {
    let wishes = Wishes {
        effort: Effort::Quick,
        scenarios: vec![scenario],
        pairs: vec![("str0m".to_owned(), "str0m".to_owned())],
        blocks: Some(6),
        warmup: Some(3),
        handicaps: handicaps.to_vec(),
        ..Wishes::default()
    };
    let mut plan = Plan::new(&lab(), &wishes);
    plan.rows.retain(|row| row.work == work);
    for row in &mut plan.rows {
        row.budget = Duration::from_millis(60);
    }
    assert_eq!(plan.rows.len(), 1);
    let visit = async |visit: &visavis_bench::work::Visit| {
        let visit = visit.clone();
        let done = tokio::task::spawn_blocking(move || worker::run(&lab(), &visit));
        Some(done.await.expect("a worker that ends"))
    };
    runner::run(plan, visit, |_| ()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_descriptions_are_named_as_such() {
    let before = run(Scenario::Handshake, HANDSHAKE, &[]).await;
    let now = run(Scenario::Handshake, HANDSHAKE, &[Handicap::SlowSdp(20_000)]).await;
    let comparison = compare(&before, &now).expect("one profile");
    let change = comparison
        .changes
        .iter()
        .find(|change| change.metric == Metric::Total);
    let change = change.expect("both have it");
    assert_eq!(change.verdict, Verdict::Worse, "{change:?}");
    let (phase, ms) = change.phase.expect("a phase");
    assert_eq!(phase, Metric::Descriptions);
    assert!(ms > 20.0, "offer and answer take 20 ms longer each: {ms}");
    let said = comparison.verdicts();
    assert!(said[0].contains("\"descriptions\" takes"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_frames_are_found_and_a_run_is_like_itself() {
    let before = run(Scenario::Frames, FRAMES, &[]).await;
    let now = run(Scenario::Frames, FRAMES, &[Handicap::SlowFrames(2_000)]).await;
    let comparison = compare(&before, &now).expect("one profile");
    let change = comparison
        .changes
        .iter()
        .find(|change| change.metric == Metric::FramesPerSecond);
    assert_eq!(
        change.expect("both have it").verdict,
        Verdict::Worse,
        "{comparison:?}"
    );
    let itself = compare(&before, &before).expect("one profile");
    assert!(itself.verdicts().is_empty(), "{:?}", itself.verdicts());
    // One pair against itself: an A/A run.
    for row in Summary::of(&before).rows {
        for cell in row
            .arms
            .iter()
            .filter(|arm| arm.arm.is_pair())
            .flat_map(|arm| arm.cells.values())
        {
            assert_eq!(cell.verdict, Verdict::Unclear, "{cell:?}");
        }
    }
}
