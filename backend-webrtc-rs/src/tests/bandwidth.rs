use super::*;
use rtc::rtcp::transport_feedbacks::transport_layer_cc::{
    PacketStatusChunk, RecvDelta, RunLengthChunk, SymbolTypeTcc,
};

fn run(symbol: SymbolTypeTcc, length: u16) -> PacketStatusChunk {
    PacketStatusChunk::RunLengthChunk(RunLengthChunk {
        packet_status_symbol: symbol,
        run_length: length,
        ..RunLengthChunk::default()
    })
}

/// Feedback about `lost` packets from `base` on, and `came` after them, each `spacing` after the one before, the first at
/// `reference` units of 64 ms.
fn feedback(base: u16, lost: u16, came: u16, reference: u32, spacing: Duration) -> TransportLayerCc {
    let delta = |_| RecvDelta {
        type_tcc_packet: SymbolTypeTcc::PacketReceivedSmallDelta,
        delta: spacing.as_micros() as i64,
    };
    TransportLayerCc {
        base_sequence_number: base,
        packet_status_count: lost + came,
        reference_time: reference,
        packet_chunks: vec![
            run(SymbolTypeTcc::PacketNotReceived, lost),
            run(SymbolTypeTcc::PacketReceivedSmallDelta, came),
        ],
        recv_deltas: (0..came).map(delta).collect(),
        ..TransportLayerCc::default()
    }
}

#[tokio::test(start_paused = true)]
async fn numbers_are_given_to_a_sample_of_many_packets() {
    let mut bandwidth = Bandwidth::default();
    let start = Instant::now();
    let numbers: Vec<_> = (0..1_000).filter_map(|_| bandwidth.number(start)).collect();
    assert_eq!(numbers, (0..MAX_TAGGED as u16).collect::<Vec<_>>());
    assert_eq!(bandwidth.number(start + TAG_PERIOD), Some(MAX_TAGGED as u16));
}

/// Ten packets each 100 ms, numbers that wrap, a path that gets longer or loses most of them.
#[tokio::test(start_paused = true)]
async fn feedback_makes_an_estimate() {
    // What each 100 ms more add to the delay, in ms, and how many of ten are lost.
    for (longer, lost, limited) in [(0, 0, false), (64, 0, true), (0, 4, true), (0, 0, false)] {
        let mut bandwidth = Bandwidth {
            next: u16::MAX - 100,
            ..Bandwidth::default()
        };
        let start = Instant::now();
        let mut told = 0;
        for round in 0..40_u32 {
            let now = start + TAG_PERIOD * round;
            let mut base = None;
            for _ in 0..10 {
                bandwidth.sent(1_200);
                let number = bandwidth.number(now);
                base = base.or(number);
            }
            // 64 ms units; 100 ms are not a multiple, so the time is made up of delta and reference.
            let at = Duration::from_millis(u64::from(round) * (100 + longer) + 1_000);
            let reference = (at.as_millis() / 64) as u32;
            let rest = at.saturating_sub(Duration::from_millis(64) * reference);
            let mut message = feedback(base.unwrap(), lost, 10 - lost, reference, Duration::ZERO);
            message.recv_deltas[0].delta = rest.as_micros() as i64;
            let later = now + Duration::from_millis(50);
            told += u32::from(bandwidth.on_feedback(&message, later));
        }
        assert!((15..25).contains(&told), "{told}");
        let estimate = bandwidth.estimator.estimate();
        assert_eq!(
            estimate.is_some(),
            limited,
            "{longer} ms, {lost} lost: {estimate:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn feedback_about_what_was_never_sent_is_nothing() {
    let mut bandwidth = Bandwidth::default();
    let now = Instant::now();
    for (base, count) in [(0, 65_535), (40_000, 10), (65_535, 1), (0, 0)] {
        assert!(!bandwidth.on_feedback(&feedback(base, count, 0, 0, Duration::ZERO), now));
    }
    bandwidth.number(now);
    let message = feedback(65_000, 0, 2_000, u32::MAX >> 8, Duration::from_millis(60));
    bandwidth.on_feedback(&message, now);
    assert_eq!(bandwidth.estimator.estimate(), None);
}

#[tokio::test(start_paused = true)]
async fn receiver_reports_serve_where_there_is_nothing_else() {
    let mut bandwidth = Bandwidth::default();
    let mut now = Instant::now();
    let report = |lost: f64| ReceptionReport {
        fraction_lost: (lost * 256.0) as u8,
        ..ReceptionReport::default()
    };
    let rtt = Some(Duration::from_millis(60));
    for _ in 0..10 {
        now += Duration::from_secs(1);
        bandwidth.sent(100_000);
        assert!(bandwidth.on_report(&report(0.01), rtt, now));
    }
    assert_eq!(bandwidth.estimator.estimate(), None);
    for _ in 0..4 {
        now += Duration::from_secs(1);
        bandwidth.sent(100_000);
        bandwidth.on_report(&report(0.4), rtt, now);
    }
    let estimate = bandwidth.estimator.estimate().unwrap().bps();
    assert!(estimate < 700_000, "{estimate}");
    bandwidth.number(now);
    bandwidth.on_feedback(&feedback(0, 0, 1, 0, Duration::ZERO), now);
    assert!(!bandwidth.on_report(&report(0.4), rtt, now), "there is better");
}

/// A report that comes before the first feedback has a round trip, which is shorter than any delay by two clocks.
#[tokio::test(start_paused = true)]
async fn round_trips_and_delays_do_not_mix() {
    let mut bandwidth = Bandwidth::default();
    let mut now = Instant::now();
    bandwidth.on_report(&ReceptionReport::default(), Some(Duration::from_millis(2)), now);
    for round in 0..30_u32 {
        now += TAG_PERIOD;
        bandwidth.sent(10_000);
        let number = bandwidth.number(now).unwrap();
        bandwidth.on_feedback(
            &feedback(number, 0, 1, 1_000 + round * 25 / 16, Duration::ZERO),
            now,
        );
    }
    assert_eq!(bandwidth.estimator.estimate(), None);
    for _ in 0..10 {
        now += Duration::from_secs(4);
        bandwidth.sent(400_000);
        assert!(bandwidth.on_report(&ReceptionReport::default(), Some(Duration::from_millis(200)), now));
    }
    assert_eq!(bandwidth.estimator.estimate(), None);
}

#[test]
fn the_remote_clock_wraps() {
    let ms = Duration::from_millis;
    let last = ms(64 * 0xFF_FFFF);
    assert_eq!(since_zero(ms(5_000), ms(5_020)), ZERO_DELAY + ms(20));
    assert_eq!(
        since_zero(ms(5_000), ms(4_980)),
        ZERO_DELAY.saturating_sub(ms(20))
    );
    assert_eq!(since_zero(last, ms(64)), ZERO_DELAY + ms(128));
    assert_eq!(since_zero(ms(64), last), ZERO_DELAY.saturating_sub(ms(128)));
}
