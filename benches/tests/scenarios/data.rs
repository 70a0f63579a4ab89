//! Messages on a data channel.

use crate::{MIXED, measured, values};
use visavis_bench::{metric::Metric, work::Work};

#[test]
fn messages_are_counted() {
    for stacks in MIXED {
        for size in [100, 16 * 1024, 64 * 1024] {
            let outcome = measured(Work::Messages { size }, stacks);
            let rates = values(&outcome, Metric::MessagesPerSecond);
            let bytes = values(&outcome, Metric::Throughput);
            for (rate, bytes) in rates.iter().zip(bytes) {
                let ratio = bytes * 1e6 / (rate * size as f64);
                assert!((0.99..1.01).contains(&ratio), "{outcome:?}");
            }
            values(&outcome, Metric::MessagesPerCpuSecond);
        }
    }
}

#[test]
fn every_round_trip_is_a_value() {
    for stacks in MIXED {
        let outcome = measured(Work::RoundTrips { size: 100 }, stacks);
        assert!(values(&outcome, Metric::RoundTrip).len() >= 50);
        assert_eq!(outcome.first.len(), 1);
    }
}

#[test]
fn a_stalled_reader_holds_the_sender_and_loses_nothing() {
    for stacks in MIXED {
        let outcome = measured(Work::StalledReader { size: 16 * 1024 }, stacks);
        // What core alone takes: a mebibyte at the sender and one at the reader.
        let held = values(&outcome, Metric::HeldBytes);
        assert!(
            held.iter().all(|kib| (2048.0..32.0 * 1024.0).contains(kib)),
            "{held:?}"
        );
        values(&outcome, Metric::Recovery);
    }
}
