//! Files that are cut off or damaged anywhere: an error or an end, no panic, no endless reading.

use crate::{
    made::{self, Mp4},
    made_sound,
};
use std::path::Path;
use visavis_media::source::file::{Repeat, open_audio, open_video};

/// Of each kind of damage to each file.
const ROUNDS: usize = 80;

/// xorshift64*: the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize) % end
    }
}

/// Reads a little more than a round of it.
fn play(path: &Path) {
    let mut total = std::time::Duration::ZERO;
    if let Ok(mut file) = open_video(path, Repeat::Loop) {
        for _ in 0..20 {
            match file.source.next() {
                Ok(Some(frame)) => {
                    assert!(frame.time >= total, "time went backwards");
                    total = frame.time;
                    for (plane, rows) in [(0, frame.height), (1, frame.height.div_ceil(2))] {
                        assert!(frame.planes[plane].len() >= frame.strides[plane] * (rows - 1));
                    }
                }
                Ok(None) => panic!("a loop ended"),
                Err(_) => break,
            }
        }
    }
    if let Ok(mut source) = open_audio(path, Repeat::Loop) {
        for _ in 0..20 {
            match source.next() {
                Ok(Some(frame)) => assert!(frame.samples.iter().all(|sample| sample.is_finite())),
                Ok(None) => panic!("a loop ended"),
                Err(_) => break,
            }
        }
    }
}

/// `repair` makes checksums right again.
fn damage(name: &str, good: &[u8], repair: impl Fn(&mut [u8])) {
    let (_directory, path) = made::file(good);
    let mut random = Random(0x5eed ^ good.len() as u64);
    for round in 0..ROUNDS {
        let mut kinds: Vec<Vec<u8>> = Vec::new();
        kinds.push(good[..random.below(good.len())].to_vec());
        let mut flipped = good.to_vec();
        for _ in 0..=random.below(8) {
            let at = random.below(good.len());
            flipped[at] ^= 1 << random.below(8);
        }
        kinds.push(flipped);
        // Numbers that lie: all ones, all zeros, the sign bit.
        let mut lying = good.to_vec();
        let at = random.below(good.len().saturating_sub(8).max(1));
        let value = [[0xff; 4], [0; 4], [0x80, 0, 0, 0], [0x7f, 0xff, 0xff, 0xff]][random.below(4)];
        for (byte, value) in lying[at..].iter_mut().zip(value) {
            *byte = value;
        }
        kinds.push(lying);
        for (kind, mut bytes) in kinds.into_iter().enumerate() {
            repair(&mut bytes);
            std::fs::write(&path, &bytes).unwrap();
            let caught = std::panic::catch_unwind(|| play(&path));
            assert!(caught.is_ok(), "{name}: round {round}, damage {kind}");
        }
    }
}

#[test]
fn y4m() {
    let raw: Vec<_> = (0..3)
        .map(|number| made::picture(16, 8, number).planes.concat())
        .collect();
    damage("y4m", &made::y4m("W16 H8 F25:1 C420", &raw), |_| {});
}

#[test]
fn ivf() {
    damage("ivf", &made::ivf(*b"H264", &made::h264(3)), |_| {});
}

#[test]
fn mp4() {
    let encoded = made::h264(4);
    let edited = Mp4 {
        edited: true,
        ..Mp4::default()
    };
    damage("mp4", &edited.write(&encoded), |_| {});
    let fragmented = Mp4 {
        fragmented: true,
        ..Mp4::default()
    };
    damage("fragmented mp4", &fragmented.write(&encoded), |_| {});
}

#[test]
fn mp4_tables() {
    // Most bytes of an MP4 are its pictures': here only the tables are damaged.
    let good = Mp4::default().write(&made::h264(4));
    let tables = good.windows(4).position(|window| window == b"moov").unwrap() - 4;
    let (_directory, path) = made::file(&good);
    let mut random = Random(0xb0c5);
    for round in 0..4 * ROUNDS {
        let mut bytes = good.clone();
        let at = tables + random.below(good.len() - tables - 4);
        match random.below(3) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at..at + 4].fill(0xff),
            _ => bytes[at] = random.below(256) as u8,
        }
        std::fs::write(&path, &bytes).unwrap();
        assert!(std::panic::catch_unwind(|| play(&path)).is_ok(), "round {round}");
    }
}

#[test]
fn wav() {
    damage(
        "wav",
        &made_sound::wav(44_100, 2, 24, &made_sound::sine(44_100, 2, 440.0, 2000)),
        |_| {},
    );
    damage(
        "float wav",
        &made_sound::wav(48_000, 3, 0, &made_sound::sine(48_000, 3, 440.0, 1000)),
        |_| {},
    );
}

#[test]
fn ogg_opus() {
    let good = made_sound::opus(&made_sound::sine(48_000, 1, 440.0, 9600), 312, 0, 9000, 0);
    damage("ogg", &good, |_| {});
    // With the checksums right, the damage goes deeper.
    damage("ogg with right checksums", &good, repair_pages);
}

/// The checksums of all pages (RFC 3533 §6).
fn repair_pages(bytes: &mut [u8]) {
    let mut at = 0;
    while bytes.len() >= at + 27 && &bytes[at..at + 4] == b"OggS" {
        let segments = usize::from(bytes[at + 26]);
        let Some(table) = bytes.get(at + 27..at + 27 + segments) else {
            return;
        };
        let length = 27 + segments + table.iter().copied().map(usize::from).sum::<usize>();
        let Some(page) = bytes.get_mut(at..at + length) else {
            return;
        };
        page[22..26].fill(0);
        let mut sum = 0_u32;
        for byte in page.iter() {
            sum ^= u32::from(*byte) << 24;
            for _ in 0..8 {
                sum = if sum >> 31 == 1 {
                    sum << 1 ^ 0x04c1_1db7
                } else {
                    sum << 1
                };
            }
        }
        page[22..26].copy_from_slice(&sum.to_le_bytes());
        at += length;
    }
}
