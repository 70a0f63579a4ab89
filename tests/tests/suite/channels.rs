//! Data channels of each kind, their content and their order.

use std::{collections::BTreeSet, time::Duration};
use visavis_core::{
    ChannelInit, ChannelState, DataChannel, ErrorKind, MAX_MESSAGE_SIZE, Message, Reliability,
    channel::SEND_HIGH_WATER,
};
use visavis_tests::{
    Call, CallSetup, World, connected, deadline, expect_kind, negotiators,
    peers::{opened, recv},
    ping,
};

/// Messages of every sort and size, each unlike the others.
fn messages() -> Vec<Message> {
    let pattern = |n: usize| Message::from((0..n).map(|i| (i * 31 + n) as u8).collect::<Vec<_>>());
    let text = |n: usize| Message::from("äöü€𝄞".chars().cycle().take(n).collect::<String>());
    vec![
        "hello".into(),
        pattern(3),
        "".into(),
        pattern(0),
        text(1),
        "with \0 a NUL and \r\n".into(),
        pattern(1),
        pattern(1_199),
        pattern(1_200),
        pattern(16 * 1024),
        text(20_000),
        pattern(65_535),
        pattern(65_536),
        pattern(65_537),
        pattern(MAX_MESSAGE_SIZE as usize - 1),
        pattern(MAX_MESSAGE_SIZE as usize),
        "x".repeat(MAX_MESSAGE_SIZE as usize).into(),
        "".into(),
        "bye".into(),
    ]
}

async fn send_all(channel: &DataChannel, messages: &[Message]) {
    for message in messages {
        deadline("room to send", channel.send(message.clone()))
            .await
            .unwrap();
    }
}

async fn recv_n(channel: &DataChannel, n: usize) -> Vec<Message> {
    let mut received = Vec::new();
    while received.len() < n {
        received.push(recv(channel).await);
    }
    received
}

/// Text and bytes of every size up to the largest, empty ones too, arrive whole and in order; one byte more is
/// refused.
pub(super) async fn ordered(world: World) {
    let call = world.call().await;
    let wanted = messages();
    for (from, to) in [(&call.a, &call.b), (&call.b, &call.a)] {
        let ((), received) = tokio::join!(send_all(from, &wanted), recv_n(to, wanted.len()));
        for (i, (received, wanted)) in received.iter().zip(&wanted).enumerate() {
            assert!(received == wanted, "message {i}: {received:?} for {wanted:?}");
        }
        let too_large = vec![0_u8; MAX_MESSAGE_SIZE as usize + 1];
        let text = expect_kind(
            from.send(too_large.clone()).await,
            ErrorKind::MessageTooLarge,
            "send",
        );
        assert!(text.contains("262145") && text.contains("262144"), "{text}");
        expect_kind(from.try_send(too_large), ErrorKind::MessageTooLarge, "try_send");
        let bytes: usize = wanted.iter().map(Message::len).sum();
        assert_eq!(from.stats().messages_sent, wanted.len() as u64);
        assert_eq!(from.stats().bytes_sent, bytes as u64);
        assert_eq!(to.stats().messages_received, wanted.len() as u64);
        assert_eq!(to.stats().bytes_received, bytes as u64);
    }
    // A message that was too large has cost nothing.
    ping(&call.a, &call.b).await;
    call.close().await;
}

/// A hundred messages each way over a channel of this kind, all of which arrive on a path without loss.
async fn kind(world: World, channel: ChannelInit, in_order: bool) {
    let call = world
        .call_with(CallSetup {
            channel: channel.clone(),
            ..CallSetup::default()
        })
        .await;
    assert_eq!(call.a.init(), &channel);
    assert_eq!(call.b.init().ordered, channel.ordered);
    let wanted: Vec<Message> = (0..100_u32)
        .map(|i| match i % 3 {
            0 => format!("text {i}").into(),
            1 => i.to_be_bytes().to_vec().into(),
            _ => i.to_be_bytes().repeat(1_000).into(),
        })
        .collect();
    for (from, to) in [(&call.a, &call.b), (&call.b, &call.a)] {
        let ((), received) = tokio::join!(send_all(from, &wanted), recv_n(to, wanted.len()));
        if in_order {
            assert!(received == wanted, "out of order");
        } else {
            let set = |messages: &[Message]| -> BTreeSet<_> {
                let key = |m: &Message| (m.as_text().is_some(), m.as_bytes().to_vec());
                messages.iter().map(key).collect()
            };
            assert!(set(&received) == set(&wanted), "something is lost");
        }
    }
    call.close().await;
}

