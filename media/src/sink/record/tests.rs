use super::*;
use crate::source::file::{Repeat, open_audio};
use ::ogg::reading::PacketReader;
use std::{io::Cursor, time::Duration};
use visavis_core::media::{Codec, EncodedFrame};

fn frame(codec: Codec, payload: &[u8], keyframe: bool, time_us: u64) -> EncodedFrame {
    EncodedFrame {
        codec,
        payload: payload.to_vec().into(),
        keyframe,
        time: Duration::from_micros(time_us),
    }
}

fn number<const N: usize>(file: &[u8], at: usize) -> u64 {
    file[at..at + N]
        .iter()
        .rev()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[test]
fn ivf_has_the_size_the_count_and_the_times() {
    // The beginning of a VP8 keyframe of 176 by 144.
    let keyframe = [0x50, 0x01, 0x00, 0x9d, 0x01, 0x2a, 176, 0, 144, 0, 1, 2, 3];
    let mut recorder = IvfRecorder::new(Cursor::new(Vec::new()), Codec::Vp8).unwrap();
    recorder.write(&frame(Codec::Vp8, &[1; 5], false, 0)).unwrap();
    recorder
        .write(&frame(Codec::Vp8, &keyframe, true, 33_333))
        .unwrap();
    recorder
        .write(&frame(Codec::Vp8, &[1; 5], false, 66_667))
        .unwrap();
    assert!(recorder.write(&frame(Codec::H264, &[1; 5], true, 0)).is_err());
    assert_eq!((recorder.frames(), recorder.skipped()), (2, 1));
    let file = recorder.finish().unwrap().into_inner();
    assert_eq!(
        (&file[..4], number::<2>(&file, 6), &file[8..12]),
        (&b"DKIF"[..], 32, &b"VP80"[..])
    );
    assert_eq!((number::<2>(&file, 12), number::<2>(&file, 14)), (176, 144));
    assert_eq!(
        (
            number::<4>(&file, 16),
            number::<4>(&file, 20),
            number::<4>(&file, 24)
        ),
        (90_000, 1, 2)
    );
    assert_eq!(
        (number::<4>(&file, 32), number::<8>(&file, 36), &file[44..57]),
        (13, 3_000, &keyframe[..])
    );
    assert_eq!(
        (number::<4>(&file, 57), number::<8>(&file, 61), file.len()),
        (5, 6_000, 57 + 12 + 5)
    );
    assert!(IvfRecorder::new(Cursor::new(Vec::new()), Codec::Opus).is_err());
}

/// All packets with their granule positions and whether they end a page.
fn packets(file: Vec<u8>) -> Vec<(Vec<u8>, u64, bool)> {
    let mut reader = PacketReader::new(Cursor::new(file));
    let mut packets = Vec::new();
    while let Ok(Some(packet)) = reader.read_packet() {
        packets.push((packet.data.clone(), packet.absgp_page(), packet.last_in_page()));
    }
    packets
}

#[test]
fn ogg_has_headers_positions_and_concealed_losses() {
    // CELT, full band, 20 ms, stereo, one frame.
    let packet = |number: u8| [0xfc, number, 1, 2, 3];
    let mut recorder = OggOpusRecorder::new(Vec::new(), 2).unwrap();
    for number in (0..100).filter(|number| ![3, 4, 50].contains(number)) {
        // RTP times begin anywhere and are rounded.
        recorder
            .write(&frame(
                Codec::Opus,
                &packet(number),
                true,
                777_001 + 20_000 * u64::from(number),
            ))
            .unwrap();
    }
    recorder
        .write(&frame(Codec::Opus, &packet(3), true, 777_001 + 60_000))
        .unwrap();
    assert_eq!((recorder.packets(), recorder.concealed()), (97, 3));
    let packets = packets(recorder.finish().unwrap());

    let (head, tags) = (&packets[0].0, &packets[1].0);
    assert_eq!(head[..], *b"OpusHead\x01\x02\x38\x01\x80\xbb\x00\x00\x00\x00\x00");
    assert_eq!(tags[..], *b"OpusTags\x07\x00\x00\x00visavis\x00\x00\x00\x00");
    let sound = &packets[2..];
    assert_eq!(sound.len(), 100);
    for (index, (data, ..)) in sound.iter().enumerate() {
        let lost = [3, 4, 50].contains(&index);
        assert_eq!(
            data[..],
            if lost {
                vec![0xfc]
            } else {
                packet(index as u8).to_vec()
            }
        );
    }
    let pages = sound
        .iter()
        .enumerate()
        .filter(|(_, (.., last))| *last)
        .collect::<Vec<_>>();
    assert_eq!(pages.len(), 2);
    for (index, (_, granule, _)) in pages {
        assert_eq!(*granule, 960 * (index as u64 + 1));
    }
}

#[test]
fn ogg_refuses_nonsense_and_survives_jumps_of_the_clock() {
    let mut recorder = OggOpusRecorder::new(Vec::new(), 1).unwrap();
    for payload in [&[][..], &[0xff], &[0xff, 0x00], &[0xff, 0x3f]] {
        assert!(recorder.write(&frame(Codec::Opus, payload, true, 0)).is_err());
    }
    recorder.write(&frame(Codec::Opus, &[0xfc], true, 0)).unwrap();
    // Ten days later, and then one lost.
    let later = 10 * 86_400_000_000;
    recorder.write(&frame(Codec::Opus, &[0xfc], true, later)).unwrap();
    recorder
        .write(&frame(Codec::Opus, &[0xfc], true, later + 40_000))
        .unwrap();
    recorder
        .write(&frame(Codec::Opus, &[0xfc], true, u64::MAX))
        .unwrap();
    assert_eq!((recorder.packets(), recorder.concealed()), (4, 1));
    assert!(OggOpusRecorder::new(Vec::new(), 3).is_err());
}

#[test]
fn a_recording_that_was_cut_short_still_plays() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cut.opus");
    let mut recorder = OggOpusRecorder::create(&path, 2).unwrap();
    let mut encoder = crate::codec::audio_encoder(crate::codec::AudioSettings {
        bitrate: visavis_core::media::Bitrate::from_bps(32_000),
        channels: 2,
    })
    .unwrap();
    let tone = crate::source::Tone::new();
    for number in 0..120 {
        recorder
            .write(&encoder.encode(&tone.frame(number)).unwrap())
            .unwrap();
    }
    // As when the program dies: nothing runs that could complete the file.
    std::mem::forget(recorder);
    let mut source = open_audio(&path, Repeat::Once).unwrap();
    let mut frames = 0;
    while let Ok(Some(_)) = source.next() {
        frames += 1;
    }
    assert!(frames >= 95, "{frames}");
    assert!(IvfRecorder::create(directory.path().join("no/such/place"), Codec::H264).is_err());
}
