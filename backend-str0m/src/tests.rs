//! Two engines against each other, signaling by hand, on the simulated network in virtual time.

mod media;

use crate::Str0m;
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::mpsc::UnboundedReceiver,
    time::{Instant, sleep, timeout},
};
use visavis_core::{
    Backend, ChannelInit, ChannelState, DataChannel, Direction, DtlsState, Engine, EngineConfig, EngineEvent,
    EventSink, IceState, MLine, Mark, MediaKind, MemoryNetwork, Message, Net, RealNet, Sdp,
};

struct Side {
    engine: Box<dyn Engine>,
    events: UnboundedReceiver<EngineEvent>,
    sink: EventSink,
    lines: Vec<MLine>,
    ice: IceState,
    dtls: DtlsState,
    incoming: Vec<DataChannel>,
    gathered: usize,
    failed: Option<visavis_core::Error>,
    hides_ssrcs: bool,
}

fn ip(last: u8) -> IpAddr {
    IpAddr::from([127, 8, 0, last])
}

impl Side {
    async fn new(backend: &Str0m, net: Arc<dyn Net>, bind: Vec<SocketAddr>, name: &str) -> Self {
        let (sink, events) = EventSink::detached();
        let config = EngineConfig {
            bind,
            disconnected_after: Duration::from_secs(5),
            name: name.into(),
        };
        Self {
            engine: backend.engine(config, net, sink.clone()).await.unwrap(),
            events,
            sink,
            lines: Vec::new(),
            ice: IceState::New,
            dtls: DtlsState::New,
            incoming: Vec::new(),
            gathered: 0,
            failed: None,
            hides_ssrcs: false,
        }
    }

    fn open(&mut self, init: ChannelInit) -> DataChannel {
        let (channel, port) = self.sink.channel(init);
        self.engine.open_channel(port).unwrap();
        channel
    }

    /// Handles what happened; candidates go to `to`.
    async fn pump(&mut self, to: &mut Self) {
        while let Ok(event) = self.events.try_recv() {
            match event {
                EngineEvent::Candidate(candidate) => to.engine.add_candidate(&candidate).await.unwrap(),
                EngineEvent::GatheringComplete => self.gathered += 1,
                EngineEvent::Ice(state) => self.ice = state,
                EngineEvent::Dtls(state) => self.dtls = state,
                EngineEvent::Channel(channel) => self.incoming.push(channel),
                EngineEvent::Failed(error) => self.failed = Some(error),
            }
        }
    }

    fn learn(&mut self, sdp: &Sdp) {
        self.lines = sdp
            .sections()
            .map(|s| MLine {
                kind: s.kind().unwrap(),
                mid: s.mid().map(str::to_owned),
                direction: s.direction(),
                track: None,
            })
            .collect();
    }
}

fn line(kind: MediaKind) -> MLine {
    MLine {
        kind,
        mid: None,
        direction: Direction::SendRecv,
        track: None,
    }
}

async fn pair(delay: Duration) -> (Side, Side, MemoryNetwork) {
    pair_of(&Str0m::new(), delay).await
}

async fn pair_of(backend: &Str0m, delay: Duration) -> (Side, Side, MemoryNetwork) {
    let network = MemoryNetwork::new(delay);
    let a = Side::new(backend, network.host([ip(1)]), Vec::new(), "a").await;
    let b = Side::new(backend, network.host([ip(2)]), Vec::new(), "b").await;
    (a, b, network)
}

/// An offer of `want` from `a`, answered by `b`.
async fn negotiate(a: &mut Side, b: &mut Side, want: &[MLine], ice_restart: bool) {
    let offer = a.engine.make_offer(want, ice_restart).await.unwrap();
    offer.check().unwrap();
    a.engine.commit_offer().await.unwrap();
    let ours: Vec<_> = offer
        .sections()
        .map(|s| MLine {
            kind: s.kind().unwrap(),
            mid: s.mid().map(str::to_owned),
            direction: s.direction().reversed(),
            track: None,
        })
        .collect();
    let answer = b.engine.answer(&offer, &ours).await.unwrap();
    b.engine.commit_answer().await.unwrap();
    answer.check().unwrap();
    answer.check_answers(&offer).unwrap();
    a.engine.apply_answer(&answer).await.unwrap();
    a.learn(&offer);
    b.learn(&answer);
}

