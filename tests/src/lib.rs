//! The harness of the behaviour suite: two stacks, a network between them, and what every case needs to connect
//! two peers, listen to them and wait for them.
//!
//! A case is written once, as `async fn(World)`, and runs on every ordered pair of stacks and on two networks:
//! loopback sockets, and a network in memory under Tokio's paused clock, where a minute of silence costs nothing.

mod bitstream;
pub mod conformance;
pub mod frames;
pub mod log;
pub mod media;
pub mod mutate;
pub mod peers;
pub mod runner;
pub mod seeds;
pub mod signals;
pub mod trace;
pub mod world;

pub use log::Log;
pub use peers::{
    Call, CallSetup, Peer, connect_by_hand, connect_with, connected, exchange, expect_kind, negotiators,
    pass_candidates, ping,
};
pub use runner::{Case, Known, On};
pub use world::{Network, Stack, Stacks, World};

use std::{future::Future, time::Duration};
use tokio::time::{Instant, sleep, timeout};

/// How long a case waits for anything, by Tokio's clock.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Waits for `future`, and panics saying `what` was waited for if it takes longer than [`DEADLINE`].
pub async fn deadline<T>(what: &str, future: impl Future<Output = T>) -> T {
    within(DEADLINE, what, future).await
}

/// The same with another limit.
pub async fn within<T>(limit: Duration, what: &str, future: impl Future<Output = T>) -> T {
    let result = timeout(limit, future).await;
    result.unwrap_or_else(|_| panic!("waited {limit:?} in vain: {what}"))
}

/// Waits until `check` holds, for what has no event to await: looks again every 2 ms of Tokio's clock.
pub async fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let began = Instant::now();
    while !check() {
        assert!(began.elapsed() < DEADLINE, "waited {DEADLINE:?} in vain: {what}");
        sleep(Duration::from_millis(2)).await;
    }
}

/// How many tasks the current runtime has alive.
pub fn alive_tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}