/// An unordered channel loses nothing on a path without loss.
pub(super) async fn unordered(world: World) {
    kind(world, ChannelInit::new("u").unordered(), false).await;
}

/// Neither do channels with a limit of retransmissions.
pub(super) async fn max_retransmits(world: World) {
    kind(world.clone(), ChannelInit::new("r").max_retransmits(3), true).await;
    kind(world, ChannelInit::new("r").unordered().max_retransmits(0), false).await;
}

/// Neither do channels with a limit of time.
pub(super) async fn max_packet_life_time(world: World) {
    let time = Duration::from_secs(5);
    kind(
        world.clone(),
        ChannelInit::new("l").max_packet_life_time(time),
        true,
    )
    .await;
    kind(
        world,
        ChannelInit::new("l").unordered().max_packet_life_time(time),
        false,
    )
    .await;
}

/// Channels with an id that was agreed on open without an announcement, before and in the call; an id in use is
/// refused.
pub(super) async fn negotiated(world: World) {
    let (a, mut b) = world.peers().await;
    let init = |id| ChannelInit::new(format!("id {id}")).negotiated(id);
    let mut ours = vec![a.create_data_channel(init(7)).await.unwrap()];
    let mut theirs = vec![b.create_data_channel(init(7)).await.unwrap()];
    for peer in [&a, &b] {
        let text = expect_kind(
            peer.create_data_channel(init(7)).await,
            ErrorKind::InvalidInput,
            "an id twice",
        );
        assert!(text.contains("stream id 7 is in use"), "{text}");
        expect_kind(
            peer.create_data_channel(init(65_535)).await,
            ErrorKind::InvalidInput,
            "the reserved id",
        );
    }
    let _negotiators = negotiators(&a, &b, visavis_core::IceMode::Trickle, Duration::ZERO);
    connected(&a, &b).await;
    opened(&ours[0]).await;
    opened(&theirs[0]).await;
    // And when the connection is up, on both kinds of id, next to a channel announced in-band.
    for id in [8, 101, 1_000] {
        ours.push(a.create_data_channel(init(id)).await.unwrap());
        theirs.push(b.create_data_channel(init(id)).await.unwrap());
    }
    let in_band = b.create_data_channel(ChannelInit::new("in-band")).await.unwrap();
    opened(&in_band).await;
    for (ours, theirs) in ours.iter().zip(&theirs) {
        opened(ours).await;
        opened(theirs).await;
        assert_eq!(ours.id(), ours.init().negotiated);
        assert_eq!(ours.id(), theirs.id());
        ping(ours, theirs).await;
    }
    let id = in_band.id().expect("an open channel has an id");
    expect_kind(
        b.create_data_channel(init(id)).await,
        ErrorKind::InvalidInput,
        "the id of a channel announced in-band",
    );
    b.log.drain().await;
    let announced = b
        .log
        .pick(|e| matches!(e, visavis_core::PeerEvent::DataChannel(_)).then_some(()));
    assert!(announced.is_empty(), "negotiated channels are not announced");
}

/// Label, protocol and order arrive as they were asked for; what cannot be is refused.
pub(super) async fn parameters_arrive(world: World) {
    let mut call = world.call().await;
    let ms = Duration::from_millis;
    let inits = [
        ChannelInit::new(""),
        ChannelInit::new("grüße 🌍"),
        ChannelInit::new("x".repeat(1_000)),
        ChannelInit {
            protocol: "visavis.v1+json".into(),
            ..ChannelInit::new("protocol")
        },
        ChannelInit::new("unordered").unordered(),
    ];
    announced(&mut call, inits).await;
    for bad in [
        ChannelInit::new("x".repeat(65_536)),
        ChannelInit::new("zero").max_packet_life_time(Duration::ZERO),
        ChannelInit::new("long").max_packet_life_time(ms(65_536)),
    ] {
        let result = call.offerer.create_data_channel(bad).await;
        expect_kind(result, ErrorKind::InvalidInput, "parameters that cannot be");
    }
    ping(&call.a, &call.b).await;
    call.close().await;
}

