//! Two peer connections by hand: what `SamePage` does, on one stack.
//!
//! To call another machine, implement `Signaling` over whatever carries text.
//! `cargo run --example data_channel`

use std::error::Error;
use visavis_core::{
    ChannelInit, DataChannel, IceMode, Message, PeerConfig, PeerConnection, PeerEvent, PeerEvents, RealNet,
    Role, negotiate, signaling,
};
use visavis_str0m::Str0m;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let stack = Str0m::new();
    let offerer = PeerConnection::new(&stack, PeerConfig::loopback(), RealNet::shared()).await?;
    let answerer = PeerConnection::new(&stack, PeerConfig::loopback(), RealNet::shared()).await?;
    let incoming = answerer.events();

    // Asking for a channel makes negotiation needed; nothing is sent before `negotiate` runs.
    let channel = offerer.create_data_channel(ChannelInit::new("chat")).await?;

    // Each side negotiates for as long as it lives: offers, answers, candidates, glare.
    let (mut to_answerer, mut to_offerer) = signaling::in_memory();
    let (a, b) = (offerer.clone(), answerer.clone());
    let negotiations = [
        tokio::spawn(async move { negotiate(&a, &mut to_answerer, Role::Impolite, IceMode::Trickle).await }),
        tokio::spawn(async move { negotiate(&b, &mut to_offerer, Role::Polite, IceMode::Trickle).await }),
    ];

    let theirs = announced(incoming).await.ok_or("the answerer was closed")?;
    channel.opened().await?;
    for text in ["one", "two", "three"] {
        channel.send(text).await?; // waits while a megabyte is on its way
    }
    channel.send(vec![0xCA, 0xFE]).await?; // text and bytes are kept apart
    for _ in 0..4 {
        match theirs.recv().await.ok_or("the channel closed")? {
            Message::Text(text) => println!("text: {text}"),
            Message::Binary(bytes) => println!("bytes: {bytes:?}"),
        }
    }

    offerer.close().await;
    answerer.close().await;
    for negotiation in negotiations {
        negotiation.await??;
    }
    Ok(())
}

/// The first channel that the other side announces.
async fn announced(mut events: PeerEvents) -> Option<DataChannel> {
    loop {
        if let PeerEvent::DataChannel(channel) = events.next().await? {
            return Some(channel);
        }
    }
}
