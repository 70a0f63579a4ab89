//! What the documentation of a data channel promises, rule by rule.

use std::{collections::BTreeSet, time::Duration};
use tokio::time::timeout;
use visavis_core::{ChannelInit, ChannelState, ErrorKind, IceMode, Message, PeerEvent, Reliability, Side};
use visavis_tests::{
    CallSetup, World, connected, deadline, eventually, expect_kind, negotiators, pass_candidates,
    peers::{opened, recv},
    ping,
};

/// A new channel is connecting, without an id, and what was asked for; nothing is buffered, and a label may be had twice.
pub(super) async fn attributes(world: World) {
    let (a, _b) = world.peers().await;
    let plain = a.create_data_channel(ChannelInit::new("")).await.unwrap();
    assert_eq!((plain.label(), plain.init().protocol.as_str()), ("", ""));
    assert!(plain.init().ordered);
    assert_eq!(plain.init().reliability, Reliability::Reliable);
    assert_eq!(plain.id(), None, "the DTLS roles are not known yet");
    assert_eq!(plain.state(), ChannelState::Connecting);
    assert_eq!(plain.buffered_amount(), 0);
    deadline("nothing is buffered", plain.buffered_amount_low()).await;
    for _ in 0..2 {
        a.create_data_channel(ChannelInit::new("twice")).await.unwrap();
    }
    for id in [0, 1, 65_534] {
        let init = ChannelInit::new("agreed")
            .unordered()
            .max_retransmits(1)
            .negotiated(id);
        let channel = a.create_data_channel(init.clone()).await.unwrap();
        assert_eq!(channel.id(), Some(id));
        assert_eq!(channel.init(), &init);
        assert_eq!(channel.state(), ChannelState::Connecting);
    }
}

/// Labels and protocols of more than 65,535 bytes are refused, and bytes are counted, not characters.
pub(super) async fn too_long_names(world: World) {
    let (a, _b) = world.peers().await;
    for long in ["x".repeat(65_536), "µ".repeat(32_768)] {
        let protocol = ChannelInit {
            protocol: long.clone(),
            ..ChannelInit::new("p")
        };
        for init in [ChannelInit::new(long), protocol] {
            for init in [init.clone(), init.negotiated(42)] {
                let result = a.create_data_channel(init).await;
                expect_kind(result, ErrorKind::InvalidInput, "a name of 65,536 bytes");
            }
        }
    }
    assert!(!a.negotiation_needed(), "what was refused asks for nothing");
}

/// The longest label and protocol arrive as they are.
pub(super) async fn longest_names(world: World) {
    let mut call = world.call().await;
    for (label, protocol) in [("l", "p"), ("•", "€")] {
        let fill = |text: &str| text.repeat(65_535 / text.len());
        let init = ChannelInit {
            protocol: fill(protocol),
            ..ChannelInit::new(fill(label))
        };
        let ours = call.offerer.create_data_channel(init.clone()).await.unwrap();
        let theirs = call.answerer.log.channel().await;
        opened(&ours).await;
        opened(&theirs).await;
        assert!(theirs.init() == &init, "names of 65,535 bytes");
        ping(&ours, &theirs).await;
    }
    call.close().await;
}

/// Both sides open channels; the one that the answer makes the DTLS client has even ids, the other odd ones.
async fn ids(world: &World, answerer_is_client: bool) {
    let (a, b) = world.peers().await;
    let mut ours = vec![a.create_data_channel(ChannelInit::new("a0")).await.unwrap()];
    let mut theirs = vec![b.create_data_channel(ChannelInit::new("b0")).await.unwrap()];
    let mut offer = a.set_local_description(None).await.unwrap();
    assert!(offer.sdp.contains("a=setup:actpass\r\n"), "{}", offer.sdp);
    let (wish, role) = if answerer_is_client {
        ("a=setup:passive", "a=setup:active\r\n")
    } else {
        ("a=setup:active", "a=setup:passive\r\n")
    };
    offer.sdp = offer.sdp.replace("a=setup:actpass", wish);
    b.set_remote_description(offer).await.unwrap();
    let answer = b.set_local_description(None).await.unwrap();
    assert!(answer.sdp.contains(role), "to {wish}: {}", answer.sdp);
    a.set_remote_description(answer).await.unwrap();
    pass_candidates(&a, &b).await;
    connected(&a, &b).await;
    ours.push(a.create_data_channel(ChannelInit::new("a1")).await.unwrap());
    theirs.push(b.create_data_channel(ChannelInit::new("b1")).await.unwrap());
    for (channels, odd) in [(&ours, answerer_is_client), (&theirs, !answerer_is_client)] {
        let mut ids = BTreeSet::new();
        for channel in channels {
            opened(channel).await;
            let id = channel.id().expect("an open channel has an id");
            assert_eq!(id % 2 == 1, odd, "{} has id {id}, {role}", channel.label());
            ids.insert(id);
        }
        assert_eq!(ids.len(), channels.len(), "no id twice");
    }
    a.close().await;
    b.close().await;
}