/// The limits of retransmissions and of time arrive as they were asked for.
pub(super) async fn reliability_arrives(world: World) {
    let mut call = world.call().await;
    let ms = Duration::from_millis;
    let inits = [
        ChannelInit::new("retransmits 0").max_retransmits(0),
        ChannelInit::new("retransmits 65535")
            .unordered()
            .max_retransmits(65_535),
        ChannelInit::new("life 1").max_packet_life_time(ms(1)),
        ChannelInit::new("life 65535")
            .unordered()
            .max_packet_life_time(ms(65_535)),
    ];
    announced(&mut call, inits).await;
    call.close().await;
}

/// Opens these, and checks that the other side is told what they are.
async fn announced(call: &mut Call, inits: impl IntoIterator<Item = ChannelInit>) {
    for init in inits {
        let ours = call.offerer.create_data_channel(init.clone()).await.unwrap();
        let theirs = call.answerer.log.channel().await;
        opened(&ours).await;
        opened(&theirs).await;
        assert_eq!(theirs.init(), &init);
        assert_eq!(ours.init(), &init);
        assert_eq!(ours.id(), theirs.id());
        assert!(ours.id().is_some());
        if init.reliability == Reliability::Reliable {
            ping(&ours, &theirs).await;
        }
    }
}

/// Either side opens channels in the call, and nothing is negotiated for them.
pub(super) async fn opened_later_by_either_side(world: World) {
    let mut call = world.call().await;
    for round in 0..3 {
        let label = format!("offerer {round}");
        let ours = call
            .offerer
            .create_data_channel(ChannelInit::new(&label))
            .await
            .unwrap();
        let theirs = call.answerer.log.channel().await;
        assert_eq!(theirs.label(), label);
        opened(&ours).await;
        opened(&theirs).await;
        ping(&ours, &theirs).await;

        let label = format!("answerer {round}");
        let ours = call
            .answerer
            .create_data_channel(ChannelInit::new(&label))
            .await
            .unwrap();
        let theirs = call.offerer.log.channel().await;
        assert_eq!(theirs.label(), label);
        opened(&ours).await;
        opened(&theirs).await;
        ping(&ours, &theirs).await;
    }
    ping(&call.a, &call.b).await;
    assert!(
        !call.offerer.negotiation_needed(),
        "a second channel needs no offer"
    );
    call.close().await;
}

/// 50 channels a side at once, each with an id of its own.
pub(super) async fn many(world: World) {
    const N: usize = 50;
    let mut call = world.call().await;
    let mut ours = Vec::new();
    for i in 0..N {
        let from_a = ChannelInit::new(format!("a{i}"));
        let from_b = ChannelInit::new(format!("b{i}"));
        ours.push(call.offerer.create_data_channel(from_a).await.unwrap());
        ours.push(call.answerer.create_data_channel(from_b).await.unwrap());
    }
    let mut theirs = Vec::new();
    for _ in 0..N {
        theirs.push(call.answerer.log.channel().await);
        theirs.push(call.offerer.log.channel().await);
    }
    for channel in &ours {
        opened(channel).await;
        channel.send(format!("on {}", channel.label())).await.unwrap();
    }
    let ids: BTreeSet<_> = ours.iter().map(DataChannel::id).collect();
    assert_eq!(ids.len(), 2 * N, "every channel has an id of its own");
    for channel in &theirs {
        assert_eq!(
            recv(channel).await,
            Message::from(format!("on {}", channel.label()))
        );
    }
    let labels = |channels: &[DataChannel]| -> BTreeSet<_> {
        channels.iter().map(|c| (c.label().to_owned(), c.id())).collect()
    };
    assert_eq!(labels(&ours), labels(&theirs));
    let stats = call.offerer.stats().await.unwrap();
    assert_eq!(stats.channels.len(), 2 * N + 1);
    call.close().await;
}

