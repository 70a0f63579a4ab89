//! The pairs that criterion measures, with certificates made inside the call.

use std::sync::Arc;
use visavis_bench::lab::Site;
use visavis_core::Backend;
use visavis_str0m::Str0m;
use visavis_webrtc_rs::WebrtcRs;

/// Every ordered pair of stacks on loopback, named `offerer:answerer`.
pub(crate) fn pairs() -> Vec<(String, Site)> {
    let backends: [Arc<dyn Backend>; 2] = [
        Arc::new(Str0m::new().with_certificate_ahead(false)),
        Arc::new(WebrtcRs::new().with_certificate_ahead(false)),
    ];
    let pairs = backends.iter().flat_map(|a| backends.iter().map(move |b| [a, b]));
    pairs
        .map(|[a, b]| {
            let name = format!("{}:{}", a.name(), b.name());
            (name, Site::loopback([a.clone(), b.clone()]))
        })
        .collect()
}