/// The DTLS client announces channels with even ids, the server with odd ones (RFC 8832 §6).
pub(super) async fn ids_by_dtls_role(world: World) {
    ids(&world, true).await;
}

/// An offerer that says it is the DTLS client gets an answerer that is the server (RFC 8842 §5.3).
pub(super) async fn answerer_as_dtls_server(world: World) {
    ids(&world, false).await;
}

/// What is buffered is counted in bytes of UTF-8, from the moment of sending until it has left.
pub(super) async fn buffered_bytes(world: World) {
    let call = world.call().await;
    assert_eq!((call.a.buffered_amount(), call.b.buffered_amount()), (0, 0));
    // On one thread nothing leaves between these calls.
    call.a.try_send("世界你好").unwrap();
    assert_eq!(call.a.buffered_amount(), 12);
    call.a.try_send(vec![1; 5]).unwrap();
    assert_eq!(call.a.buffered_amount(), 17);
    call.a.try_send("").unwrap();
    assert_eq!(call.a.buffered_amount(), 17);
    deadline("all has left", call.a.buffered_amount_low()).await;
    assert_eq!(call.a.buffered_amount(), 0);
    for wanted in [Message::from("世界你好"), vec![1; 5].into(), "".into()] {
        assert_eq!(recv(&call.b).await, wanted);
    }
    // To close it does not take back what is buffered.
    call.a.try_send("hello").unwrap();
    call.a.close();
    assert_eq!(call.a.buffered_amount(), 5);
    assert_eq!(recv(&call.b).await, Message::from("hello"));
    deadline("closed", call.a.closed()).await;
    call.close().await;
}

/// The remote description says how long a message may be (RFC 8841 §6.1), and a later one can lower that.
pub(super) async fn remote_message_size(world: World) {
    let limit = |size: u32| format!("a=max-message-size:{size}\r\n");
    let absent = String::new();
    message_sizes(
        &world,
        &[(absent, 65_536), (limit(1_000), 1_000), (limit(0), 1_000)],
    )
    .await;
    message_sizes(&world, &[(limit(0), 262_144), (limit(300_000), 262_144)]).await;
}

/// One connection, and one exchange for each of these lines of an answer, with the limit that it means.
async fn message_sizes(world: &World, sizes: &[(String, u32)]) {
    let (a, mut b) = world.peers().await;
    let ours = a.create_data_channel(ChannelInit::new("t")).await.unwrap();
    let mut theirs = None;
    for (line, wanted) in sizes {
        let offer = a.set_local_description(None).await.unwrap();
        b.set_remote_description(offer).await.unwrap();
        let mut answer = b.set_local_description(None).await.unwrap();
        let from = answer.sdp.find("a=max-message-size:").expect("a limit");
        let to = from + answer.sdp[from..].find('\n').expect("a line") + 1;
        answer.sdp.replace_range(from..to, line);
        a.set_remote_description(answer).await.unwrap();
        if theirs.is_none() {
            pass_candidates(&a, &b).await;
            connected(&a, &b).await;
            opened(&ours).await;
            theirs = Some(b.log.channel().await);
        }
        let theirs = theirs.as_ref().unwrap();
        assert_eq!(ours.max_message_size(), *wanted, "{line:?}");
        let longest = vec![7; *wanted as usize];
        ours.send(longest.clone()).await.unwrap();
        assert!(recv(theirs).await == Message::from(longest));
        let more = ours.send(vec![7; *wanted as usize + 1]).await;
        expect_kind(more, ErrorKind::MessageTooLarge, "one byte more");
        ping(&ours, theirs).await;
    }
    a.close().await;
    b.close().await;
}