/// Closes `from` right after sending: everything arrives, then the end.
async fn close_after_sending(from: &DataChannel, to: &DataChannel) {
    const N: usize = 100;
    for i in 0..N {
        let mut message = vec![i as u8; 10_000];
        message[0] = 1;
        from.send(message).await.unwrap();
    }
    from.close();
    assert!(matches!(
        from.state(),
        ChannelState::Closing | ChannelState::Closed
    ));
    expect_kind(
        from.send("late").await,
        ErrorKind::InvalidState,
        "send after close",
    );
    for i in 0..N {
        let message = recv(to).await;
        assert_eq!((message.len(), message.as_bytes()[9_999]), (10_000, i as u8));
    }
    assert_eq!(deadline("the end of the channel", to.recv()).await, None);
    deadline("closed", from.closed()).await;
    deadline("closed there", to.closed()).await;
    assert_eq!(from.stats().messages_dropped, 0);
    expect_kind(
        to.send("late").await,
        ErrorKind::InvalidState,
        "send on a closed channel",
    );
    assert_eq!(deadline("no more", from.recv()).await, None);
}

/// Closed by who opened it: what was sent arrives, then the end, and the id can be used again.
pub(super) async fn closed_by_the_opener(world: World) {
    let mut call = world.call().await;
    close_after_sending(&call.a, &call.b).await;
    // Its id may be used again.
    for _ in 0..3 {
        let ours = call
            .offerer
            .create_data_channel(ChannelInit::new("next"))
            .await
            .unwrap();
        let theirs = call.answerer.log.channel().await;
        opened(&ours).await;
        opened(&theirs).await;
        ping(&ours, &theirs).await;
        close_after_sending(&ours, &theirs).await;
    }
    call.close().await;
}

/// Closed by who did not open it, and by both at once.
pub(super) async fn closed_by_the_other(world: World) {
    let mut call = world.call().await;
    close_after_sending(&call.b, &call.a).await;
    let ours = call
        .answerer
        .create_data_channel(ChannelInit::new("next"))
        .await
        .unwrap();
    let theirs = call.offerer.log.channel().await;
    opened(&ours).await;
    opened(&theirs).await;
    // Both at once.
    ours.close();
    theirs.close();
    deadline("closed", ours.closed()).await;
    deadline("closed there", theirs.closed()).await;
    call.close().await;
}

/// A channel that is closed before the call never opens, and takes none with it.
pub(super) async fn closed_before_open(world: World) {
    let (a, mut b) = world.peers().await;
    let dead = a.create_data_channel(ChannelInit::new("dead")).await.unwrap();
    let live = a.create_data_channel(ChannelInit::new("live")).await.unwrap();
    dead.close();
    let _negotiators = negotiators(&a, &b, visavis_core::IceMode::Trickle, Duration::ZERO);
    opened(&live).await;
    let mut theirs = b.log.channel().await;
    if theirs.label() == "dead" {
        deadline("closed there", theirs.closed()).await;
        theirs = b.log.channel().await;
    }
    assert_eq!(theirs.label(), "live");
    ping(&live, &theirs).await;
    deadline("closed", dead.closed()).await;
    expect_kind(
        deadline("opened", dead.opened()).await,
        ErrorKind::Closed,
        "a channel closed early never opens",
    );
}

/// Messages wait for an application that looks for the channel later.
pub(super) async fn kept_until_read(world: World) {
    let mut call = world.call().await;
    let ours = call
        .offerer
        .create_data_channel(ChannelInit::new("early"))
        .await
        .unwrap();
    opened(&ours).await;
    for i in 0..20 {
        ours.send(format!("{i}")).await.unwrap();
    }
    ping(&call.a, &call.b).await;
    deadline("drained", ours.buffered_amount_low()).await;
    // Nobody on the other side has looked for the channel until now.
    let theirs = call.answerer.log.channel().await;
    for i in 0..20 {
        assert_eq!(recv(&theirs).await, Message::from(format!("{i}")));
    }
    call.close().await;
}

/// Whoever waits for room is woken when no more than the threshold is buffered.
pub(super) async fn low_threshold(world: World) {
    const LOW: usize = 64 * 1024;
    let call = world.call().await;
    assert_eq!(call.a.buffered_amount(), 0);
    deadline("low at once", call.a.buffered_amount_low()).await;
    for _ in 0..14 {
        call.a.send(vec![7; 64 * 1024]).await.unwrap();
    }
    call.a.set_buffered_amount_low_threshold(LOW);
    let reader = async {
        for _ in 0..14 {
            assert_eq!(recv(&call.b).await.len(), 64 * 1024);
        }
    };
    let writer = async {
        deadline("buffered amount low", call.a.buffered_amount_low()).await;
        let buffered = call.a.buffered_amount();
        assert!(buffered <= LOW, "{buffered} bytes are buffered");
        call.a.set_buffered_amount_low_threshold(0);
        deadline("buffered amount 0", call.a.buffered_amount_low()).await;
        assert_eq!(call.a.buffered_amount(), 0);
    };
    tokio::join!(reader, writer);
    call.close().await;
}

