use super::*;

const MAX_PAYLOAD: usize = 1160;

fn bytes(len: usize, seed: u8) -> Vec<u8> {
    // Without zeros, so that nothing looks like a start code.
    (0..len)
        .map(|i| (i as u8).wrapping_mul(31).wrapping_add(seed) | 1)
        .collect()
}

fn annex_b(nals: &[Vec<u8>]) -> Bytes {
    nals.iter()
        .flat_map(|nal| [&START_CODE[..], nal].concat())
        .collect()
}

fn there_and_back(codec: Codec, frame: &Bytes, keyframe: bool) -> (Bytes, bool, usize) {
    let mut payloads = Vec::new();
    packetize(codec, frame.clone(), keyframe, MAX_PAYLOAD, &mut payloads);
    assert!(
        payloads
            .iter()
            .all(|p| p.len() <= MAX_PAYLOAD || codec == Codec::Opus)
    );
    assert!(
        payloads
            .iter()
            .enumerate()
            .all(|(i, p)| i > 0 || begins(codec, p))
    );
    let (united, key) = unite(codec, &payloads).expect("a frame");
    (united, key, payloads.len())
}

#[test]
fn frames_come_out_as_they_went_in() {
    for len in [
        1, 2, 10, 1158, 1159, 1160, 1161, 1162, 2316, 2317, 12_000, 200_000,
    ] {
        let mut picture = bytes(len, 7);
        for keyframe in [true, false] {
            picture[0] = if keyframe { 0x10 } else { 0x11 };
            let frame = Bytes::from(picture.clone());
            assert_eq!(
                there_and_back(Codec::Vp8, &frame, keyframe),
                (frame.clone(), keyframe, len.div_ceil(1159))
            );
            picture[0] = if keyframe { 0x82 } else { 0x86 };
            let frame = Bytes::from(picture.clone());
            assert_eq!(
                there_and_back(Codec::Vp9, &frame, keyframe),
                (frame.clone(), keyframe, len.div_ceil(1159))
            );
            picture[0] = if keyframe { 0x65 } else { 0x41 };
            let frame = annex_b(&[
                vec![0x67, 0x42, 0x00, 0x00],
                vec![0x68],
                picture.clone(),
                bytes(len, 9),
            ]);
            let (united, key, _) = there_and_back(Codec::H264, &frame, keyframe);
            assert_eq!((united, key), (frame, keyframe));
        }
    }
    let frame = Bytes::from(bytes(60, 1));
    assert_eq!(
        there_and_back(Codec::Opus, &frame, true),
        (frame.clone(), true, 1)
    );
}

#[test]
fn annex_b_is_read_in_all_its_forms() {
    let nals = |frame: &[u8]| {
        let (mut at, mut found) = (0, Vec::new());
        while let Some(nal) = next_nal(frame, &mut at) {
            found.push(frame[nal].to_vec());
        }
        found
    };
    assert_eq!(nals(b"\0\0\x01a\0\0\0\x01bc\0\0\x01d"), [&b"a"[..], b"bc", b"d"]);
    assert_eq!(nals(b"\0\0\0\x01a\0\0\0\0\x01b"), [&b"a\0"[..], b"b"]);
    assert_eq!(nals(b"abc"), [&b"abc"[..]]);
    assert_eq!(nals(b"\0\0\x01\0\0\x01\0\0\x01"), Vec::<Vec<u8>>::new());
    assert_eq!(nals(b"a\0\0"), [&b"a\0\0"[..]]);
    assert_eq!(nals(b""), Vec::<Vec<u8>>::new());
}