/// One channel closes and the others go on, in both directions.
pub(super) async fn one_of_many_closed(world: World) {
    let mut call = world.call().await;
    let mut pairs = Vec::new();
    for n in 0..4 {
        let ours = call
            .offerer
            .create_data_channel(ChannelInit::new(format!("{n}")))
            .await
            .unwrap();
        let theirs = call.answerer.log.channel().await;
        opened(&ours).await;
        opened(&theirs).await;
        pairs.push((ours, theirs));
    }
    while let Some((ours, theirs)) = pairs.pop() {
        let (first, second) = if pairs.len() % 2 == 0 {
            (&ours, &theirs)
        } else {
            (&theirs, &ours)
        };
        first.close();
        deadline("closed there", second.closed()).await;
        deadline("closed", first.closed()).await;
        for (ours, theirs) in &pairs {
            ping(ours, theirs).await;
        }
        ping(&call.a, &call.b).await;
    }
    call.close().await;
}

/// Dropping the last handle of a channel does not close it: the other side still sends.
pub(super) async fn handle_dropped(world: World) {
    let mut call = world.call().await;
    let ours = call
        .offerer
        .create_data_channel(ChannelInit::new("dropped"))
        .await
        .unwrap();
    let theirs = call.answerer.log.channel().await;
    opened(&ours).await;
    opened(&theirs).await;
    drop(ours);
    ping(&call.a, &call.b).await;
    theirs.send("is anybody there?").await.unwrap();
    deadline("it has left", theirs.buffered_amount_low()).await;
    ping(&call.a, &call.b).await;
    assert_eq!(theirs.state(), ChannelState::Open);
    call.close().await;
}

/// A dropped `recv` has taken nothing and a dropped `send` has sent nothing; of several readers one gets each message.
pub(super) async fn dropped_futures(world: World) {
    const N: u32 = 300;
    let call = world.call().await;
    let (to, moment) = (call.b.clone(), Duration::from_micros(200));
    let reader = |channel: visavis_core::DataChannel| async move {
        let mut got = Vec::new();
        loop {
            match timeout(moment, channel.recv()).await {
                Err(_) => {}
                Ok(None) => return got,
                Ok(Some(message)) => {
                    got.push(u32::from_be_bytes(message.as_bytes()[..4].try_into().unwrap()));
                }
            }
        }
    };
    let (one, other) = (tokio::spawn(reader(to.clone())), tokio::spawn(reader(to.clone())));
    let mut sent = 0;
    while sent < N {
        let mut message = vec![0; 60_000];
        message[..4].copy_from_slice(&sent.to_be_bytes());
        if timeout(moment, call.a.send(message))
            .await
            .is_ok_and(|sent| sent.is_ok())
        {
            sent += 1;
        }
    }
    call.a.close();
    let one = deadline("a reader", one).await.unwrap();
    let other = deadline("the other reader", other).await.unwrap();
    assert!(one.is_sorted() && other.is_sorted(), "each reader sees the order");
    let mut all = [one, other].concat();
    all.sort_unstable();
    assert!(all == (0..N).collect::<Vec<_>>(), "each message once: {all:?}");
    assert_eq!(call.a.stats().messages_sent, u64::from(N));
    call.close().await;
}

/// Whoever waits on a channel hears of its end: for its opening, its room, its messages, its buffer.
pub(super) async fn waits_end(world: World) {
    let (a, _b) = world.peers().await;
    let never = a.create_data_channel(ChannelInit::new("never")).await.unwrap();
    let waits = {
        let never = never.clone();
        tokio::spawn(async move { tokio::join!(never.opened(), never.recv(), never.closed()).0 })
    };
    tokio::task::yield_now().await;
    a.close().await;
    let opened = deadline("the waits on a channel that never opened", waits)
        .await
        .unwrap();
    expect_kind(opened, ErrorKind::Closed, "opened");
    assert_eq!(never.state(), ChannelState::Closed);

    let call = world.call().await;
    // Nobody reads, so the queue fills.
    while call.a.try_send(vec![0; 60_000]).is_ok() {}
    let waits = {
        let a = call.a.clone();
        tokio::spawn(async move { tokio::join!(a.send(vec![0; 1_000]), a.buffered_amount_low(), a.recv()).0 })
    };
    tokio::task::yield_now().await;
    call.offerer.close().await;
    let late = deadline("the waits on a full channel", waits).await.unwrap();
    // On more than one thread room may have come before the end.
    if world.is_memory() {
        expect_kind(late, ErrorKind::InvalidState, "send");
    }
    call.close().await;
}

