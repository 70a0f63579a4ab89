//! Prints how long each pair takes to open a channel on the network in memory: virtual time, round trips, and the
//! wall time that the call took to simulate.
//!
//! `cargo run --release -p visavis-tests --bin round_trips`

use std::{error::Error, time::Duration};
use visavis_core::{PairConfig, PeerPair};
use visavis_tests::{Network, Stacks, World, runner};

#[allow(clippy::disallowed_methods)] // the wall time of a simulation is the one thing that its clock does not tell
fn wall() -> std::time::Instant {
    std::time::Instant::now()
}

fn main() -> Result<(), Box<dyn Error>> {
    println!("| pair | round trip, ms | channel open, virtual ms | round trips | wall, ms |");
    println!("|---|---|---|---|---|");
    for stacks in Stacks::all() {
        for rtt in [0_u64, 50, 300] {
            let network = Network::Memory {
                delay: Duration::from_millis(rtt) / 2,
            };
            let began = wall();
            let runtime = runner::runtime(network)?;
            let setup = runtime.block_on(async {
                let world = World::new(stacks, network);
                let pair = world.pair(PairConfig::default());
                pair.start().await?;
                let call = pair.call().await?;
                let setup = call.setup();
                pair.hang_up().await?;
                Ok::<_, Box<dyn Error>>(setup)
            })?;
            drop(runtime);
            let trips = match rtt {
                0 => "–".to_owned(),
                _ => format!("{:.1}", setup.as_secs_f64() * 1000.0 / rtt as f64),
            };
            let wall_ms = began.elapsed().as_secs_f64() * 1000.0;
            println!(
                "| {stacks} | {rtt} | {} | {trips} | {wall_ms:.0} |",
                setup.as_millis()
            );
        }
    }
    Ok(())
}