/// Runs both sides until `done`, for at most `limit`. Returns the time it took.
async fn until(
    a: &mut Side,
    b: &mut Side,
    limit: Duration,
    mut done: impl FnMut(&Side, &Side) -> bool,
) -> Duration {
    let start = Instant::now();
    timeout(limit, async {
        loop {
            a.pump(b).await;
            b.pump(a).await;
            if done(a, b) {
                return;
            }
            tokio::select! {
                biased;
                Some(event) = a.events.recv() => handle_one(event, a, b).await,
                Some(event) = b.events.recv() => handle_one(event, b, a).await,
                () = sleep(Duration::from_millis(1)) => {}
            }
        }
    })
    .await
    .unwrap_or_else(|_| {
        panic!(
            "not done after {limit:?}: a {:?} {:?}, b {:?} {:?}",
            a.ice, a.dtls, b.ice, b.dtls
        )
    });
    start.elapsed()
}

async fn handle_one(event: EngineEvent, of: &mut Side, to: &mut Side) {
    match event {
        EngineEvent::Candidate(candidate) => to.engine.add_candidate(&candidate).await.unwrap(),
        EngineEvent::GatheringComplete => of.gathered += 1,
        EngineEvent::Ice(state) => of.ice = state,
        EngineEvent::Dtls(state) => of.dtls = state,
        EngineEvent::Channel(channel) => of.incoming.push(channel),
        EngineEvent::Failed(error) => of.failed = Some(error),
    }
}

