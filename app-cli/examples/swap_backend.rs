//! One function, every ordered pair of stacks, chosen at run time.
//!
//! `cargo run --release --example swap_backend`

use std::{error::Error, sync::Arc, time::Duration};
use visavis_core::{Backend, PairConfig, PeerPair, SamePage};
use visavis_str0m::Str0m;
use visavis_webrtc_rs::WebrtcRs;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let stacks: [Arc<dyn Backend>; 2] = [Arc::new(Str0m::new()), Arc::new(WebrtcRs::new())];
    println!(
        "{:<10} {:<10} {:>12} {:>12}",
        "offerer", "answerer", "first call", "second call"
    );
    for offerer in &stacks {
        for answerer in &stacks {
            let [first, second] = setup_times(Arc::clone(offerer), Arc::clone(answerer)).await?;
            println!(
                "{:<10} {:<10} {first:>12.2?} {second:>12.2?}",
                offerer.name(),
                answerer.name()
            );
        }
    }
    Ok(())
}

/// From the call to the data channel open on both sides, twice: the first call of a process pays for what is
/// made once, such as certificates. Nothing here knows which stacks it is given.
async fn setup_times(
    offerer: Arc<dyn Backend>,
    answerer: Arc<dyn Backend>,
) -> Result<[Duration; 2], Box<dyn Error>> {
    let pair = SamePage::new(offerer, answerer, PairConfig::default());
    pair.start().await?;
    let mut times = [Duration::ZERO; 2];
    for time in &mut times {
        let call = pair.call().await?;
        *time = call.setup();
        call.offerer.channel.send("hello").await?;
        call.answerer.channel.recv().await.ok_or("the channel closed")?;
        pair.hang_up().await?;
    }
    Ok(times)
}
