//! The engine against itself, without core's peer connection: two hosts of a simulated network in virtual time.

mod frames;

use crate::WebrtcRs;
use std::{net::IpAddr, sync::Arc, time::Duration};
use tokio::{
    sync::mpsc::UnboundedReceiver,
    time::{Instant, timeout},
};
use visavis_core::{
    Backend, Candidate, ChannelInit, ChannelState, DataChannel, Direction, DtlsState, Engine, EngineConfig,
    EngineEvent, EventSink, IceState, MLine, MediaKind, MemoryNetwork, Message, Net, RealNet, Sdp,
};

const LIMIT: Duration = Duration::from_secs(60);

struct Side {
    engine: Box<dyn Engine>,
    sink: EventSink,
    events: UnboundedReceiver<EngineEvent>,
    channels: Vec<DataChannel>,
    ice: Vec<IceState>,
    dtls: Vec<DtlsState>,
    failed: bool,
    /// Candidates for the other side, until it has a description that they belong to.
    candidates: Vec<Candidate>,
}

impl Side {
    async fn new(net: Arc<dyn Net>, ip: IpAddr) -> Self {
        let (sink, events) = EventSink::detached();
        let config = EngineConfig {
            bind: vec![(ip, 0).into()],
            disconnected_after: Duration::from_secs(5),
            name: ip.to_string(),
        };
        Self {
            engine: WebrtcRs::new().engine(config, net, sink.clone()).await.unwrap(),
            sink,
            events,
            channels: Vec::new(),
            ice: Vec::new(),
            dtls: Vec::new(),
            failed: false,
            candidates: Vec::new(),
        }
    }

    fn open(&mut self, init: ChannelInit) -> DataChannel {
        let (channel, port) = self.sink.channel(init);
        self.engine.open_channel(port).unwrap();
        channel
    }

    fn take(&mut self, event: EngineEvent) {
        match event {
            EngineEvent::Candidate(candidate) => self.candidates.push(candidate),
            EngineEvent::Ice(state) => self.ice.push(state),
            EngineEvent::Dtls(state) => self.dtls.push(state),
            EngineEvent::Channel(channel) => self.channels.push(channel),
            EngineEvent::Failed(_) => self.failed = true,
            EngineEvent::GatheringComplete => {}
        }
    }
}

struct Pair {
    a: Side,
    b: Side,
}

impl Pair {
    async fn on(network: &MemoryNetwork, last: u8) -> Self {
        let (a, b) = (IpAddr::from([127, 0, last, 1]), IpAddr::from([127, 0, last, 2]));
        Self {
            a: Side::new(network.host([a]), a).await,
            b: Side::new(network.host([b]), b).await,
        }
    }

    async fn real() -> Self {
        let ip = IpAddr::from([127, 0, 0, 1]);
        Self {
            a: Side::new(RealNet::shared(), ip).await,
            b: Side::new(RealNet::shared(), ip).await,
        }
    }

    /// Offer and answer, `a` offering if `forth`.
    async fn negotiate(&mut self, forth: bool, want: &[MLine], ice_restart: bool) -> (Sdp, Sdp) {
        let (from, to) = if forth {
            (&mut self.a, &mut self.b)
        } else {
            (&mut self.b, &mut self.a)
        };
        let mut offer = from.engine.make_offer(want, ice_restart).await.unwrap();
        offer.check().unwrap();
        offer.take_candidates();
        from.engine.commit_offer().await.unwrap();
        let theirs: Vec<_> = offer
            .sections()
            .map(|s| MLine {
                kind: s.kind().unwrap(),
                mid: s.mid().map(str::to_owned),
                direction: s.direction().reversed(),
                track: None,
            })
            .collect();
        let mut answer = to.engine.answer(&offer, &theirs).await.unwrap();
        answer.check().unwrap();
        answer.check_answers(&offer).unwrap();
        answer.take_candidates();
        to.engine.commit_answer().await.unwrap();
        from.engine.apply_answer(&answer).await.unwrap();
        (offer, answer)
    }

