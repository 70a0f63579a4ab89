//! M-lines with tracks: directions, ports that change, codecs that come and go.

use super::*;

#[tokio::test(start_paused = true)]
async fn directions_change_and_come_back() {
    let codecs = [Codec::H264, Codec::Opus];
    let (mut call, _network) = Call::new(Duration::from_millis(10), &codecs).await;
    let all = [
        Direction::SendRecv,
        Direction::SendOnly,
        Direction::RecvOnly,
        Direction::Inactive,
    ];
    let mut n = 0;
    for round in 0..12 {
        // Each direction after each other, offered by each side, after short and long pauses.
        let direction = all[(round * 3 + round / 4) % 4];
        if round % 2 == 0 {
            call.negotiate(&[direction; 2]).await;
        } else {
            call.negotiate_back(&[direction.reversed(); 2]).await;
        }
        sleep(Duration::from_millis(if round % 3 == 0 { 5000 } else { 20 })).await;
        for _ in 0..3 {
            n += 1;
            for (codec, (x, y)) in codecs.into_iter().zip(&call.tracks) {
                if direction.sends() {
                    passes(x, y, codec, n, n * 9000).await;
                }
                if direction.receives() {
                    passes(y, x, codec, n, n * 9000).await;
                }
            }
        }
    }
    call.check();
}

#[tokio::test(start_paused = true)]
async fn an_m_line_is_used_again_with_other_tracks_and_codecs() {
    let (mut call, _network) = Call::new(Duration::from_millis(10), &[Codec::H264]).await;
    let mut ticks = 0;
    let mut codec = Codec::H264;
    for round in 0..20_u64 {
        // Another source's timestamps may be anywhere, also behind.
        ticks += 0xC000_1234_u64 * round;
        for n in 0..3 {
            let (x, y) = &call.tracks[0];
            passes(x, y, codec, n, ticks + n * 3000).await;
            passes(y, x, codec, n, ticks + n * 3000).await;
        }
        let (x, y) = &call.tracks[0];
        assert_eq!((x.receiver.stats().gaps, y.receiver.stats().gaps), (0, 0));
        if round % 4 < 3 {
            call.negotiate(&[Direction::Inactive]).await;
            sleep(SECOND * (round % 3) as u32).await;
        }
        codec = [Codec::H264, Codec::Vp8, Codec::Vp9, Codec::H264][round as usize % 4];
        call.tracks[0] = (Track::new(&call.a, codec), Track::new(&call.b, codec));
        call.negotiate(&[Direction::SendRecv]).await;
    }
    assert_eq!(call.a.engine.stats().await.rtp.len(), 1);
    call.check();
}

#[tokio::test(start_paused = true)]
async fn a_discarded_offer_leaves_no_track() {
    let (mut call, _network) = Call::new(Duration::from_millis(10), &[Codec::Vp8]).await;
    let stray = [Track::new(&call.a, Codec::Vp8), Track::new(&call.a, Codec::Opus)];
    let mut want = call.a.lines.clone();
    want[0].track = Some(stray[0].port.clone());
    want.push(MLine {
        kind: MediaKind::Audio,
        mid: None,
        direction: Direction::SendRecv,
        track: Some(stray[1].port.clone()),
    });
    call.a.engine.make_offer(&want, false).await.unwrap();
    call.a.engine.commit_offer().await.unwrap();
    call.a.engine.discard_offer().await.unwrap();
    assert!(stray[0].sender.try_send(outgoing(Codec::Vp8, 0, 100, 0)));
    let (x, y) = &call.tracks[0];
    passes(x, y, Codec::Vp8, 1, 0).await;
    passes(y, x, Codec::Vp8, 1, 0).await;
    assert_eq!(stray[0].sender.stats().frames_sent, 0);
    assert_eq!(call.a.engine.stats().await.rtp.len(), 1);
    call.check();
}

#[tokio::test(start_paused = true)]
async fn an_answerer_may_turn_an_inactive_m_line_of_its_own_on() {
    let (mut call, _network) = Call::new(Duration::from_millis(10), &[Codec::Vp8]).await;
    call.negotiate(&[Direction::Inactive]).await;
    call.negotiate_back(&[Direction::RecvOnly]).await;
    let (x, y) = &call.tracks[0];
    passes(x, y, Codec::Vp8, 1, 0).await;
}

#[tokio::test(start_paused = true)]
async fn both_sides_add_video_in_a_call() {
    let (mut call, _network) = Call::new(Duration::from_millis(10), &[Codec::Opus]).await;
    let codecs = [Codec::Opus, Codec::H264, Codec::Vp8];
    for round in 1..3 {
        let codec = codecs[round];
        let added = (Track::new(&call.a, codec), Track::new(&call.b, codec));
        call.tracks.push(added);
        let all = vec![Direction::SendRecv; round + 1];
        if round == 1 {
            call.negotiate(&all).await;
        } else {
            call.negotiate_back(&all).await;
        }
        for n in 0..3 {
            for (codec, (x, y)) in codecs.into_iter().zip(&call.tracks) {
                passes(x, y, codec, n, n * 3000).await;
                passes(y, x, codec, n, n * 3000).await;
            }
        }
    }
    call.check();
}

