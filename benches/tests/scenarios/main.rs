//! Each scenario, in small, over pairs of stacks.

mod codecs;
mod data;
mod floor;
mod many;
mod open_loop;
mod recording;
mod sabotage;

use std::{sync::Arc, time::Duration};
use visavis_bench::{
    lab::{Lab, Settings},
    metric::Metric,
    outcome::Outcome,
    work::{Arm, Profile, Visit, Work},
    worker,
};
use visavis_core::Backend;
use visavis_str0m::Str0m;
use visavis_webrtc_rs::WebrtcRs;

/// Both ways to put the stacks together.
const MIXED: [(&str, &str); 2] = [("str0m", "webrtc-rs"), ("webrtc-rs", "str0m")];

/// The stacks of this workspace, as they come.
fn lab() -> Lab {
    fn stack(name: &str, _: Settings) -> Option<Arc<dyn Backend>> {
        match name {
            "str0m" => Some(Arc::new(Str0m::new())),
            "webrtc-rs" => Some(Arc::new(WebrtcRs::new())),
            _ => None,
        }
    }
    Lab {
        names: &["str0m", "webrtc-rs"],
        stack,
    }
}

/// A visit that takes hardly any time.
fn visit(work: Work, (offerer, answerer): (&str, &str)) -> Visit {
    Visit {
        work,
        arm: Arm::Pair(offerer.to_owned(), answerer.to_owned()),
        profile: Profile::Shipped,
        budget: Duration::from_millis(100),
        warmup: 0,
        handicaps: Vec::new(),
        namespace: None,
        recording: None,
    }
}

/// Does the work without a failure.
fn measured(work: Work, stacks: (&str, &str)) -> Outcome {
    let outcome = worker::run(&lab(), &visit(work, stacks));
    assert_eq!(outcome.failures, [""; 0], "{work}, {stacks:?}");
    let negotiated = outcome.negotiated.as_ref().expect("what was agreed on");
    assert!(negotiated.cipher_suite.is_some(), "{negotiated:?}");
    outcome
}

/// The values of a metric, which are all positive.
fn values(outcome: &Outcome, metric: Metric) -> &[f64] {
    let values = outcome.values.get(&metric).map(Vec::as_slice).unwrap_or_default();
    assert!(
        !values.is_empty() && values.iter().all(|value| *value > 0.0),
        "{metric:?}: {outcome:?}"
    );
    values
}
