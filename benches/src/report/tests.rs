//! A small run with fixed values, and what becomes of it.

use super::{markdown, page, svgs};
use crate::{
    compare::compare,
    environment::{Environment, Load},
    metric::Metric,
    outcome::Outcome,
    plan::{Effort, Plan, Row},
    results::{ArmResult, RowResult, Run, SCHEMA_VERSION},
    summary::Summary,
    tap::Negotiated,
    work::{Arm, Content, Network, Profile, Scenario, Work},
};
use std::time::Duration;

const BLOCKS: u32 = 4;

/// Something of every scenario.
const WORKS: [(Scenario, Work); 14] = [
    (Scenario::Handshake, handshake(Network::Loopback)),
    (Scenario::Handshake, handshake(Network::Simulated(20))),
    (Scenario::Frames, frames(1_200)),
    (Scenario::Frames, frames(12_000)),
    (
        Scenario::OpenLoop,
        Work::OpenLoop {
            content: Content::Size(12_000),
        },
    ),
    (
        Scenario::Codecs,
        Work::Codecs {
            width: 1280,
            height: 720,
            window: 4,
        },
    ),
    (Scenario::Data, Work::Messages { size: 100 }),
    (Scenario::Data, Work::Messages { size: 65_536 }),
    (Scenario::Data, Work::RoundTrips { size: 100 }),
    (
        Scenario::Peers,
        Work::Peers {
            pairs: 1,
            active: false,
            disconnected_after: None,
        },
    ),
    (
        Scenario::Peers,
        Work::Peers {
            pairs: 10,
            active: false,
            disconnected_after: None,
        },
    ),
    (
        Scenario::Peers,
        Work::Peers {
            pairs: 10,
            active: true,
            disconnected_after: None,
        },
    ),
    (Scenario::Forward, Work::Forward { receivers: 10 }),
    (Scenario::Tax, frames(12_000)),
];

#[test]
fn markdown_says_it_all() {
    let works = [WORKS[0], WORKS[3]];
    let mut run = run(&works, 1.0);
    let visit = &mut run.rows[0].arms[1].visits[2];
    visit.failures.push("no answer | within 5 s, said <b>".to_owned());
    visit.settled = false;
    let comparison = compare(&self::run(&works, 0.5), &run).unwrap();
    let markdown = markdown(&run, &Summary::of(&run), Some(&comparison));
    insta::assert_snapshot!(markdown);
}

#[test]
fn a_page_has_every_plot_and_nothing_from_elsewhere() {
    let mut run = run(&WORKS, 1.0);
    run.rows[0].arms[0].visits[0].failures.push("<script>".to_owned());
    let summary = Summary::of(&run);
    let comparison = compare(&self::run(&WORKS, 0.5), &run).unwrap();
    let page = page(&run, &summary, Some(&comparison));
    let files = svgs(&run, &summary);
    let expected = [
        "handshake-phases",
        "handshake-phases-simulated",
        "handshake-distribution-1",
        "frames-throughput",
        "open-loop-age-median",
        "open-loop-age-p99",
        "messages-throughput",
        "messages-rate",
        "peers-memory-idle",
        "peers-memory-active",
        "peers-cpu-idle",
        "peers-cpu-active",
        "forward-cpu",
        "ratios-handshake",
        "ratios-handshake-simulated",
        "ratios-frames",
        "ratios-tax",
    ];
    for name in expected {
        assert!(page.contains(&format!("<figure id=\"{name}\">")), "{name}");
        let (_, svg) = files.iter().find(|(file, _)| file == name).unwrap();
        assert!(
            svg.contains("prefers-color-scheme:dark") && svg.contains("xmlns="),
            "{name}"
        );
        assert!(svg.contains("<title ") && svg.contains("<desc "), "{name}");
    }
    assert_eq!(page.matches("<svg").count(), files.len());
    for element in [
        "svg", "figure", "table", "section", "article", "tr", "td", "div", "text", "li", "ul",
    ] {
        let opened =
            page.matches(&format!("<{element}>")).count() + page.matches(&format!("<{element} ")).count();
        assert_eq!(
            opened,
            page.matches(&format!("</{element}>")).count(),
            "{element}"
        );
    }
    assert!(page.contains("&lt;script&gt;"));
    for foreign in ["http", "src=", "<script", "url(", "@import", "NaN"] {
        assert!(!page.contains(foreign), "{foreign}");
    }
}

#[test]
fn what_is_missing_is_left_out() {
    let nothing = run(&[], 1.0);
    let mut interrupted = run(&WORKS, 1.0);
    interrupted.interrupted = true;
    for row in &mut interrupted.rows {
        row.arms.iter_mut().for_each(|arm| arm.visits.clear());
    }
    let mut failed = run(&WORKS, 1.0);
    for arm in failed.rows.iter_mut().flat_map(|row| &mut row.arms) {
        arm.visits.fill(Outcome::failed("nobody answered"));
    }
    let mut single = run(&WORKS, 1.0);
    for row in &mut single.rows {
        row.arms.truncate(1);
        row.arms[0].visits.truncate(1);
    }
    let mut strange = run(&WORKS, 1.0);
    let visits = strange
        .rows
        .iter_mut()
        .flat_map(|row| &mut row.arms)
        .flat_map(|arm| &mut arm.visits);
    for (n, values) in visits.flat_map(|visit| visit.values.values_mut()).enumerate() {
        values.fill([0.0, f64::INFINITY, f64::NAN, -1.0][n % 4]);
    }
    for run in [nothing, interrupted, failed, single, strange] {
        let summary = Summary::of(&run);
        let (markdown, page) = (markdown(&run, &summary, None), page(&run, &summary, None));
        assert!(markdown.contains("## Machine") && page.ends_with("</html>"));
        assert_eq!(page.matches("<svg").count(), svgs(&run, &summary).len());
    }
}

