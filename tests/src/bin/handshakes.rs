//! Prints how long each pair takes to open a channel on bad networks in memory, in virtual time, and what fails.
//!
//! `cargo run --release -p visavis-tests --bin handshakes -- 1000 delay=50ms delay=50ms,loss=10% delay=50ms,loss=30%`

use std::{env, error::Error, fmt::Display, time::Duration};
use visavis_core::{PairConfig, PeerPair, net::impair::Impairments};
use visavis_tests::{Network, Stacks, World, runner};

/// How long a call may take.
const LIMIT: Duration = Duration::from_secs(120);

/// Milliseconds until the channel is open on both sides.
fn call(stacks: Stacks, impairments: Impairments, seed: u64) -> Result<f64, String> {
    fn said(error: impl Display) -> String {
        error.to_string()
    }
    let network = Network::Memory {
        delay: impairments.delay,
    };
    runner::runtime(network).map_err(said)?.block_on(async {
        let world = World::new(stacks, network).on_paths(impairments, seed);
        let mut config = PairConfig {
            timeout: LIMIT,
            ..PairConfig::default()
        };
        config.offerer.connect_timeout = LIMIT;
        config.answerer.connect_timeout = LIMIT;
        let pair = world.pair(config);
        pair.start().await.map_err(said)?;
        let setup = pair.call().await.map_err(said)?.setup();
        world.memory().set_impairments(Impairments::default(), 0);
        pair.hang_up().await.map_err(said)?;
        Ok(setup.as_secs_f64() * 1e3)
    })
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let seeds: u64 = arguments.next().as_deref().unwrap_or("100").parse()?;
    let mut impairments: Vec<Impairments> = arguments.map(|text| text.parse()).collect::<Result<_, _>>()?;
    if impairments.is_empty() {
        impairments = ["delay=50ms", "delay=50ms,loss=10%", "delay=50ms,loss=30%"]
            .map(str::parse)
            .into_iter()
            .collect::<Result<_, _>>()?;
    }
    println!("| network | pair | median, ms | p95, ms | most, ms | failed of {seeds} |");
    println!("|---|---|---|---|---|---|");
    for impairments in impairments {
        for stacks in Stacks::all() {
            let mut times = Vec::new();
            for seed in 0..seeds {
                match call(stacks, impairments, seed) {
                    Ok(ms) => times.push(ms),
                    Err(why) => eprintln!("{stacks}, {impairments}, seed {seed}: {why}"),
                }
            }
            times.sort_unstable_by(f64::total_cmp);
            let at = |share: f64| match times.len() {
                0 => f64::NAN,
                len => times[((len - 1) as f64 * share).round() as usize],
            };
            let [median, p95, most] = [0.5, 0.95, 1.0].map(at);
            let failed = seeds - times.len() as u64;
            println!("| {impairments} | {stacks} | {median:.0} | {p95:.0} | {most:.0} | {failed} |");
        }
    }
    Ok(())
}
