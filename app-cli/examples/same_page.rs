//! The classic demo, two peers on one page: Start, Call, a message each way, Hang Up.
//!
//! `cargo run --example same_page`

use std::{error::Error, sync::Arc};
use visavis_core::{PairConfig, PeerPair, SamePage, Side};
use visavis_str0m::Str0m;
use visavis_webrtc_rs::WebrtcRs;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // The offerer runs on one stack, the answerer on the other. Any two will do.
    let pair = SamePage::new(
        Arc::new(Str0m::new()),
        Arc::new(WebrtcRs::new()),
        PairConfig::default(),
    );

    // Start: opens camera and microphone, where a call has media. This one has a data channel only.
    pair.start().await?;

    // Call: offer, answer, candidates, ICE, DTLS, SCTP. Returns when the channel is open on both sides.
    let call = pair.call().await?;
    println!("connected after {:?}", call.setup());

    for side in [Side::Offerer, Side::Answerer] {
        println!("\nthe {side}, on {}:", call.side(side).peer.stack());
        for (step, at) in call.side(side).peer.timeline().entries() {
            println!("  {:>10.2?}  {}", at - call.began, step.name());
        }
    }

    // A message each way.
    call.offerer.channel.send("Are you there?").await?;
    println!("\nthe answerer got {:?}", call.answerer.channel.recv().await);
    call.answerer.channel.send("Vis-à-vis.").await?;
    println!("the offerer got {:?}", call.offerer.channel.recv().await);

    // Hang Up: every socket and task of the call has ended when this returns. The pair can call again.
    pair.hang_up().await?;
    Ok(())
}
