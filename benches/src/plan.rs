//! What a run measures, in which blocks.

use crate::{
    lab::Lab,
    work::{Arm, Content, Handicap, Network, Profile, Scenario, Work},
};
use serde::{Deserialize, Serialize};
use std::{path::PathBuf, time::Duration};

/// How much is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effort {
    /// A first look, in less than a minute.
    Quick,
    /// What results are published from.
    #[default]
    Full,
}

/// What is asked for on the command line.
#[derive(Debug, Clone, Default)]
pub struct Wishes {
    /// How much is done.
    pub effort: Effort,
    /// What the stacks are set to.
    pub profile: Profile,
    /// The scenarios; all if empty.
    pub scenarios: Vec<Scenario>,
    /// The pairs, the first being the one that the others are compared with; all if empty.
    pub pairs: Vec<(String, String)>,
    /// How many blocks, if not what the effort says.
    pub blocks: Option<u32>,
    /// The least number of batches before anything counts, if not what the effort says.
    pub warmup: Option<u32>,
    /// Faults put in on purpose.
    pub handicaps: Vec<Handicap>,
    /// The network namespace of the answerer.
    pub namespace: Option<String>,
    /// The recording for the scenarios that send one.
    pub recording: Option<PathBuf>,
    /// What the random order of the arms is drawn from.
    pub seed: u64,
}

/// What a run measures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// How much is done.
    pub effort: Effort,
    /// What the stacks are set to.
    pub profile: Profile,
    /// The least number of batches, or calls, of a visit before anything counts.
    pub warmup: u32,
    /// What the random order of the arms is drawn from.
    pub seed: u64,
    /// Faults put in on purpose.
    pub handicaps: Vec<Handicap>,
    /// The network namespace of the answerer; everything in one namespace if there is none.
    pub namespace: Option<String>,
    /// The recording that was sent; a coded test pattern if there is none.
    pub recording: Option<PathBuf>,
    /// What is measured.
    pub rows: Vec<Row>,
}

/// One thing to measure, on several arms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The group it is shown in.
    pub scenario: Scenario,
    /// What is measured.
    pub work: Work,
    /// On what; the first is the one that the others are compared with.
    pub arms: Vec<Arm>,
    /// How many visits each arm gets.
    pub blocks: u32,
    /// How long each visit measures.
    pub budget: Duration,
}

impl Plan {
    /// What is measured to fulfil `wishes`.
    pub fn new(lab: &Lab, wishes: &Wishes) -> Self {
        let pairs: Vec<Arm> = if wishes.pairs.is_empty() {
            lab.pairs()
        } else {
            // The same pair twice is an A/A run.
            let mut pairs: Vec<Arm> = Vec::new();
            for (offerer, answerer) in &wishes.pairs {
                let pair = Arm::Pair(offerer.clone(), answerer.clone());
                if !pairs.contains(&pair) {
                    pairs.push(pair);
                }
            }
            pairs
        };
        let planner = Planner { wishes, pairs };
        let wanted = |scenario: &Scenario| wishes.scenarios.is_empty() || wishes.scenarios.contains(scenario);
        Self {
            effort: wishes.effort,
            profile: wishes.profile,
            warmup: wishes.warmup.unwrap_or(match wishes.effort {
                Effort::Quick => 3,
                Effort::Full => 6,
            }),
            seed: wishes.seed,
            handicaps: wishes.handicaps.clone(),
            namespace: wishes.namespace.clone(),
            recording: wishes.recording.clone(),
            rows: Scenario::ALL
                .into_iter()
                .filter(wanted)
                .flat_map(|scenario| planner.rows(scenario))
                .collect(),
        }
    }

    /// How many visits it takes.
    pub fn visits(&self) -> usize {
        self.rows
            .iter()
            .map(|row| row.blocks as usize * row.arms.len())
            .sum()
    }
}

struct Planner<'a> {
    wishes: &'a Wishes,
    pairs: Vec<Arm>,
}

/// How much a row costs: blocks and the budget of a visit, quick and full. Nothing: the row is not in a quick run.
type Cost = (Option<(u32, u64)>, (u32, u64));

