//! `--net`: a call over a network that is bad on purpose.

use serde::Serialize;
use std::{
    iter::{self, zip},
    sync::Arc,
};
use visavis_core::{
    Net, RealNet,
    net::{
        ImpairedNet,
        impair::{Impairments, PathCounts},
    },
};

/// The networks of the two sides.
pub(crate) enum Nets {
    /// The machine's.
    Real,
    /// The machine's, each side's sending made bad.
    Bad(BadNet, [Arc<ImpairedNet>; 2]),
}

/// What is bad about a network.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct BadNet {
    pub(crate) impairments: String,
    pub(crate) seed: u64,
}

impl Nets {
    pub(crate) fn new(impairments: Option<Impairments>, seed: u64) -> Self {
        let Some(impairments) = impairments else {
            return Self::Real;
        };
        let about = BadNet {
            impairments: impairments.to_string(),
            seed,
        };
        // The sides have the same addresses, so what tells their paths apart is the seed.
        let sides =
            [seed, !seed].map(|seed| Arc::new(ImpairedNet::new(RealNet::shared(), impairments, seed)));
        Self::Bad(about, sides)
    }

    /// Where each side binds its sockets.
    pub(crate) fn hosts(&self) -> [Arc<dyn Net>; 2] {
        match self {
            Self::Real => [RealNet::shared(), RealNet::shared()],
            Self::Bad(_, sides) => sides.clone().map(|side| side as Arc<dyn Net>),
        }
    }

    /// What is bad about it, if anything is.
    pub(crate) fn about(&self) -> Option<&BadNet> {
        match self {
            Self::Real => None,
            Self::Bad(about, _) => Some(about),
        }
    }

    /// What has become of the datagrams of each side so far.
    pub(crate) fn counts(&self) -> Option<[PathCounts; 2]> {
        match self {
            Self::Real => None,
            Self::Bad(_, sides) => Some([sides[0].counts(), sides[1].counts()]),
        }
    }
}

/// The counts of each side since `before`.
pub(crate) fn since(
    now: Option<[PathCounts; 2]>,
    before: Option<[PathCounts; 2]>,
) -> [Option<PathCounts>; 2] {
    match (now, before) {
        (Some(now), Some(before)) => {
            let mut sides = zip(now, before).map(|(now, before)| now - before);
            [sides.next(), sides.next()]
        }
        _ => [None, None],
    }
}

/// What happened, as words: only what did.
pub(crate) fn words(counts: &PathCounts) -> String {
    let share = |count: u64| 100.0 * count as f64 / counts.sent.max(1) as f64;
    let happened = [
        (counts.lost, "lost"),
        (counts.queue_full, "dropped by a full queue"),
        (counts.too_large, "too large"),
        (counts.reordered, "late"),
        (counts.duplicated, "twice"),
        (counts.corrupted, "with a wrong bit"),
    ];
    let happened = happened.into_iter().filter(|(count, _)| *count > 0);
    let words = happened.map(|(count, what)| format!("{count} {what} ({:.1} %)", share(count)));
    iter::once(format!("{} datagrams", counts.sent))
        .chain(words)
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_happened_is_told() {
        let counts = PathCounts {
            sent: 200,
            lost: 10,
            corrupted: 1,
            ..PathCounts::default()
        };
        assert_eq!(
            words(&counts),
            "200 datagrams, 10 lost (5.0 %), 1 with a wrong bit (0.5 %)"
        );
        let later = PathCounts { sent: 300, ..counts };
        assert_eq!(words(&(later - counts)), "100 datagrams");
        assert_eq!(words(&PathCounts::default()), "0 datagrams");
    }
}
