//! The scenarios that compare stacks. Criterion (`cargo bench -p visavis-bench`) runs them; each is written once, here.
//!
//! A scenario measures with Tokio's clock and reads the phases from each side's
//! [`Timeline`](visavis_core::Timeline).

#![forbid(unsafe_code)]

pub mod frames;
pub mod handshake;

use std::sync::Arc;
use visavis_core::Backend;

/// Two stacks, the offerer's first.
pub type Stacks = [Arc<dyn Backend>; 2];

/// Every ordered pair of the given stacks, named `offerer:answerer`.
pub fn ordered_pairs(backends: &[Arc<dyn Backend>]) -> Vec<(String, Stacks)> {
    backends
        .iter()
        .flat_map(|a| backends.iter().map(move |b| [Arc::clone(a), Arc::clone(b)]))
        .map(|pair| (format!("{}:{}", pair[0].name(), pair[1].name()), pair))
        .collect()
}