    /// Exchanges candidates and takes events until `done`.
    async fn until(&mut self, what: &str, mut done: impl FnMut(&mut Side, &mut Side) -> bool) {
        let all = async {
            while !done(&mut self.a, &mut self.b) {
                tokio::select! {
                    biased;
                    Some(event) = self.a.events.recv() => self.a.take(event),
                    Some(event) = self.b.events.recv() => self.b.take(event),
                    () = tokio::time::sleep(Duration::from_millis(1)) => {}
                }
                for candidate in self.a.candidates.drain(..) {
                    self.b.engine.add_candidate(&candidate).await.unwrap();
                }
                for candidate in self.b.candidates.drain(..) {
                    self.a.engine.add_candidate(&candidate).await.unwrap();
                }
            }
        };
        timeout(LIMIT, all)
            .await
            .unwrap_or_else(|_| panic!("not in time: {what}"));
    }

    /// A call with one channel, open on both sides; the channel's ends and the time it took.
    async fn call(&mut self, init: ChannelInit) -> (DataChannel, DataChannel, Duration) {
        let start = Instant::now();
        let near = self.a.open(init);
        self.negotiate(true, &[application(None)], false).await;
        let channel = near.clone();
        self.until("open", |_, b| {
            channel.state() == ChannelState::Open
                && b.channels
                    .first()
                    .is_some_and(|c| c.state() == ChannelState::Open)
        })
        .await;
        let far = self.b.channels.remove(0);
        (near, far, start.elapsed())
    }

    async fn close(mut self) {
        self.a.engine.close().await;
        self.b.engine.close().await;
    }
}

fn application(mid: Option<&str>) -> MLine {
    MLine {
        kind: MediaKind::Application,
        mid: mid.map(str::to_owned),
        direction: Direction::SendRecv,
        track: None,
    }
}

fn media(kind: MediaKind, mid: Option<&str>, direction: Direction) -> MLine {
    MLine {
        kind,
        mid: mid.map(str::to_owned),
        direction,
        track: None,
    }
}

async fn recv(channel: &DataChannel) -> Message {
    timeout(LIMIT, channel.recv())
        .await
        .expect("a message in time")
        .expect("an open channel")
}

async fn echo(near: &DataChannel, far: &DataChannel) {
    for message in [
        Message::from("text"),
        Message::from(""),
        Message::from(vec![1_u8, 2, 3]),
        Message::from(Vec::new()),
    ] {
        near.send(message.clone()).await.unwrap();
        assert_eq!(recv(far).await, message);
        far.send(message.clone()).await.unwrap();
        assert_eq!(recv(near).await, message);
    }
}

#[tokio::test(start_paused = true)]
async fn opens_a_channel_in_few_round_trips() {
    for (last, delay, most) in [(10, 0, 25), (11, 25, 450), (12, 150, 2_700)] {
        let network = MemoryNetwork::new(Duration::from_millis(delay));
        let mut pair = Pair::on(&network, last).await;
        let (near, far, took) = pair.call(ChannelInit::new("c")).await;
        println!("one way {delay} ms: open after {} ms", took.as_millis());
        assert!(took <= Duration::from_millis(most), "{took:?} at {delay} ms");
        assert_eq!(far.label(), "c");
        assert_eq!(near.id(), far.id());
        echo(&near, &far).await;
        assert_eq!(pair.a.dtls, [DtlsState::Connecting, DtlsState::Connected]);
        let stats = pair.a.engine.stats().await;
        let selected = stats.selected_pair.expect("a selected pair");
        assert_eq!(selected.rtt, Some(Duration::from_millis(2 * delay)));
        assert!(
            stats.packets_sent > 5 && stats.bytes_received > 1_000,
            "{stats:?}"
        );
        pair.close().await;
        assert_eq!(near.state(), ChannelState::Closed);
    }
}

