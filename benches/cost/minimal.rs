//! The smallest call on one stack: two peers, one data channel, one message. `STACK` is replaced before it is built.

use visavis_core::{
    ChannelInit, IceMode, Message, PeerConfig, PeerConnection, PeerEvent, RealNet, Role, negotiate, signaling,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let stack = STACK::new();
    let offerer = PeerConnection::new(&stack, PeerConfig::loopback(), RealNet::shared()).await?;
    let answerer = PeerConnection::new(&stack, PeerConfig::loopback(), RealNet::shared()).await?;
    let mut events = answerer.events();
    let channel = offerer.create_data_channel(ChannelInit::new("chat")).await?;

    let (mut to_answerer, mut to_offerer) = signaling::in_memory();
    let (a, b) = (offerer.clone(), answerer.clone());
    tokio::spawn(async move { negotiate(&a, &mut to_answerer, Role::Impolite, IceMode::Trickle).await });
    tokio::spawn(async move { negotiate(&b, &mut to_offerer, Role::Polite, IceMode::Trickle).await });

    let theirs = loop {
        if let PeerEvent::DataChannel(theirs) = events.next().await.ok_or("closed")? {
            break theirs;
        }
    };
    channel.opened().await?;
    channel.send("hello").await?;
    if let Some(Message::Text(text)) = theirs.recv().await {
        println!("{text}");
    }
    offerer.close().await;
    answerer.close().await;
    Ok(())
}
