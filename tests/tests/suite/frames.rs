//! Frames without a codec: content, order, timestamps and counts.

use std::time::Duration;
use tokio::time::Instant;
use visavis_core::{
    Codec, Direction, Side,
    track::{MAX_QUEUED_BYTES, MAX_QUEUED_FRAMES},
};
use visavis_tests::{
    World, deadline,
    frames::{Plan, Reader},
    media::{AtOnce, flow, line, paced, prefer},
    ping, within,
};

/// Sound and pictures in each codec, each way that `direction` allows, from the very first moment on.
async fn arrive(world: World, direction: Direction) {
    const SOUND: (usize, u32) = (0, 60);
    const PICTURES: (usize, u32) = (1, 33);
    for codec in [Codec::H264, Codec::Vp8, Codec::Vp9] {
        let media = [line(Codec::Opus, direction), line(codec, direction)];
        let call = world.start_media(&media).await;
        let plans = [Plan::new(Codec::Opus), Plan::new(codec)];
        let mut sides = vec![Side::Offerer];
        if direction.receives() {
            sides.push(Side::Answerer);
        }
        let mut flows = AtOnce::default();
        for side in &sides {
            for (line, count) in [SOUND, PICTURES] {
                flows.and(flow(call.way(*side, line), plans[line], 0..count, 4));
            }
        }
        let (call, ()) = tokio::join!(call.up(), flows.end());
        for side in &sides {
            for (line, count) in [SOUND, PICTURES] {
                call.nothing_lost(*side, line, &plans[line], count).await;
            }
        }
        ping(&call.call.a, &call.call.b).await;
        call.close().await;
    }
}

pub(super) async fn frames_arrive(world: World) {
    arrive(world, Direction::SendOnly).await;
}

pub(super) async fn frames_both_ways(world: World) {
    arrive(world, Direction::SendRecv).await;
}

/// The answerer alone sends.
pub(super) async fn frames_to_the_offerer(world: World) {
    let media = [
        line(Codec::Vp8, Direction::RecvOnly),
        line(Codec::Opus, Direction::RecvOnly),
    ];
    let call = world.media_call(&media).await;
    for (index, codec) in [Codec::Vp8, Codec::Opus].into_iter().enumerate() {
        let plan = Plan::new(codec);
        assert_eq!(call.way(Side::Offerer, index).0.codec(), None);
        flow(call.way(Side::Answerer, index), plan, 0..20, 2).await;
        call.nothing_lost(Side::Answerer, index, &plan, 20).await;
    }
    call.close().await;
}

/// Many frames as fast as they go, eight under way.
pub(super) async fn window(world: World) {
    const SIZES: [&[usize]; 2] = [&[12_000], &[60_000]];
    let count = if world.is_memory() { 200 } else { 2_000 };
    for sizes in SIZES {
        let call = world.media_call(&[line(Codec::H264, Direction::SendOnly)]).await;
        let plan = Plan::new(Codec::H264).sizes(sizes);
        let began = Instant::now();
        let flowing = flow(call.way(Side::Offerer, 0), plan, 0..count, 8);
        within(Duration::from_secs(60), "frames with eight under way", flowing).await;
        let took = began.elapsed();
        println!(
            "{}: {count} frames of {} bytes in {took:?}",
            world.stacks, sizes[0]
        );
        call.nothing_lost(Side::Offerer, 0, &plan, count).await;
        call.close().await;
    }
}

/// Timestamps have 32 bits on the wire; half of the frames come behind their end.
pub(super) async fn timestamp_wrap(world: World) {
    const WRAP: u64 = 1 << 32;
    let seconds = if world.is_memory() { 60 } else { 1 };
    let media = [
        line(Codec::Opus, Direction::SendOnly),
        line(Codec::H264, Direction::SendOnly),
    ];
    let call = world.media_call(&media).await;
    let mut sending = AtOnce::default();
    let mut plans = Vec::new();
    for (index, codec) in [Codec::Opus, Codec::H264].into_iter().enumerate() {
        let first = WRAP - seconds * u64::from(codec.clock_rate());
        let plan = Plan::new(codec).sizes(&[400]).starting_at(first);
        let count = (2 * seconds * u64::from(codec.clock_rate()) / plan.step) as u32;
        let (sender, receiver) = call.way(Side::Offerer, index);
        sending.and(paced(sender, plan, 0..count, Duration::ZERO).0);
        sending.and(async move {
            let mut reader = Reader::new(plan);
            reader.read_until(&receiver, count - 1..count).await;
            assert_eq!(reader.arrived.len(), count as usize, "{codec}");
        });
        plans.push((plan, count));
    }
    sending.within(Duration::from_secs(2 * seconds + 20)).await;
    for (index, (plan, count)) in plans.into_iter().enumerate() {
        let last = plan.media_time(count - 1);
        assert!(last.ticks > WRAP);
        call.nothing_lost(Side::Offerer, index, &plan, count).await;
    }
    call.close().await;
}