/// What gives up a message: sent into a path that is gone for 3 s.
async fn given_up(world: &World, channel: ChannelInit) {
    let reliable = channel.reliability == Reliability::Reliable;
    let call = world
        .call_with(CallSetup {
            channel,
            ..CallSetup::default()
        })
        .await;
    ping(&call.a, &call.b).await;
    world.memory().set_blocked(true);
    for n in 0..20 {
        call.a.send(format!("lost {n}")).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    world.memory().set_blocked(false);
    call.a.send("after").await.unwrap();
    let mut lost = 0;
    while recv(&call.b).await != Message::from("after") {
        lost += 1;
    }
    assert_eq!(
        lost,
        if reliable { 20 } else { 0 },
        "messages of the time without a path"
    );
    // And the channel is as good as before.
    ping(&call.a, &call.b).await;
    call.close().await;
}

/// A path is gone for 3 s: a channel that sends nothing again gives up what was sent then, a reliable one does not.
pub(super) async fn given_up_by_retransmits(world: World) {
    given_up(&world, ChannelInit::new("reliable")).await;
    given_up(&world, ChannelInit::new("r").max_retransmits(0)).await;
}

/// A path is gone for 3 s: a channel whose messages live for 500 ms gives up what was sent then.
pub(super) async fn given_up_by_life_time(world: World) {
    given_up(
        &world,
        ChannelInit::new("l").max_packet_life_time(Duration::from_millis(500)),
    )
    .await;
}

/// A channel is announced before any of its messages, and once; one that was agreed on is not announced.
pub(super) async fn announced_once(world: World) {
    let (a, mut b) = world.peers().await;
    let ours = a.create_data_channel(ChannelInit::new("first")).await.unwrap();
    let agreed = ChannelInit::new("agreed").negotiated(100);
    let at_a = a.create_data_channel(agreed.clone()).await.unwrap();
    let at_b = b.create_data_channel(agreed).await.unwrap();
    let _negotiators = negotiators(&a, &b, IceMode::Trickle, Duration::ZERO);
    opened(&ours).await;
    ours.send("with the announcement").await.unwrap();
    let theirs = b.log.channel().await;
    assert_eq!(recv(&theirs).await, Message::from("with the announcement"));
    ping(&at_a, &at_b).await;
    theirs.close();
    deadline("closed", ours.closed()).await;
    deadline("closed there", theirs.closed()).await;
    ping(&at_a, &at_b).await;
    b.log.drain().await;
    let labels = b.log.pick(|e| match e {
        PeerEvent::DataChannel(channel) => Some(channel.label().to_owned()),
        _ => None,
    });
    assert_eq!(labels, ["first"]);
}

/// Sent in the moment of opening on each side: all of it arrives, in order.
pub(super) async fn sent_at_the_opening(world: World) {
    let mut call = world.call().await;
    for round in 0..10 {
        let by = if round % 2 == 0 {
            Side::Offerer
        } else {
            Side::Answerer
        };
        let ours = call
            .side(by)
            .0
            .create_data_channel(ChannelInit::new("now"))
            .await
            .unwrap();
        opened(&ours).await;
        for n in 0..20 {
            ours.send(format!("{n}")).await.unwrap();
        }
        let other = if round % 2 == 0 {
            Side::Answerer
        } else {
            Side::Offerer
        };
        let theirs = call.side(other).0.log.channel().await;
        opened(&theirs).await;
        theirs.send("back").await.unwrap();
        for n in 0..20 {
            assert_eq!(recv(&theirs).await, Message::from(format!("{n}")));
        }
        assert_eq!(recv(&ours).await, Message::from("back"));
    }
    eventually("nothing is buffered", || call.a.buffered_amount() == 0).await;
    call.close().await;
}
