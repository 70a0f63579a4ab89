//! Many pairs in one process.

use crate::{MIXED, measured, values};
use visavis_bench::{metric::Metric, work::Work};

#[test]
fn idle_pairs_are_measured() {
    for stacks in MIXED {
        let work = Work::Peers {
            pairs: 5,
            active: false,
            disconnected_after: None,
        };
        let outcome = measured(work, stacks);
        values(&outcome, Metric::HandshakesPerSecond);
        values(&outcome, Metric::Cpu);
        assert_eq!(outcome.values.get(&Metric::Late), None);
    }
}

#[test]
fn active_pairs_get_their_frames() {
    for stacks in MIXED {
        let work = Work::Peers {
            pairs: 5,
            active: true,
            disconnected_after: None,
        };
        let outcome = measured(work, stacks);
        values(&outcome, Metric::Cpu);
        assert!(outcome.values[&Metric::Late][0] < 50.0, "{outcome:?}");
        // 150 frames are too few for a percentile.
        assert_eq!(outcome.values.get(&Metric::AgeP99), None);
    }
}

#[test]
fn a_video_is_forwarded() {
    for stacks in MIXED {
        let outcome = measured(Work::Forward { receivers: 3 }, stacks);
        values(&outcome, Metric::Cpu);
        assert!(outcome.values[&Metric::Late][0] < 50.0, "{outcome:?}");
    }
}