#[tokio::test]
async fn opens_on_real_sockets() {
    for _ in 0..20 {
        let mut pair = Pair::real().await;
        let (near, far, _) = pair.call(ChannelInit::new("c")).await;
        echo(&near, &far).await;
        pair.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_ice_restart_keeps_the_channel() {
    let network = MemoryNetwork::new(Duration::from_millis(20));
    let mut pair = Pair::on(&network, 13).await;
    let (near, far, _) = pair.call(ChannelInit::new("c")).await;
    for forth in [true, false] {
        let sender = tokio::spawn({
            let near = near.clone();
            async move {
                for i in 0..500_u32 {
                    near.send(i.to_be_bytes().to_vec()).await.unwrap();
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }
        });
        tokio::time::sleep(Duration::from_millis(100)).await;
        pair.a.ice.clear();
        pair.b.ice.clear();
        let start = Instant::now();
        let (offer, _) = pair.negotiate(forth, &[application(Some("0"))], true).await;
        pair.until("restart", |a, b| {
            a.ice.last() == Some(&IceState::Connected) && b.ice.last() == Some(&IceState::Connected)
        })
        .await;
        println!(
            "restart {} took {:?}",
            offer.ice_ufrag().unwrap(),
            start.elapsed()
        );
        for i in 0..500_u32 {
            assert_eq!(recv(&far).await, Message::from(i.to_be_bytes().to_vec()));
        }
        sender.await.unwrap();
        println!("all received {:?}", start.elapsed());
    }
    echo(&near, &far).await;
    pair.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_network_disconnects_and_heals() {
    let network = MemoryNetwork::new(Duration::from_millis(5));
    let mut pair = Pair::on(&network, 14).await;
    let (near, far, _) = pair.call(ChannelInit::new("c")).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    network.set_blocked(true);
    let start = Instant::now();
    pair.until("disconnected", |a, b| {
        a.ice.last() == Some(&IceState::Disconnected) && b.ice.last() == Some(&IceState::Disconnected)
    })
    .await;
    println!("disconnected after {:?}", start.elapsed());
    assert!(start.elapsed() >= Duration::from_secs(3) && start.elapsed() < Duration::from_secs(8));
    near.send("kept").await.unwrap();
    tokio::time::sleep(Duration::from_secs(20)).await;
    network.set_blocked(false);
    pair.until("healed", |a, b| {
        a.ice.last() == Some(&IceState::Connected) && b.ice.last() == Some(&IceState::Connected)
    })
    .await;
    assert_eq!(recv(&far).await, Message::from("kept"));
    pair.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_goodbye_is_seen_at_once() {
    let network = MemoryNetwork::new(Duration::from_millis(5));
    let mut pair = Pair::on(&network, 15).await;
    let (_near, far, _) = pair.call(ChannelInit::new("c")).await;
    let start = Instant::now();
    pair.a.engine.close().await;
    pair.until("goodbye", |_, b| b.dtls.last() == Some(&DtlsState::Closed))
        .await;
    println!("goodbye after {:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_millis(100));
    assert_eq!(far.state(), ChannelState::Closed);
    pair.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_wrong_fingerprint_fails() {
    let network = MemoryNetwork::new(Duration::from_millis(5));
    for (last, forth) in [(16, true), (17, false)] {
        let mut pair = Pair::on(&network, last).await;
        let _near = pair.a.open(ChannelInit::new("c"));
        let mut offer = pair
            .a
            .engine
            .make_offer(&[application(None)], false)
            .await
            .unwrap();
        offer.take_candidates();
        pair.a.engine.commit_offer().await.unwrap();
        let mine = MLine {
            mid: Some("0".into()),
            ..application(None)
        };
        let mut answer = pair
            .b
            .engine
            .answer(&if forth { forge(&offer) } else { offer.clone() }, &[mine])
            .await
            .unwrap();
        answer.take_candidates();
        pair.b.engine.commit_answer().await.unwrap();
        let answer = if forth { answer } else { forge(&answer) };
        pair.a.engine.apply_answer(&answer).await.unwrap();
        let start = Instant::now();
        pair.until("failure", |a, b| {
            a.dtls.last() == Some(&DtlsState::Failed) && b.dtls.last() == Some(&DtlsState::Failed)
        })
        .await;
        println!("failed after {:?}", start.elapsed());
        assert!(start.elapsed() < Duration::from_secs(1));
        pair.close().await;
    }
}

fn forge(sdp: &Sdp) -> Sdp {
    let text = sdp.to_string();
    let lines: Vec<_> = text
        .lines()
        .map(|line| match line.strip_prefix("a=fingerprint:sha-256 ") {
            Some(hash) => {
                let swap = if hash.starts_with('0') { "1" } else { "0" };
                format!("a=fingerprint:sha-256 {swap}{}", &hash[1..])
            }
            None => line.to_owned(),
        })
        .collect();
    (lines.join("\r\n") + "\r\n").parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_dropped_first_offer_leaves_nothing() {
    let network = MemoryNetwork::new(Duration::from_millis(5));
    let mut pair = Pair::on(&network, 18).await;
    let near = pair.a.open(ChannelInit::new("c"));
    let want = [
        media(MediaKind::Audio, None, Direction::SendRecv),
        media(MediaKind::Video, None, Direction::SendOnly),
        application(None),
    ];
    pair.a.engine.make_offer(&want, false).await.unwrap();
    pair.a.engine.commit_offer().await.unwrap();
    pair.a.engine.discard_offer().await.unwrap();
    pair.until("candidates", |a, _| {
        a.candidates.clear();
        a.events.is_empty()
    })
    .await;
    // The other side offers now, and the channel that was waiting opens.
    let far = pair.b.open(ChannelInit::new("d"));
    pair.negotiate(false, &[application(None)], false).await;
    pair.until("open", |a, b| {
        near.state() == ChannelState::Open
            && far.state() == ChannelState::Open
            && a.channels.len() == 1
            && b.channels.len() == 1
    })
    .await;
    let there = pair.b.channels.remove(0);
    assert_eq!(there.label(), "c");
    echo(&near, &there).await;
    pair.close().await;
}

#[tokio::test(start_paused = true)]
async fn media_lines_are_added_dropped_and_answered() {
    let network = MemoryNetwork::new(Duration::from_millis(5));
    let mut pair = Pair::on(&network, 19).await;
    let (near, far, _) = pair.call(ChannelInit::new("c")).await;
    let audio = media(MediaKind::Audio, None, Direction::SendRecv);
    let want = [application(Some("0")), audio.clone()];
    // Dropped before and after it was committed; asked for again.
    pair.a.engine.make_offer(&want, false).await.unwrap();
    pair.a.engine.discard_offer().await.unwrap();
    pair.a.engine.make_offer(&want, false).await.unwrap();
    pair.a.engine.commit_offer().await.unwrap();
    pair.a.engine.discard_offer().await.unwrap();
    let (offer, answer) = pair.negotiate(true, &want, false).await;
    let directions = |sdp: &Sdp| sdp.sections().map(|s| s.direction()).collect::<Vec<_>>();
    assert_eq!(directions(&offer)[1], Direction::SendRecv);
    assert_eq!(directions(&answer)[1], Direction::SendRecv);
    let mid = offer.sections().nth(1).unwrap().mid().unwrap().to_owned();
    // The other side adds video that it only sends, and holds the audio.
    let want = [
        application(Some("0")),
        media(MediaKind::Audio, Some(&mid), Direction::RecvOnly),
        media(MediaKind::Video, None, Direction::SendOnly),
    ];
    let (offer, answer) = pair.negotiate(false, &want, false).await;
    assert_eq!(
        directions(&offer)[1..],
        [Direction::RecvOnly, Direction::SendOnly]
    );
    assert_eq!(
        directions(&answer)[1..],
        [Direction::SendOnly, Direction::RecvOnly]
    );
    echo(&near, &far).await;
    pair.close().await;
}

#[tokio::test(start_paused = true)]
async fn channels_of_every_kind_open_and_close() {
    let network = MemoryNetwork::new(Duration::from_millis(5));
    let mut pair = Pair::on(&network, 20).await;
    let (first, first_far, _) = pair.call(ChannelInit::new("first")).await;
    let start = Instant::now();
    let negotiated = pair.a.open(ChannelInit::new("n").negotiated(100));
    let negotiated_far = pair.b.open(ChannelInit::new("n").negotiated(100));
    let partial = pair.a.open(ChannelInit::new("p").unordered().max_retransmits(0));
    let timed = pair
        .b
        .open(ChannelInit::new("t").max_packet_life_time(Duration::from_millis(100)));
    pair.until("open", |a, b| {
        [&negotiated, &negotiated_far, &partial, &timed]
            .iter()
            .all(|c| c.state() == ChannelState::Open)
            && a.channels.len() == 1
            && b.channels.len() == 1
    })
    .await;
    println!("later channels after {:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_millis(100));
    let partial_far = pair.b.channels.remove(0);
    assert!(!partial_far.init().ordered);
    let timed_far = pair.a.channels.remove(0);
    echo(&negotiated, &negotiated_far).await;
    echo(&partial, &partial_far).await;
    echo(&timed, &timed_far).await;
    // Close right after sending: it still arrives. Then a new channel in its place.
    first.send("last words").await.unwrap();
    first.close();
    assert_eq!(recv(&first_far).await, Message::from("last words"));
    timeout(LIMIT, first_far.closed()).await.unwrap();
    timeout(LIMIT, first.closed()).await.unwrap();
    let again = pair.a.open(ChannelInit::new("again"));
    pair.until("again", |_, b| {
        again.state() == ChannelState::Open && b.channels.len() == 1
    })
    .await;
    let again_far = pair.b.channels.remove(0);
    echo(&again, &again_far).await;
    pair.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_loses_nothing_and_stalls_nothing() {
    let network = MemoryNetwork::new(Duration::from_millis(5));
    let mut pair = Pair::on(&network, 21).await;
    let (near, far, _) = pair.call(ChannelInit::new("c")).await;
    // Many small messages at once: the last ones must not wait for consent's next datagram.
    let start = Instant::now();
    for i in 0..5_000_u32 {
        near.send(i.to_be_bytes().to_vec()).await.unwrap();
    }
    for i in 0..5_000_u32 {
        assert_eq!(recv(&far).await, Message::from(i.to_be_bytes().to_vec()));
    }
    println!("5,000 small messages in {:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    // A reader that comes late.
    let sender = tokio::spawn({
        let near = near.clone();
        async move {
            for i in 0..800_u32 {
                let mut message = vec![0_u8; 16 * 1024];
                message[..4].copy_from_slice(&i.to_be_bytes());
                near.send(message).await.unwrap();
            }
        }
    });
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(!sender.is_finished(), "the sender must wait for the reader");
    let start = Instant::now();
    for i in 0..800_u32 {
        let message = recv(&far).await;
        assert_eq!(message.as_bytes()[..4], i.to_be_bytes());
    }
    sender.await.unwrap();
    println!("12.8 MB after a pause in {:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    timeout(LIMIT, near.buffered_amount_low()).await.unwrap();
    assert_eq!(near.buffered_amount(), 0);
    pair.close().await;
}

#[tokio::test(start_paused = true)]
async fn dropping_an_engine_ends_its_tasks() {
    let network = MemoryNetwork::new(Duration::from_millis(5));
    let before = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let mut pair = Pair::on(&network, 22).await;
    let (near, _far, _) = pair.call(ChannelInit::new("c")).await;
    drop(pair);
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(
        tokio::runtime::Handle::current().metrics().num_alive_tasks(),
        before
    );
    assert_eq!(near.state(), ChannelState::Closed);
}

/// Several megabytes and many short-lived channels on real sockets, with the tasks on different threads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bulk_and_churn_on_real_sockets() {
    let mut pair = Pair::real().await;
    let (near, far, _) = pair.call(ChannelInit::new("c")).await;
    for (size, count) in [(64 * 1024, 320_usize), (100, 50_000)] {
        let start = Instant::now();
        let sender = tokio::spawn({
            let near = near.clone();
            async move {
                for _ in 0..count {
                    near.send(vec![7; size]).await.unwrap();
                }
            }
        });
        for _ in 0..count {
            assert_eq!(recv(&far).await.len(), size);
        }
        sender.await.unwrap();
        let seconds = start.elapsed().as_secs_f64();
        println!(
            "{count} of {size} bytes: {:.1} MB/s, {:.0}/s",
            (size * count) as f64 / seconds / 1e6,
            count as f64 / seconds
        );
        timeout(LIMIT, near.buffered_amount_low()).await.unwrap();
        assert_eq!(near.buffered_amount(), 0);
    }
    let start = Instant::now();
    for i in 0..50 {
        let channel = pair.a.open(ChannelInit::new(format!("{i}")));
        pair.until("churn", |_, b| {
            channel.state() == ChannelState::Open && b.channels.len() == 1
        })
        .await;
        let there = pair.b.channels.remove(0);
        channel.send("bye").await.unwrap();
        let (closes, closed) = if i % 2 == 0 {
            (&channel, &there)
        } else {
            (&there, &channel)
        };
        assert_eq!(recv(&there).await, Message::from("bye"));
        closes.close();
        timeout(LIMIT, closed.closed()).await.unwrap();
    }
    println!("50 channels, last id {:?}, in {:?}", near.id(), start.elapsed());
    pair.close().await;
}