impl Planner<'_> {
    /// The rows of a scenario.
    fn rows(&self, scenario: Scenario) -> Vec<Row> {
        const HANDSHAKE: Work = Work::Handshake {
            network: Network::Loopback,
            trickle: true,
            certificates_ahead: false,
        };
        const SMALL: Work = Work::Messages { size: 100 };
        const LARGE: Work = Work::Messages { size: 64 * 1024 };
        let frames = |content| Work::Frames {
            content,
            window: crate::scenario::frames::WINDOW,
        };
        let picture = frames(Content::Size(12_000));
        let handshake = |network, trickle, certificates_ahead| Work::Handshake {
            network,
            trickle,
            certificates_ahead,
        };
        let rows: Vec<Option<Row>> = match scenario {
            Scenario::Handshake => {
                let floor = [Arm::Floor { segmentation: false }];
                let mut rows = vec![
                    self.row(scenario, HANDSHAKE, &floor, (Some((4, 100)), (12, 500))),
                    self.row(
                        scenario,
                        handshake(Network::Loopback, false, false),
                        &[],
                        (None, (8, 300)),
                    ),
                    self.row(
                        scenario,
                        handshake(Network::Loopback, true, true),
                        &[],
                        (None, (8, 300)),
                    ),
                ];
                for rtt in [0, 20, 100] {
                    let quick = (rtt == 20).then_some((1, 0));
                    let work = handshake(Network::Simulated(rtt), true, false);
                    rows.push(self.row(scenario, work, &[], (quick, (3, 0))));
                }
                rows
            }
            Scenario::Frames => {
                let floors = [false, true].map(|segmentation| Arm::Floor { segmentation });
                let sized = |size, cost| self.row(scenario, frames(Content::Size(size)), &floors, cost);
                vec![
                    sized(1_200, (None, (8, 300))),
                    sized(12_000, (Some((4, 100)), (12, 300))),
                    sized(60_000, (None, (8, 300))),
                    self.row(scenario, frames(Content::Recording), &[], (None, (6, 300))),
                ]
            }
            Scenario::OpenLoop => {
                let work = Work::OpenLoop {
                    content: Content::Size(12_000),
                };
                vec![self.row(scenario, work, &[], (None, (5, 500)))]
            }
            Scenario::Codecs => {
                let work = Work::Codecs {
                    width: 1280,
                    height: 720,
                    window: 4,
                };
                vec![self.row(scenario, work, &[], (None, (5, 500)))]
            }
            Scenario::Data => vec![
                self.row(scenario, LARGE, &[], (Some((3, 100)), (10, 300))),
                self.row(
                    scenario,
                    Work::Messages { size: 16 * 1024 },
                    &[],
                    (None, (6, 300)),
                ),
                self.row(scenario, SMALL, &[], (Some((3, 100)), (10, 300))),
                self.row(
                    scenario,
                    Work::RoundTrips { size: 100 },
                    &[],
                    (Some((3, 60)), (10, 200)),
                ),
                self.row(
                    scenario,
                    Work::StalledReader { size: 16 * 1024 },
                    &[],
                    (None, (3, 500)),
                ),
            ],
            Scenario::Peers => {
                let peers = |pairs, active, disconnected_after, cost| {
                    let work = Work::Peers {
                        pairs,
                        active,
                        disconnected_after,
                    };
                    self.row(scenario, work, &[], cost)
                };
                // Pairs made together are checked together: idle ones are measured over whole rounds of checks.
                vec![
                    peers(10, false, None, (Some((1, 300)), (3, 5_000))),
                    peers(100, false, None, (None, (3, 5_000))),
                    peers(1_000, false, None, (None, (3, 5_000))),
                    peers(1_000, false, Some(30), (None, (3, 30_000))),
                    peers(10, true, None, (None, (3, 1_000))),
                    peers(50, true, None, (None, (3, 1_000))),
                ]
            }
            Scenario::Forward => [10, 50]
                .map(|receivers| self.row(scenario, Work::Forward { receivers }, &[], (None, (3, 4_000))))
                .into(),
            Scenario::Tax => {
                let works = [HANDSHAKE, picture, LARGE, SMALL];
                let rows = visavis_baseline::LIBRARIES.iter().flat_map(|library| {
                    works.map(|work| {
                        let quick = (work == HANDSHAKE || work == picture).then_some((3, 50));
                        self.tax(library, work, (quick, (8, 300)))
                    })
                });
                rows.collect()
            }
        };
        rows.into_iter().flatten().collect()
    }

    /// A row of the pairs, of the first one again, and of `others`.
    fn row(&self, scenario: Scenario, work: Work, others: &[Arm], cost: Cost) -> Option<Row> {
        let mut arms = self.pairs.clone();
        if let Some(Arm::Pair(offerer, answerer)) = arms.first().cloned() {
            arms.push(Arm::Again(offerer, answerer));
        }
        // The floor is that of loopback.
        if self.wishes.namespace.is_none() {
            arms.extend_from_slice(others);
        }
        self.with_cost(scenario, work, arms, cost)
    }

    /// A row of a library by hand, and of visavis on it.
    fn tax(&self, library: &str, work: Work, cost: Cost) -> Option<Row> {
        let pair = Arm::Pair(library.to_owned(), library.to_owned());
        // By hand the libraries keep their own settings, which are those of visavis as shipped.
        if !self.pairs.contains(&pair)
            || self.wishes.profile != Profile::Shipped
            || self.wishes.namespace.is_some()
        {
            return None;
        }
        let by_hand = |tuned| Arm::ByHand {
            library: library.to_owned(),
            tuned,
        };
        let again = Arm::Again(library.to_owned(), library.to_owned());
        let mut arms = vec![by_hand(true), pair, again];
        // By its defaults webrtc-rs takes a second a call.
        if self.wishes.effort == Effort::Full {
            arms.insert(1, by_hand(false));
        }
        self.with_cost(Scenario::Tax, work, arms, cost)
    }

    fn with_cost(&self, scenario: Scenario, work: Work, arms: Vec<Arm>, (quick, full): Cost) -> Option<Row> {
        let (blocks, budget) = match self.wishes.effort {
            // A scenario that is asked for by name is measured also in a quick run.
            Effort::Quick if !self.wishes.scenarios.is_empty() => quick.unwrap_or((3, full.1 / 2)),
            Effort::Quick => quick?,
            Effort::Full => full,
        };
        Some(Row {
            scenario,
            work,
            arms,
            blocks: self.wishes.blocks.unwrap_or(blocks),
            budget: Duration::from_millis(budget),
        })
    }
}
