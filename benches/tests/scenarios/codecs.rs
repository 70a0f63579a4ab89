//! Pictures through the codecs.

use crate::{MIXED, lab, measured, values, visit};
use visavis_bench::{metric::Metric, work::Work, worker};

const WORK: Work = Work::Codecs {
    width: 320,
    height: 240,
    window: 4,
};

#[test]
fn pictures_come_out_in_order() {
    for stacks in MIXED {
        let outcome = measured(WORK, stacks);
        values(&outcome, Metric::FramesPerSecond);
        values(&outcome, Metric::FramesPerCpuSecond);
    }
}

#[test]
fn what_would_not_show_the_order_is_refused() {
    let work = Work::Codecs {
        width: 320,
        height: 240,
        window: 60,
    };
    let outcome = worker::run(&lab(), &visit(work, MIXED[0]));
    assert!(outcome.values.is_empty());
    assert_eq!(outcome.failures, ["60 under way is not between 1 and 59"]);
}