#[tokio::test(start_paused = true)]
async fn an_answer_has_no_codec_that_was_not_offered() {
    let (mut call, _network) = Call::new(Duration::from_millis(10), &[Codec::Vp8]).await;
    let want = call.a.lines.clone();
    let mut offer = call.a.engine.make_offer(&want, false).await.unwrap();
    assert!(offer.sections().next().unwrap().codecs().len() > 1);
    offer.keep_codecs(0, &[Codec::Vp9]);
    let mut lines = call.b.lines.clone();
    lines[0].track = Some(call.tracks[0].1.port.clone());
    let answer = call.b.engine.answer(&offer, &lines).await.unwrap();
    assert_eq!(answer.sections().next().unwrap().codecs(), [Codec::Vp9]);
    call.a.engine.apply_answer(&answer).await.unwrap();
    call.check();
}

#[tokio::test(start_paused = true)]
async fn ssrcs_that_nobody_announced_are_learnt() {
    let network = MemoryNetwork::new(Duration::from_millis(10));
    let backend = Str0m::new();
    let mut a = Side::new(&backend, network.host([ip(1)]), Vec::new(), "a").await;
    let mut b = Side::new(&backend, network.host([ip(2)]), Vec::new(), "b").await;
    (a.hides_ssrcs, b.hides_ssrcs) = (true, true);
    let mut call = Call::over(a, b, &[Codec::Vp8]).await;
    let (x, y) = &call.tracks[0];
    // There is nobody to ask yet.
    y.receiver.request_keyframe();
    sleep(SECOND).await;
    x.sender.take_keyframe_request();
    passes(x, y, Codec::Vp8, 0, 0).await;
    sleep(SECOND / 10).await;
    assert!(x.sender.take_keyframe_request());
    network.set_loss(0.1, 3);
    for n in 1..200 {
        let (x, y) = &call.tracks[0];
        assert!(x.sender.try_send(outgoing(Codec::Vp8, n, 3000, n * 3000)));
        sleep(SECOND / 30).await;
        while y.receiver.try_recv().is_some() {}
    }
    sleep(SECOND).await;
    let (a, b) = call.stats(0).await;
    assert!(a.retransmitted_packets_sent > Some(20), "{a:?}");
    assert!(b.retransmitted_packets_received > Some(20), "{b:?}");
    assert!(call.tracks[0].1.receiver.stats().frames_received > 190);
    call.check();
}

#[tokio::test(start_paused = true)]
async fn descriptions_that_str0m_cannot_take_are_refused() {
    let (mut call, _network) = Call::new(Duration::from_millis(5), &[Codec::Vp8]).await;
    let want = call.a.lines.clone();
    let mut lines = want.clone();
    lines[0].direction = Direction::Inactive;
    let offer = call.a.engine.make_offer(&lines, false).await.unwrap().to_string();
    call.a.engine.discard_offer().await.unwrap();
    for (from, to) in [
        ("a=rtpmap:98 VP9/90000", "a=rtpmap:96 VP9/90000"),
        ("a=rtpmap:98 VP9/90000", "a=rtpmap:97 VP9/90000"),
        ("a=fmtp:99 apt=98", "a=fmtp:97 apt=98"),
        ("a=rtpmap:98 VP9/90000", "a=rtpmap:200 VP9/90000"),
    ] {
        assert!(offer.contains(from), "{offer}");
        let bad: Sdp = offer.replace(from, to).parse().unwrap();
        let error = call.b.engine.answer(&bad, &want).await.unwrap_err();
        assert_eq!(error.kind(), visavis_core::ErrorKind::InvalidInput, "{error}");
    }
    // Nothing in common, or rejected: no media, and no harm.
    for offer in [
        offer.replace("/90000", "/91000"),
        offer.replace("m=video 9", "m=video 0"),
    ] {
        let offer: Sdp = offer.parse().unwrap();
        let (mut call, _network) = Call::new(Duration::from_millis(5), &[Codec::Vp8]).await;
        let mut lines = call.b.lines.clone();
        lines[0].track = Some(call.tracks[0].1.port.clone());
        let answer = call.b.engine.answer(&offer, &lines).await;
        let track = &call.tracks[0].1;
        track.sender.try_send(outgoing(Codec::Vp8, 0, 100, 0));
        track.receiver.request_keyframe();
        sleep(SECOND).await;
        assert!(call.b.engine.stats().await.packets_sent > 0, "{answer:?}");
        call.check();
    }
    let (x, y) = &call.tracks[0];
    passes(x, y, Codec::Vp8, 1, 0).await;
}
