//! Frames on a schedule.

use crate::{MIXED, lab, measured, values, visit};
use visavis_bench::{
    metric::Metric,
    work::{Content, Handicap, Work},
    worker,
};

const WORK: Work = Work::OpenLoop {
    content: Content::Size(1_200),
};

#[test]
fn the_highest_load_is_found_with_the_ages_on_the_way() {
    for stacks in MIXED {
        let outcome = measured(WORK, stacks);
        let &[highest] = values(&outcome, Metric::HighestLoad) else {
            panic!("one search has one end: {outcome:?}");
        };
        let ages = &outcome.curves[&Metric::AgeP99];
        assert!(ages.is_sorted_by(|a, b| a.0 < b.0), "{ages:?}");
        assert!(
            ages.iter()
                .any(|(load, age)| same(*load, highest) && (0.0..33.0).contains(age))
        );
        for &(load, median) in &outcome.curves[&Metric::AgeP50] {
            let p99 = ages.iter().find(|point| same(point.0, load));
            assert!(median >= 0.0 && p99.is_none_or(|(_, p99)| *p99 >= median));
        }
        let late = &outcome.curves[&Metric::Late];
        assert!(
            late.iter().any(|point| same(point.0, highest) && point.1 <= 1.0),
            "{late:?}"
        );
    }
}

#[test]
fn a_stack_that_is_slow_shows() {
    let mut slow = visit(WORK, MIXED[0]);
    let fast = worker::run(&lab(), &slow);
    // 2,000 frames a second are 66 × 30 at most.
    slow.handicaps = vec![Handicap::SlowFrames(500)];
    let outcome = worker::run(&lab(), &slow);
    assert_eq!(outcome.failures, [""; 0]);
    let highest = values(&outcome, Metric::HighestLoad)[0];
    assert!(
        highest <= 66.0 && highest < values(&fast, Metric::HighestLoad)[0],
        "{outcome:?}"
    );
}

/// Loads are whole numbers.
fn same(a: f64, b: f64) -> bool {
    (a - b).abs() < 0.5
}