/// Sender reports put sound and pictures on one clock, however late each is sent.
pub(super) async fn sender_time(world: World) {
    const SECONDS: u64 = 20;
    let media = [
        line(Codec::Opus, Direction::SendRecv),
        line(Codec::H264, Direction::SendRecv),
    ];
    let call = world.media_call(&media).await;
    for side in [Side::Offerer, Side::Answerer] {
        let epoch = Instant::now();
        let mut sending = AtOnce::default();
        let mut readers = Vec::new();
        // An encoder takes longer for a picture than for a packet of sound.
        for (index, (codec, late)) in [(Codec::Opus, 5), (Codec::H264, 60)].into_iter().enumerate() {
            let mut plan = Plan::new(codec).sizes(&[500]);
            plan.epoch = epoch;
            let count = (SECONDS * u64::from(codec.clock_rate()) / plan.step) as u32;
            let (sender, receiver) = call.way(side, index);
            sending.and(paced(sender, plan, 0..count, Duration::from_millis(late)).0);
            readers.push(async move {
                loop {
                    let frame = deadline("a frame", receiver.recv()).await.expect("a frame");
                    let n = plan.check(&frame);
                    if let Some(time) = frame.sender_time {
                        return time.saturating_sub(plan.captured(n) - plan.epoch);
                    }
                    assert!(
                        n + 1 < count,
                        "{side}: {codec} frames without a sender time for {SECONDS} s"
                    );
                }
            });
        }
        let (pictures, sounds) = (readers.pop().unwrap(), readers.pop().unwrap());
        // The sender's wall clock at the epoch, by sound and by pictures: since 1900, so more than a century.
        let (sound, picture) = tokio::join!(sounds, pictures);
        drop(sending);
        let apart = sound.abs_diff(picture);
        println!(
            "{}: the {side}'s sound and pictures are {apart:?} apart",
            world.stacks
        );
        assert!(
            apart <= Duration::from_millis(5),
            "{side}: {sound:?} and {picture:?}"
        );
        assert!(
            sound > Duration::from_secs(100 * 365 * 86_400),
            "{side}: {sound:?} since 1900"
        );
    }
    call.close().await;
}

/// Each prefers something; what is negotiated is in the order of the answerer.
pub(super) async fn codec_preference(world: World) {
    use Codec::{H264, Vp8, Vp9};
    let wishes: [(&[Codec], &[Codec], Codec); 6] = [
        (&[], &[], H264),
        (&[Vp8], &[], Vp8),
        (&[], &[Vp9], Vp9),
        (&[H264, Vp8], &[Vp8, H264], Vp8),
        (&[Vp9, Vp8, H264], &[H264, Vp9], H264),
        (&[Vp9, H264], &[Vp8, Vp9], Vp9),
    ];
    for (ours, theirs, wanted) in wishes {
        let mut media = line(H264, Direction::SendRecv);
        media.codecs.clear();
        let (a, b) = world.peers().await;
        let at_a = a.add_transceiver(media.kind, media.direction).await.unwrap();
        let at_b = b.add_track(media.kind).await.unwrap();
        prefer(&at_a, ours).await;
        prefer(&at_b, theirs).await;
        visavis_tests::connect_by_hand(&a, &b).await;
        for sender in [at_a.sender(), at_b.sender()] {
            let codec = deadline("ready", sender.ready()).await;
            assert_eq!(codec, Some(wanted), "{ours:?} and {theirs:?}");
        }
        let plan = Plan::new(wanted).sizes(&[1_000, 3_000]);
        for side in [Side::Offerer, Side::Answerer] {
            let way = visavis_tests::media::way(&at_a, &at_b, side);
            flow(way, plan, 0..6, 2).await;
        }
        // A frame of another codec is not sent, and counted.
        let other = if wanted == Vp8 { H264 } else { Vp8 };
        assert!(!at_a.sender().try_send(Plan::new(other).frame(6, true)));
        assert_eq!(at_a.sender().stats().frames_dropped, 1);
        a.close().await;
        b.close().await;
    }
}