async fn connected(a: &mut Side, b: &mut Side, channel: &DataChannel) -> Duration {
    until(a, b, Duration::from_secs(20), |_, b| {
        channel.state() == ChannelState::Open && b.incoming.iter().any(|c| c.label() == channel.label())
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn a_call_echoes_messages() {
    let (mut a, mut b, _network) = pair(Duration::ZERO).await;
    let channel = a.open(ChannelInit::new("chat"));
    let second = a.open(ChannelInit::new("second").unordered().max_retransmits(0));
    let fixed = a.open(ChannelInit::new("fixed").negotiated(7));
    let want = [MediaKind::Audio, MediaKind::Application, MediaKind::Video].map(line);
    negotiate(&mut a, &mut b, &want, false).await;
    assert_eq!(
        a.lines.iter().map(|l| l.kind).collect::<Vec<_>>(),
        want.iter().map(|l| l.kind).collect::<Vec<_>>()
    );
    let theirs = b.open(ChannelInit::new("fixed").negotiated(7));
    let took = connected(&mut a, &mut b, &channel).await;
    assert!(took < Duration::from_millis(20), "{took:?}");
    until(&mut a, &mut b, Duration::from_secs(1), |_, b| {
        b.incoming.len() == 2
    })
    .await;
    assert_eq!((a.gathered, b.gathered), (1, 1));
    for mark in [
        Mark::IceConnected,
        Mark::DtlsConnected,
        Mark::SctpUp,
        Mark::ChannelOpen,
    ] {
        assert!(a.sink.timeline().get(mark).is_some(), "{mark:?} of a");
        assert!(b.sink.timeline().get(mark).is_some(), "{mark:?} of b");
    }

    let find = |side: &Side, label: &str| {
        side.incoming
            .iter()
            .find(|c| c.label() == label)
            .cloned()
            .unwrap()
    };
    let (echo, unordered) = (find(&b, "chat"), find(&b, "second"));
    assert_eq!(unordered.init(), second.init());
    fixed.send("agreed").await.unwrap();
    assert_eq!(theirs.recv().await.unwrap().as_text(), Some("agreed"));
    let large = vec![7; 256 * 1024];
    let messages: [Message; 7] = [
        "hello".into(),
        "".into(),
        Vec::new().into(),
        large.into(),
        "after".into(),
        vec![0].into(),
        "\u{1f44b}".into(),
    ];
    for message in &messages {
        channel.send(message.clone()).await.unwrap();
    }
    for message in &messages {
        let received = timeout(Duration::from_secs(5), echo.recv())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(&received, message);
        echo.send(received).await.unwrap();
    }
    for message in &messages {
        assert_eq!(
            timeout(Duration::from_secs(5), channel.recv())
                .await
                .unwrap()
                .as_ref(),
            Some(message)
        );
    }
    for message in [Message::from(""), Vec::new().into(), "x".into()] {
        second.send(message.clone()).await.unwrap();
        assert_eq!(
            timeout(Duration::from_secs(5), unordered.recv()).await.unwrap(),
            Some(message)
        );
    }
    channel.buffered_amount_low().await;

    for n in 0..100_u32 {
        channel.send(n.to_string()).await.unwrap();
    }
    channel.close();
    for n in 0..100_u32 {
        let received = timeout(Duration::from_secs(5), echo.recv()).await.unwrap();
        assert_eq!(received.unwrap().as_text(), Some(n.to_string().as_str()));
    }
    timeout(Duration::from_secs(5), echo.closed()).await.unwrap();
    timeout(Duration::from_secs(5), channel.closed()).await.unwrap();
    assert_eq!(channel.stats().messages_dropped, 0);

    let start = Instant::now();
    a.engine.close().await;
    assert!(start.elapsed() < Duration::from_millis(100));
    until(&mut a, &mut b, Duration::from_secs(1), |_, b| {
        b.dtls == DtlsState::Closed
    })
    .await;
    assert_eq!(unordered.state(), ChannelState::Closed);
    b.engine.close().await;
}

#[tokio::test(start_paused = true)]
async fn few_round_trips_are_needed() {
    for (delay, snap, limit) in [(25, false, 6), (150, false, 6), (150, true, 4)] {
        let backend = Str0m::new().with_snap(snap);
        let (mut a, mut b, network) = pair_of(&backend, Duration::from_millis(delay)).await;
        let channel = a.open(ChannelInit::new("c"));
        negotiate(&mut a, &mut b, &[line(MediaKind::Application)], false).await;
        let took = connected(&mut a, &mut b, &channel).await;
        let round_trips = took.as_secs_f64() / (2.0 * delay as f64 / 1000.0);
        println!(
            "delay {delay} ms, snap {snap}: {took:?}, {round_trips:.1} round trips, {} datagrams",
            network.delivered()
        );
        assert!(
            round_trips < f64::from(limit) + 0.3,
            "{round_trips} at {delay} ms"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn silence_disconnects_and_the_path_heals() {
    let (mut a, mut b, network) = pair(Duration::from_millis(10)).await;
    let channel = a.open(ChannelInit::new("c"));
    negotiate(&mut a, &mut b, &[line(MediaKind::Application)], false).await;
    connected(&mut a, &mut b, &channel).await;
    // An idle call is not a silent one.
    for _ in 0..40 {
        sleep(Duration::from_secs(1)).await;
        a.pump(&mut b).await;
        b.pump(&mut a).await;
        assert!(
            matches!(a.ice, IceState::Connected | IceState::Completed),
            "{:?}",
            a.ice
        );
    }
    network.set_blocked(true);
    let took = until(&mut a, &mut b, Duration::from_secs(30), |a, b| {
        a.ice == IceState::Disconnected && b.ice == IceState::Disconnected
    })
    .await;
    println!("disconnected after {took:?}");
    assert!(
        (Duration::from_secs(3)..Duration::from_secs(7)).contains(&took),
        "{took:?}"
    );
    sleep(Duration::from_secs(25)).await;
    network.set_blocked(false);
    let is_up = |s: &Side| matches!(s.ice, IceState::Connected | IceState::Completed);
    let took = until(&mut a, &mut b, Duration::from_secs(10), |a, b| {
        is_up(a) && is_up(b)
    })
    .await;
    println!("healed after {took:?}");
    channel.send("still there").await.unwrap();
    let theirs = b.incoming[0].clone();
    assert!(
        timeout(Duration::from_secs(70), theirs.recv())
            .await
            .unwrap()
            .is_some()
    );
    a.engine.close().await;
}

#[tokio::test(start_paused = true)]
async fn ice_restarts_and_offers_can_be_taken_back() {
    let (mut a, mut b, _network) = pair(Duration::from_millis(5)).await;
    let channel = a.open(ChannelInit::new("c"));
    // Taken back before anything was negotiated, committed and not.
    a.engine
        .make_offer(&[line(MediaKind::Application)], false)
        .await
        .unwrap();
    a.engine.discard_offer().await.unwrap();
    a.engine
        .make_offer(&[line(MediaKind::Application), line(MediaKind::Video)], false)
        .await
        .unwrap();
    a.engine.commit_offer().await.unwrap();
    a.engine.discard_offer().await.unwrap();
    while a.events.try_recv().is_ok() {}
    negotiate(
        &mut a,
        &mut b,
        &[line(MediaKind::Audio), line(MediaKind::Application)],
        false,
    )
    .await;
    connected(&mut a, &mut b, &channel).await;

    // Taken back later: directions are as before.
    let mut want = a.lines.clone();
    want[0].direction = Direction::Inactive;
    want.push(line(MediaKind::Video));
    let offer = a.engine.make_offer(&want, true).await.unwrap();
    assert_eq!(offer.sections().next().unwrap().direction(), Direction::Inactive);
    a.engine.commit_offer().await.unwrap();
    a.engine.discard_offer().await.unwrap();

    // Nothing changes: an offer all the same.
    let want = a.lines.clone();
    let before = a.lines.clone();
    negotiate(&mut a, &mut b, &want, false).await;
    assert_eq!(a.lines, before);

    // The other way round, with a change.
    let mut want = b.lines.clone();
    want[0].direction = Direction::SendOnly;
    want.push(line(MediaKind::Video));
    negotiate(&mut b, &mut a, &want, false).await;
    assert_eq!(a.lines[0].direction, Direction::RecvOnly);

    for round in 0..4 {
        let (from, to) = if round % 2 == 0 {
            (&mut a, &mut b)
        } else {
            (&mut b, &mut a)
        };
        let want = from.lines.clone();
        negotiate(from, to, &want, true).await;
        let gathered = from.gathered;
        let is_up = |s: &Side| matches!(s.ice, IceState::Connected | IceState::Completed);
        let took = until(from, to, Duration::from_secs(5), |x, y| {
            x.gathered > gathered && is_up(x) && is_up(y)
        })
        .await;
        println!("restart {round}: {took:?}");
        channel.send(format!("round {round}")).await.unwrap();
        let incoming = b.incoming[0].clone();
        let received = timeout(Duration::from_secs(5), incoming.recv())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(received.as_text(), Some(format!("round {round}").as_str()));
    }
    assert!(a.failed.is_none() && b.failed.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_slows_the_sender_and_loses_nothing() {
    let (mut a, mut b, _network) = pair(Duration::from_millis(1)).await;
    let channel = a.open(ChannelInit::new("bulk"));
    negotiate(&mut a, &mut b, &[line(MediaKind::Application)], false).await;
    connected(&mut a, &mut b, &channel).await;
    let theirs = b.incoming[0].clone();
    let total = 256_u32;
    let sender = tokio::spawn({
        let channel = channel.clone();
        async move {
            for n in 0..total {
                let mut message = vec![0; 64 * 1024];
                message[..4].copy_from_slice(&n.to_be_bytes());
                channel.send(message).await.unwrap();
            }
        }
    });
    sleep(Duration::from_secs(20)).await;
    assert!(!sender.is_finished(), "16 MiB fitted into the queues");
    let behind = theirs.stats().bytes_received;
    assert!(behind < 3 * 1024 * 1024, "{behind} bytes are waiting");
    assert!(
        matches!(b.ice, IceState::Connected | IceState::Completed) || {
            b.pump(&mut a).await;
            b.ice != IceState::Disconnected
        }
    );
    for n in 0..total {
        let message = timeout(Duration::from_secs(60), theirs.recv())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(message.as_bytes()[..4], n.to_be_bytes());
    }
    sender.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_large_message_is_not_starved() {
    let (mut a, mut b, _network) = pair(Duration::from_millis(20)).await;
    let small = a.open(ChannelInit::new("small"));
    let large = a.open(ChannelInit::new("large"));
    negotiate(&mut a, &mut b, &[line(MediaKind::Application)], false).await;
    until(&mut a, &mut b, Duration::from_secs(5), |_, b| {
        b.incoming.len() == 2
    })
    .await;
    until(&mut a, &mut b, Duration::from_secs(5), |_, _| {
        large.state() == ChannelState::Open && small.state() == ChannelState::Open
    })
    .await;
    let flood = tokio::spawn(async move { while small.send(vec![1; 4096]).await.is_ok() {} });
    let find = |label: &str| b.incoming.iter().find(|c| c.label() == label).cloned().unwrap();
    let (small, theirs) = (find("small"), find("large"));
    let drain = tokio::spawn(async move { while small.recv().await.is_some() {} });
    sleep(Duration::from_secs(1)).await;
    large.send(vec![2; 256 * 1024]).await.unwrap();
    let message = timeout(Duration::from_secs(5), theirs.recv())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(message.len(), 256 * 1024);
    a.engine.close().await;
    b.engine.close().await;
    flood.await.unwrap();
    drain.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn closing_is_prompt_in_every_phase() {
    for phase in 0..4 {
        let (mut a, mut b, network) = pair(Duration::from_millis(50)).await;
        let channel = a.open(ChannelInit::new("c"));
        if phase > 0 {
            negotiate(&mut a, &mut b, &[line(MediaKind::Application)], false).await;
        }
        match phase {
            2 => {
                until(&mut a, &mut b, Duration::from_secs(5), |a, _| {
                    a.dtls == DtlsState::Connecting
                })
                .await;
            }
            3 => {
                connected(&mut a, &mut b, &channel).await;
                network.set_blocked(true);
            }
            _ => {}
        }
        let start = Instant::now();
        a.engine.close().await;
        assert!(start.elapsed() < Duration::from_millis(100), "phase {phase}");
        assert_eq!(channel.state(), ChannelState::Closed);
        assert!(a.engine.make_offer(&[], false).await.is_err());
        assert!(a.engine.stats().await.selected_pair.is_none());
        drop(b);
    }
}

#[tokio::test]
async fn a_call_on_the_machines_own_network() {
    let backend = Str0m::new();
    let mut times = Vec::new();
    for round in 0..30 {
        let start = Instant::now();
        let bind = vec!["127.0.0.1:0".parse().unwrap()];
        let mut a = Side::new(&backend, RealNet::shared(), bind.clone(), "a").await;
        let mut b = Side::new(&backend, RealNet::shared(), bind, "b").await;
        let channel = a.open(ChannelInit::new("c"));
        let want = [MediaKind::Audio, MediaKind::Video, MediaKind::Application].map(line);
        negotiate(&mut a, &mut b, &want, false).await;
        connected(&mut a, &mut b, &channel).await;
        times.push(start.elapsed());
        let theirs = b.incoming[0].clone();
        channel.send("x").await.unwrap();
        assert!(theirs.recv().await.is_some());
        if round == 0 {
            let start = Instant::now();
            let total = 64 * 1024 * 1024;
            let sender = tokio::spawn({
                let channel = channel.clone();
                async move {
                    for _ in 0..total / 65_536 {
                        channel.send(vec![5; 65_536]).await.unwrap();
                    }
                }
            });
            let mut received = 0;
            while received < total {
                received += theirs.recv().await.unwrap().len();
            }
            sender.await.unwrap();
            println!("{:.0} MB/s", total as f64 / start.elapsed().as_secs_f64() / 1e6);
            let stats = a.engine.stats().await;
            println!("{stats:?}");
            assert!(stats.selected_pair.is_some());
            assert!(stats.bytes_sent > total as u64);
        }
        a.engine.close().await;
        b.engine.close().await;
    }
    times.sort_unstable();
    println!(
        "channel open: median {:?}, p95 {:?}, max {:?}",
        times[15], times[28], times[29]
    );
}
