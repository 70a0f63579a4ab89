//! The work without stacks.

use crate::{MIXED, lab, values, visit};
use visavis_bench::{
    metric::Metric,
    outcome::Outcome,
    work::{Arm, Content, Network, Work},
    worker,
};

fn floor(work: Work, segmentation: bool) -> Outcome {
    let mut visit = visit(work, MIXED[0]);
    visit.arm = Arm::Floor { segmentation };
    worker::run(&lab(), &visit)
}

#[test]
fn frames_of_every_size_arrive() {
    for segmentation in [false, true] {
        // One datagram, exactly two, and more than may be under way.
        for size in [100, 2_400, 200_000] {
            let work = Work::Frames {
                content: Content::Size(size),
                window: 8,
            };
            let outcome = floor(work, segmentation);
            assert_eq!(outcome.failures, [""; 0], "{work}");
            values(&outcome, Metric::FramesPerSecond);
            values(&outcome, Metric::FramesPerCpuSecond);
            values(&outcome, Metric::Throughput);
        }
    }
}

#[test]
fn handshakes_with_certificates_old_and_new() {
    for certificates_ahead in [false, true] {
        let work = Work::Handshake {
            network: Network::Loopback,
            trickle: true,
            certificates_ahead,
        };
        let outcome = floor(work, false);
        assert_eq!(outcome.failures, [""; 0], "{work}");
        values(&outcome, Metric::Total);
    }
}

#[test]
fn other_work_has_none() {
    let handshake = Work::Handshake {
        network: Network::Simulated(100),
        trickle: true,
        certificates_ahead: true,
    };
    for (work, segmentation) in [(handshake, false), (Work::Forward { receivers: 2 }, true)] {
        let outcome = floor(work, segmentation);
        assert!(outcome.values.is_empty());
        assert!(
            outcome.failures[0].starts_with("there is no floor"),
            "{outcome:?}"
        );
    }
}
