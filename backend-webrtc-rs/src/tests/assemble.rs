use super::*;

/// A VP8 packet: the frame's number in its content.
fn packet(frame: u8, first: bool, marker: bool, at: Instant) -> Packet {
    Packet {
        codec: Codec::Vp8,
        timestamp: u32::from(frame).wrapping_mul(3000).wrapping_sub(9000),
        marker,
        arrival: at,
        payload: Bytes::copy_from_slice(&[if first { 0x10 } else { 0 }, frame]),
    }
}

/// Packets of frames of three, from a sequence number on.
fn stream(frames: u8, from: u16, at: Instant) -> Vec<(u16, Packet)> {
    (0..frames)
        .flat_map(|frame| (0..3).map(move |part| (frame, part)))
        .zip(0..)
        .map(|((frame, part), i)| (from.wrapping_add(i), packet(frame, part == 0, part == 2, at)))
        .collect()
}

fn drain(assembler: &mut Assembler) -> Vec<(u8, bool)> {
    std::iter::from_fn(|| assembler.pop())
        .map(|frame| {
            assert_eq!(frame.payload.len(), 3, "a whole frame");
            (frame.payload[0], frame.contiguous)
        })
        .collect()
}

fn all(frames: u8) -> Vec<(u8, bool)> {
    (0..frames).map(|n| (n, true)).collect()
}