/// `try_send` refuses while a full queue waits, and loses nothing.
pub(super) async fn would_block(world: World) {
    const SIZE: usize = 60_000;
    let call = world.call().await;
    let mut sent = 0_u32;
    for round in 1..=3 {
        // Nothing is awaited in between, so on one thread the stack takes nothing away.
        let refused = loop {
            let mut message = vec![0_u8; SIZE];
            message[..4].copy_from_slice(&sent.to_be_bytes());
            match call.a.try_send(message) {
                Ok(()) => sent += 1,
                Err(error) => break error,
            }
            assert!(call.a.buffered_amount() < SEND_HIGH_WATER + SIZE);
            tokio::task::yield_now().await;
            assert!(sent < 10_000, "back-pressure never comes");
        };
        assert_eq!(refused.kind(), ErrorKind::WouldBlock, "{refused}");
        assert!(call.a.buffered_amount() >= SEND_HIGH_WATER);
        while u64::from(sent) > call.b.stats().messages_received || call.b.stats().messages_received == 0 {
            let Some(message) = deadline("a message", call.b.recv()).await else {
                panic!("closed");
            };
            assert_eq!(message.len(), SIZE);
        }
        deadline("drained", call.a.buffered_amount_low()).await;
        call.a.try_send(format!("round {round}")).unwrap();
        loop {
            match recv(&call.b).await {
                Message::Text(text) => {
                    assert_eq!(text, format!("round {round}"));
                    break;
                }
                Message::Binary(message) => assert_eq!(message.len(), SIZE),
            }
        }
        sent += 1;
        assert_eq!(call.b.stats().messages_received, u64::from(sent));
    }
    call.close().await;
}

/// Sending is refused before a channel is open and after it is closed, in words that say so.
pub(super) async fn states_of_a_channel(world: World) {
    let (a, mut b) = world.peers().await;
    let ours = a.create_data_channel(ChannelInit::new("t")).await.unwrap();
    assert_eq!(ours.state(), ChannelState::Connecting);
    assert_eq!(ours.id(), None);
    let early = expect_kind(
        ours.send("early").await,
        ErrorKind::InvalidState,
        "send before open",
    );
    let _negotiators = negotiators(&a, &b, visavis_core::IceMode::Trickle, Duration::ZERO);
    opened(&ours).await;
    let theirs = b.log.channel().await;
    opened(&theirs).await;
    assert_eq!(ours.state(), ChannelState::Open);
    assert_eq!(recv_after_ping(&ours, &theirs).await, ());
    ours.close();
    deadline("closed", ours.closed()).await;
    assert_eq!(ours.state(), ChannelState::Closed);
    ours.close();
    assert_eq!(ours.state(), ChannelState::Closed);
    let late = expect_kind(
        ours.send("late").await,
        ErrorKind::InvalidState,
        "send after close",
    );
    assert_eq!(
        early,
        "send: the state is connecting; a data channel sends only while it is open"
    );
    assert_eq!(
        late,
        "send: the state is closed; a data channel sends only while it is open"
    );
    assert_eq!(ours.stats().messages_sent, 1, "what was refused is not counted");
}

/// The early message was refused, so the first that arrives is this one.
async fn recv_after_ping(ours: &DataChannel, theirs: &DataChannel) {
    ping(ours, theirs).await;
}

/// Channels close with the connection, and what had arrived can still be read.
pub(super) async fn closed_with_the_connection(world: World) {
    let call = world.call().await;
    call.a.send("last words").await.unwrap();
    assert_eq!(recv(&call.b).await, Message::from("last words"));
    call.b.send("unread").await.unwrap();
    deadline("delivered", async {
        while call.a.stats().messages_received == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    call.offerer.close().await;
    assert_eq!(call.a.state(), ChannelState::Closed);
    // What had arrived is still there.
    assert_eq!(
        deadline("what arrived", call.a.recv()).await,
        Some(Message::from("unread"))
    );
    assert_eq!(deadline("the end", call.a.recv()).await, None);
    deadline("closed there", call.b.closed()).await;
    assert_eq!(deadline("the end there", call.b.recv()).await, None);
}