#[test]
fn what_browsers_send_is_understood() {
    // STAP-A with SPS and PPS, then a whole IDR slice.
    let stap = Bytes::from_static(&[0x78, 0, 3, 0x67, 0x42, 0xE0, 0, 2, 0x68, 0xCE]);
    let slice = Bytes::from_static(&[0x65, 0x88, 1]);
    let (frame, keyframe) = unite(Codec::H264, &[stap.clone(), slice]).unwrap();
    assert_eq!(
        frame[..],
        [
            0, 0, 0, 1, 0x67, 0x42, 0xE0, 0, 0, 0, 1, 0x68, 0xCE, 0, 0, 0, 1, 0x65, 0x88, 1
        ]
    );
    assert!(keyframe && surely_begins(Codec::H264, &stap));
    // VP8 with a picture id of 15 bits, TL0PICIDX, TID and KEYIDX.
    let vp8 = Bytes::from_static(&[0x90, 0xF0, 0x80, 0x01, 0x05, 0x20, 0x10, 0xAA]);
    assert_eq!(
        unite(Codec::Vp8, &[vp8]).unwrap(),
        (Bytes::from_static(&[0x10, 0xAA]), true)
    );
    // VP9, flexible, with a picture id and two references.
    let vp9 = Bytes::from_static(&[0xDC, 0x80, 0x01, 0x03, 0x04, 0x86, 0xAA]);
    assert_eq!(
        unite(Codec::Vp9, &[vp9]).unwrap(),
        (Bytes::from_static(&[0x86, 0xAA]), false)
    );
    // VP9, not flexible, with layers, a structure of one size and one picture.
    let vp9 = Bytes::from_static(&[
        0xAE, 0x05, 0x00, 0x07, 0x18, 1, 2, 3, 4, 1, 0x04, 0x01, 0x82, 0xAA,
    ]);
    assert_eq!(
        unite(Codec::Vp9, &[vp9]).unwrap(),
        (Bytes::from_static(&[0x82, 0xAA]), true)
    );
}

#[test]
fn only_what_comes_first_surely_begins_a_picture() {
    for (payload, surely) in [
        (&[0x67_u8, 1][..], true),
        (&[0x09, 0x10], true),
        (&[0x41, 0x9A], true),
        (&[0x41, 0x40], false),
        (&[0x65, 0x88], false),
        (&[0x68, 1], false),
        (&[0x5C, 0x81, 0x9A], true),
        (&[0x5C, 0x81, 0x40], false),
        (&[0x5C, 0x01, 0x9A], false),
        (&[0x5C, 0x85, 0x9A], false),
        (&[0x78, 0, 1, 0x68], false),
        (&[0x78], false),
        (&[0x5C], false),
        (&[], false),
    ] {
        assert_eq!(surely_begins(Codec::H264, payload), surely, "{payload:02x?}");
    }
}

#[test]
fn garbage_is_refused_or_bounded() {
    let mut state = 1_u32;
    let mut random = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) as u8
    };
    for round in 0..20_000 {
        let payloads: Vec<Bytes> = (0..=round % 3)
            .map(|_| (0..random() % 24).map(|_| random()).collect())
            .collect();
        let len: usize = payloads.iter().map(Bytes::len).sum();
        for codec in Codec::ALL {
            for payload in &payloads {
                let (_, _) = (begins(codec, payload), surely_begins(codec, payload));
            }
            if let Some((frame, _)) = unite(codec, &payloads) {
                assert!(frame.len() <= 4 * len + 4, "{codec}: {payloads:?}");
            }
        }
    }
    for broken in [
        &[&[0x7C][..]][..],
        &[&[0x7C, 0x05, 1]],
        &[&[0x7C, 0x85, 1]],
        &[&[0x7C, 0x85, 1], &[0x7C, 0x85, 1]],
        &[&[0x7C, 0x85, 1], &[0x65]],
        &[&[0x78, 0xFF, 0xFF, 1]],
        &[&[0x78, 0]],
        &[&[0x79, 0, 0, 0, 1, 0x65]],
        &[&[0x00]],
        &[&[0x1F]],
    ] {
        let payloads: Vec<_> = broken.iter().map(|p| Bytes::copy_from_slice(p)).collect();
        assert_eq!(unite(Codec::H264, &payloads), None, "{broken:02x?}");
    }
}