#[tokio::test(start_paused = true)]
async fn packets_come_in_any_order_more_than_once_and_over_the_wrap() {
    let now = Instant::now();
    for from in [0, 65_530, 32_760] {
        let mut packets = stream(20, from, now);
        // Swapped within a window; the first stays, for nothing says that it is not.
        for i in (1..packets.len() - 7).step_by(5) {
            packets.swap(i, i + 7);
        }
        let mut assembler = Assembler::default();
        let mut frames = Vec::new();
        for (sequence, packet) in packets {
            assert_eq!(assembler.insert(sequence, packet.clone()), Inserted::Taken);
            assert_eq!(assembler.insert(sequence, packet), Inserted::Useless);
            frames.extend(drain(&mut assembler));
        }
        assert_eq!(frames, all(20), "from {from}");
        assert_eq!((assembler.lost(), assembler.missing, assembler.bytes), (0, 0, 0));
        assert_eq!(assembler.deadline(), None);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_is_asked_for_and_then_given_up() {
    let now = Instant::now();
    let later = |ms| now + Duration::from_millis(ms);
    let mut assembler = Assembler::default();
    for (sequence, packet) in stream(4, 100, now) {
        if sequence != 104 {
            assembler.insert(sequence, packet);
        }
    }
    assert_eq!(drain(&mut assembler), [(0, true)]);
    let interval = Duration::from_millis(50);
    for (ms, expected) in [(0, vec![104]), (49, vec![]), (50, vec![104]), (99, vec![])] {
        let mut wanted = Vec::new();
        assembler.ask(later(ms), interval, &mut wanted);
        assert_eq!(wanted, expected, "after {ms} ms");
    }
    assert_eq!(assembler.ask_at(), Some(later(100)));
    let patience = MAX_REORDER_TIME.as_millis() as u64;
    assert_eq!(assembler.deadline(), Some(later(patience)));
    assembler.on_time(later(299));
    assert_eq!(drain(&mut assembler), []);
    assembler.on_time(later(patience));
    assert_eq!(drain(&mut assembler), [(2, false), (3, true)]);
    assert_eq!(
        (assembler.lost(), assembler.ask_at(), assembler.deadline()),
        (1, None, None)
    );
    assert_eq!(
        assembler.insert(104, packet(1, false, false, now)),
        Inserted::Useless
    );
}

#[tokio::test(start_paused = true)]
async fn a_repaired_frame_is_whole_and_counted() {
    let now = Instant::now();
    let mut assembler = Assembler::default();
    let packets = stream(3, 65_534, now);
    for (i, (sequence, packet)) in packets.iter().enumerate() {
        if i != 3 {
            assembler.insert(*sequence, packet.clone());
        }
    }
    assert_eq!(drain(&mut assembler), [(0, true)]);
    assembler.ask(now, Duration::from_secs(1), &mut Vec::new());
    assert_eq!(
        assembler.insert(packets[3].0, packets[3].1.clone()),
        Inserted::Repaired
    );
    assert_eq!(drain(&mut assembler), [(1, true), (2, true)]);
}

#[tokio::test(start_paused = true)]
async fn gaps_between_frames_and_without_markers() {
    let now = Instant::now();
    // The last packet of one and the first of the next: neither is whole, and what follows is.
    let mut assembler = Assembler::default();
    for (i, (sequence, packet)) in stream(4, 0, now).into_iter().enumerate() {
        if i != 5 && i != 6 {
            assembler.insert(sequence, packet);
        }
    }
    assembler.on_time(now + MAX_REORDER_TIME);
    assert_eq!(drain(&mut assembler), [(0, true), (3, false)]);
    // A frame ends where the next timestamp begins, too.
    let mut assembler = Assembler::default();
    for (sequence, mut packet) in stream(4, 0, now) {
        packet.marker = false;
        assembler.insert(sequence, packet);
    }
    assert_eq!(drain(&mut assembler), all(3));
    // Padding between frames is nothing.
    let mut assembler = Assembler::default();
    for (sequence, mut packet) in stream(4, 0, now) {
        let empty = Packet {
            payload: Bytes::new(),
            marker: false,
            ..packet.clone()
        };
        packet.marker = sequence % 3 == 2;
        assembler.insert(2 * sequence, packet);
        assembler.insert(2 * sequence + 1, empty);
    }
    assert_eq!(drain(&mut assembler), all(4));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_begins_within_a_frame_or_starts_over() {
    let now = Instant::now();
    let mut assembler = Assembler::default();
    for (sequence, packet) in stream(3, 7, now).into_iter().skip(1) {
        assembler.insert(sequence, packet);
    }
    assert_eq!(drain(&mut assembler), [(1, false), (2, true)]);
    // One packet that is far off is noise, two in a row are a new beginning.
    let mut packets = stream(2, 40_000, now);
    assert_eq!(assembler.insert(20_000, packets[0].1.clone()), Inserted::Useless);
    let first = packets.remove(0);
    assert_eq!(assembler.insert(first.0, first.1), Inserted::Useless);
    for (sequence, packet) in packets {
        assert_eq!(assembler.insert(sequence, packet), Inserted::Taken);
    }
    assert_eq!(drain(&mut assembler), [(1, false)]);
}

#[tokio::test(start_paused = true)]
async fn it_is_bounded_whatever_comes() {
    let now = Instant::now();
    // One frame without an end.
    let mut assembler = Assembler::default();
    for i in 0..200_000_u32 {
        let mut endless = packet(1, i == 0, false, now);
        endless.payload = vec![0_u8; if i % 2 == 0 { 1 } else { 1200 }].into();
        assembler.insert(i as u16, endless);
        assert!(assembler.bytes <= MAX_BYTES && assembler.slots.len() <= MAX_PACKETS as usize);
    }
    // Every second packet missing, for longer than there is room.
    let mut assembler = Assembler::default();
    for i in 0..100_000_u32 {
        assembler.insert((2 * i) as u16, packet(i as u8, true, true, now));
        assert!(assembler.slots.len() <= MAX_PACKETS as usize);
        while assembler.pop().is_some() {}
    }
    assert!(assembler.lost() > 90_000);
    // Anything anywhere.
    let mut assembler = Assembler::default();
    let mut state = 7_u32;
    for _ in 0..200_000 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let codec = Codec::ALL[(state >> 9) as usize % 4];
        let anything = Packet {
            codec,
            timestamp: (state >> 12) & 7,
            marker: state & 0x800 != 0,
            arrival: now,
            payload: vec![(state >> 20) as u8; (state >> 28) as usize].into(),
        };
        assembler.insert((state >> 13) as u16, anything);
        assembler.ask(now, Duration::ZERO, &mut Vec::new());
        assert!(assembler.slots.len() <= MAX_PACKETS as usize);
        while assembler.pop().is_some() {}
    }
    assembler.on_time(now + MAX_REORDER_TIME);
    assert_eq!((assembler.deadline(), assembler.missing), (None, 0));
}