/// Nothing in common: no pictures, and all else goes on.
pub(super) async fn no_codec_in_common(world: World) {
    let call = world
        .start_media(&[
            line(Codec::Opus, Direction::SendRecv),
            line(Codec::H264, Direction::SendRecv),
        ])
        .await;
    let mut call = call.up().await;
    // A wish counts from the next negotiation on.
    prefer(&call.theirs[1], &[Codec::Vp8]).await;
    call.call.offerer.log.drain().await;
    call.call
        .offerer
        .add_transceiver(visavis_core::MediaKind::Audio, Direction::SendOnly)
        .await
        .unwrap();
    call.call.offerer.log.stable().await;
    let (theirs, _) = call.way(Side::Answerer, 1);
    assert_eq!(
        theirs.codec(),
        None,
        "the answerer takes nothing that was offered"
    );
    assert!(!theirs.try_send(Plan::new(Codec::H264).frame(0, true)));
    assert!(!theirs.try_send(Plan::new(Codec::Vp8).frame(0, true)));
    ping(&call.call.a, &call.call.b).await;
    for side in [Side::Offerer, Side::Answerer] {
        let plan = Plan::new(Codec::Opus);
        flow(call.way(side, 0), plan, 0..10, 2).await;
    }
    call.close().await;
    // And from the start.
    let (a, mut b) = world.peers().await;
    let at_a = a
        .add_transceiver(visavis_core::MediaKind::Video, Direction::SendRecv)
        .await
        .unwrap();
    let at_b = b.add_track(visavis_core::MediaKind::Video).await.unwrap();
    prefer(&at_a, &[Codec::H264]).await;
    prefer(&at_b, &[Codec::Vp8]).await;
    let ours = a
        .create_data_channel(visavis_core::ChannelInit::new("t"))
        .await
        .unwrap();
    visavis_tests::connect_by_hand(&a, &b).await;
    visavis_tests::peers::opened(&ours).await;
    let theirs = b.log.channel().await;
    ping(&ours, &theirs).await;
    assert_eq!(at_b.sender().codec(), None);
    a.close().await;
    b.close().await;
}

/// What nobody reads is bounded, dropped and counted; then reading goes on where it can.
pub(super) async fn nobody_reads(world: World) {
    const SIZES: [(&[usize], u32); 2] = [(&[3_000], 300), (&[200_000], 60)];
    for (sizes, count) in SIZES {
        let call = world.media_call(&[line(Codec::Vp8, Direction::SendOnly)]).await;
        let plan = Plan::new(Codec::Vp8).sizes(sizes);
        let (sender, receiver) = call.way(Side::Offerer, 0);
        assert!(deadline("ready", sender.ready()).await.is_some());
        for n in 0..count {
            assert!(sender.try_send(plan.frame(n, plan.is_keyframe(n))));
            // Nobody reads, but the count says that it has come.
            let what = format!("frame {n} of {} bytes", sizes[0]);
            visavis_tests::eventually(&what, || receiver.stats().frames_received > n.into()).await;
        }
        let dropped = receiver.stats().frames_dropped;
        assert!(dropped > 0);
        let mut reader = Reader::new(plan);
        let mut bytes = 0;
        while let Some(frame) = receiver.try_recv() {
            bytes += frame.payload.as_ref().len();
            reader.take(&frame);
        }
        assert!(reader.arrived.len() <= MAX_QUEUED_FRAMES && bytes <= MAX_QUEUED_BYTES);
        assert_eq!(reader.arrived.len() as u64 + dropped, u64::from(count));
        assert_eq!(
            reader.after_gaps,
            [dropped as u32],
            "what follows the dropped ones says so"
        );
        assert_eq!(reader.arrived.last(), Some(&(count - 1)));
        // From here on somebody reads.
        flow((sender, receiver.clone()), plan, count..count + 30, 4).await;
        assert_eq!(receiver.stats().frames_dropped, dropped);
        assert_eq!(receiver.stats().gaps, 0, "the network has lost nothing");
        call.close().await;
    }
}
