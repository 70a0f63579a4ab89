//! How many round trips it takes to open a channel.

use std::time::Duration;
use tokio::time::Instant;
use visavis_core::{PairConfig, PeerPair};
use visavis_tests::{World, deadline};

/// Round trips from the call to the open channel on both sides, at most: the floor is 6 to 7 (ICE 1, DTLS 2 or 3,
/// SCTP 2, DCEP 1).
const MOST: f64 = 7.5;

/// What the timers of ICE may take without a round trip, in virtual milliseconds. The wait for a check that was lost or
/// a nomination that was forgotten is longer.
const TICKS: f64 = 50.0;

/// At no round trip, at one of 50 ms and at one of 300 ms: what the protocols need, and nothing for timers.
pub(super) async fn round_trips(world: World) {
    for rtt in [0, 50, 300] {
        let world = world.with_delay(Duration::from_millis(rtt) / 2);
        let pair = world.pair(PairConfig::default());
        pair.start().await.unwrap();
        let began = Instant::now();
        let call = deadline("a call", pair.call()).await.expect("a call");
        assert_eq!(call.began, began);
        let virtual_ms = call.setup().as_secs_f64() * 1000.0;
        if rtt == 0 {
            println!("{}: {virtual_ms:.0} ms at no round trip", world.stacks);
            // Time that no packet needed: timers that somebody waited for.
            assert!(virtual_ms < TICKS, "{virtual_ms} ms of waiting for timers");
        } else {
            let trips = virtual_ms / rtt as f64;
            println!(
                "{}: {virtual_ms:.0} ms at {rtt} ms, {trips:.1} round trips",
                world.stacks
            );
            assert!(trips <= MOST, "{trips:.1} round trips of {rtt} ms");
        }
        pair.hang_up().await.unwrap();
    }
}