const fn handshake(network: Network) -> Work {
    Work::Handshake {
        network,
        trickle: true,
        certificates_ahead: false,
    }
}

const fn frames(size: usize) -> Work {
    Work::Frames {
        content: Content::Size(size),
        window: 8,
    }
}

/// Two pairs, the first one again, and a floor where there is one; `speed` times as fast as usual.
fn run(works: &[(Scenario, Work)], speed: f64) -> Run {
    let pair = |a: &str, b: &str| Arm::Pair(a.to_owned(), b.to_owned());
    let row = |&(scenario, work): &(Scenario, Work)| {
        let by_hand = Arm::ByHand {
            library: "one".to_owned(),
            tuned: true,
        };
        let again = Arm::Again("one".to_owned(), "one".to_owned());
        let arms = match scenario {
            Scenario::Tax => vec![by_hand, pair("one", "one"), again],
            Scenario::Frames => {
                let floor = Arm::Floor { segmentation: false };
                vec![pair("one", "one"), pair("two", "two"), again, floor]
            }
            _ => vec![pair("one", "one"), pair("two", "two"), again],
        };
        Row {
            scenario,
            work,
            arms,
            blocks: BLOCKS,
            budget: Duration::from_millis(100),
        }
    };
    let plan = Plan {
        effort: Effort::Full,
        profile: Profile::Shipped,
        warmup: 3,
        seed: 7,
        handicaps: Vec::new(),
        namespace: None,
        recording: Some("/some/where/city.mp4".into()),
        rows: works.iter().map(row).collect(),
    };
    let rows = plan.rows.iter().map(|row| RowResult {
        scenario: row.scenario,
        work: row.work,
        arms: row
            .arms
            .iter()
            .map(|arm| ArmResult {
                arm: arm.clone(),
                visits: (0..BLOCKS)
                    .map(|block| outcome(row.work, arm, block, speed))
                    .collect(),
            })
            .collect(),
    });
    Run {
        schema_version: SCHEMA_VERSION,
        environment: Environment {
            cpu: "A processor".to_owned(),
            cores: 2,
            kernel: "6.1".to_owned(),
            rustc: "rustc 1.89".to_owned(),
            build: "debug".to_owned(),
            versions: [("one".to_owned(), "0.1".to_owned())].into(),
            workers: 2,
            driven_in: "Rust, on Tokio".to_owned(),
        },
        rows: rows.collect(),
        plan,
        load: Load {
            seconds: 12.0,
            steal: 0.0,
            others: 0.01,
        },
        interrupted: false,
    }
}

fn outcome(work: Work, arm: &Arm, block: u32, speed: f64) -> Outcome {
    let arm_speed = match arm {
        Arm::Pair(offerer, _) if offerer == "two" => 2.0,
        Arm::Floor { .. } => 8.0,
        _ => 1.0,
    };
    let slower = 1.0 / (speed * arm_speed);
    // The blocks differ, but all arms alike.
    let value = |base: f64, n: u32| base * slower * (1.0 + f64::from(block) / 10.0 + f64::from(n) / 1_000.0);
    let mut outcome = Outcome {
        settled: true,
        ..Outcome::default()
    };
    let metrics: &[Metric] = match work {
        Work::Handshake { .. } => &[
            Metric::Total,
            Metric::Creation,
            Metric::Descriptions,
            Metric::Ice,
            Metric::Dtls,
            Metric::Channel,
        ],
        Work::Frames { .. } | Work::Codecs { .. } => &[Metric::FramesPerSecond, Metric::Throughput],
        Work::OpenLoop { .. } => &[Metric::HighestLoad],
        Work::Messages { .. } => &[Metric::MessagesPerSecond, Metric::Throughput],
        Work::RoundTrips { .. } => &[Metric::RoundTrip],
        Work::StalledReader { .. } => &[Metric::Recovery],
        Work::Peers { .. } => &[Metric::MemoryPerPair, Metric::Cpu],
        Work::Forward { .. } => &[Metric::Cpu],
    };
    for (place, metric) in (1..).zip(metrics) {
        for n in 0..60 {
            outcome.add(&[(*metric, value(f64::from(place), n))]);
        }
        outcome.first.insert(*metric, value(f64::from(place) * 3.0, 0));
    }
    if matches!(work, Work::OpenLoop { .. }) {
        for metric in [Metric::AgeP50, Metric::AgeP99] {
            outcome
                .curves
                .insert(metric, [4.0, 8.0].map(|n| (n, value(n, 0))).into());
        }
    }
    outcome.negotiated = Some(Negotiated {
        dtls: Some("DTLS 1.2".to_owned()),
        cipher_suite: Some("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256".to_owned()),
        datagrams: 9,
        feedback: vec!["nack".to_owned(), "nack pli".to_owned()],
        ..Negotiated::default()
    });
    outcome
}
