//! Makes small files of each format.

use mp4_atom::{
    Avc1, Avcc, Codec as Mp4Codec, Ctts, CttsEntry, Edts, Elst, ElstEntry, Encode as _, Ftyp, Hdlr, Mdhd,
    Mdia, Mfhd, Minf, Moof, Moov, Mvex, Mvhd, Stbl, Stco, Stsc, StscEntry, Stsd, Stss, Stsz, StszSamples,
    Stts, SttsEntry, Tfdt, Tfhd, Tkhd, Traf, Trak, Trex, Trun, TrunEntry, TrunSamples, Visual, Vmhd,
};
use std::{path::PathBuf, time::Duration};
use visavis_core::media::{Bitrate, Codec, EncodedFrame, VideoFrame};
use visavis_media::codec::{VideoSettings, video_encoder};

/// A directory that goes away, with a file in it.
pub(crate) fn file(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    std::fs::write(&path, bytes).unwrap();
    (directory, path)
}

/// A gradient that moves, 25 a second.
pub(crate) fn picture(width: usize, height: usize, number: usize) -> VideoFrame {
    let chroma = (width.div_ceil(2), height.div_ceil(2));
    let plane = |width: usize, height: usize, step: usize| -> Vec<u8> {
        let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        pixels
            .map(|(x, y)| ((x + step * y + 4 * number) % 200) as u8 + 20)
            .collect()
    };
    VideoFrame {
        width,
        height,
        planes: [
            plane(width, height, 1).into(),
            plane(chroma.0, chroma.1, 2).into(),
            plane(chroma.0, chroma.1, 3).into(),
        ],
        strides: [width, chroma.0, chroma.0],
        time: Duration::from_millis(40) * number as u32,
    }
}

pub(crate) fn y4m(header: &str, frames: &[Vec<u8>]) -> Vec<u8> {
    let mut out = format!("YUV4MPEG2 {header}\n").into_bytes();
    for frame in frames {
        out.extend_from_slice(b"FRAME\n");
        out.extend_from_slice(frame);
    }
    out
}

/// `count` pictures in H.264 of 64 x 48, the first a keyframe.
pub(crate) fn h264(count: usize) -> Vec<EncodedFrame> {
    let settings = VideoSettings {
        bitrate: Bitrate::from_bps(300_000),
        fps: 25.0,
    };
    let mut encoder = video_encoder(Codec::H264, settings).unwrap();
    let encode = |number| {
        encoder
            .encode(&picture(64, 48, number), number == 0)
            .unwrap()
            .unwrap()
    };
    (0..count).map(encode).collect()
}

/// Every frame has `ticks` of 1/25,000 s.
pub(crate) fn ivf(fourcc: [u8; 4], frames: &[EncodedFrame]) -> Vec<u8> {
    let mut out = b"DKIF\0\0\x20\0".to_vec();
    out.extend_from_slice(&fourcc);
    out.extend_from_slice(&[64, 0, 48, 0]);
    out.extend_from_slice(&25_000_u32.to_le_bytes());
    out.extend_from_slice(&1_u32.to_le_bytes());
    out.extend_from_slice(&[0; 8]);
    for (number, frame) in frames.iter().enumerate() {
        let data = frame.payload.as_ref();
        out.extend_from_slice(&(data.len() as u32).to_le_bytes());
        // Not from zero.
        out.extend_from_slice(&(number as u64 * 1000 + 5000).to_le_bytes());
        out.extend_from_slice(data);
    }
    out
}

/// How an MP4 is written.
#[derive(Default, Clone, Copy)]
pub(crate) struct Mp4 {
    /// In fragments of two frames.
    pub(crate) fragmented: bool,
    /// An edit list that shows only the pictures from the third to the one before the last.
    pub(crate) edited: bool,
}

impl Mp4 {
    pub(crate) fn write(self, frames: &[EncodedFrame]) -> Vec<u8> {
        let mut parameters = (Vec::new(), Vec::new());
        let samples: Vec<Vec<u8>> = frames
            .iter()
            .map(|frame| {
                let mut sample = Vec::new();
                for nal in nals(frame.payload.as_ref()) {
                    match nal[0] & 0x1f {
                        7 => parameters.0 = nal.to_vec(),
                        8 => parameters.1 = nal.to_vec(),
                        _ => {
                            sample.extend_from_slice(&(nal.len() as u32).to_be_bytes());
                            sample.extend_from_slice(nal);
                        }
                    }
                }
                sample
            })
            .collect();
        let mut out = Vec::new();
        let brand = Ftyp {
            major_brand: (*b"isom").into(),
            minor_version: 512,
            compatible_brands: vec![(*b"isom").into()],
        };
        brand.encode(&mut out).unwrap();
        let avcc = Avcc::new(&parameters.0, &parameters.1).unwrap();
        if self.fragmented {
            moov(avcc, Stbl::default(), true, None).encode(&mut out).unwrap();
            for (number, pair) in samples.chunks(2).enumerate() {
                fragment(&mut out, number as u32, pair);
            }
            return out;
        }
        // The data first, so that the offsets are known.
        let mut offset = out.len() as u32 + 8;
        let data = samples.concat();
        out.extend_from_slice(&(data.len() as u32 + 8).to_be_bytes());
        out.extend_from_slice(b"mdat");
        out.extend_from_slice(&data);
        let mut chunks = Vec::new();
        for pair in samples.chunks(2) {
            chunks.push(offset);
            offset += pair.iter().map(|sample| sample.len() as u32).sum::<u32>();
        }
        let count = samples.len() as u32;
        let mut runs = vec![StscEntry {
            first_chunk: 1,
            samples_per_chunk: 2,
            sample_description_index: 1,
        }];
        if count % 2 == 1 {
            runs.push(StscEntry {
                first_chunk: chunks.len() as u32,
                samples_per_chunk: 1,
                sample_description_index: 1,
            });
        }
        let stbl = Stbl {
            stts: Stts {
                entries: vec![SttsEntry {
                    sample_count: count,
                    sample_delta: 512,
                }],
            },
            // Shown two frames late, as with B-frames; nothing says that the first is shown at zero.
            ctts: Some(Ctts {
                entries: vec![CttsEntry {
                    sample_count: count,
                    sample_offset: 1024,
                }],
            }),
            stss: Some(Stss { entries: vec![1] }),
            stsc: Stsc { entries: runs },
            stsz: Stsz {
                samples: StszSamples::Different {
                    sizes: samples.iter().map(|sample| sample.len() as u32).collect(),
                },
            },
            stco: Some(Stco { entries: chunks }),
            ..Stbl::default()
        };
        let edits = self.edited.then(|| Elst {
            entries: vec![
                ElstEntry {
                    segment_duration: 100,
                    media_time: None,
                    media_rate: 1.into(),
                },
                ElstEntry {
                    segment_duration: u64::from(count - 3) * 40,
                    media_time: Some(1024 + 2 * 512),
                    media_rate: 1.into(),
                },
            ],
        });
        moov(avcc, stbl, false, edits).encode(&mut out).unwrap();
        out
    }
}

fn moov(avcc: Avcc, mut stbl: Stbl, fragmented: bool, edits: Option<Elst>) -> Moov {
    stbl.stsd = Stsd {
        codecs: vec![Mp4Codec::Avc1(Avc1 {
            visual: Visual {
                data_reference_index: 1,
                width: 64,
                height: 48,
                ..Visual::default()
            },
            avcc,
            ..Avc1::default()
        })],
    };
    if fragmented {
        stbl.stco = Some(Stco::default());
    }
    Moov {
        mvhd: Mvhd {
            timescale: 1000,
            ..Mvhd::default()
        },
        mvex: fragmented.then(|| Mvex {
            mehd: None,
            trex: vec![Trex {
                track_id: 1,
                default_sample_description_index: 1,
                default_sample_duration: 512,
                ..Trex::default()
            }],
        }),
        trak: vec![Trak {
            tkhd: Tkhd {
                track_id: 1,
                ..Tkhd::default()
            },
            edts: edits.map(|elst| Edts { elst: Some(elst) }),
            mdia: Mdia {
                mdhd: Mdhd {
                    timescale: 12_800,
                    language: "und".into(),
                    ..Mdhd::default()
                },
                hdlr: Hdlr {
                    handler: (*b"vide").into(),
                    name: String::new(),
                },
                minf: Minf {
                    vmhd: Some(Vmhd::default()),
                    stbl,
                    ..Minf::default()
                },
            },
            ..Trak::default()
        }],
        ..Moov::default()
    }
}

fn fragment(out: &mut Vec<u8>, number: u32, samples: &[Vec<u8>]) {
    let entries = samples.iter().map(|sample| TrunEntry {
        size: Some(sample.len() as u32),
        ..TrunEntry::default()
    });
    let mut moof = Moof {
        mfhd: Mfhd {
            sequence_number: number + 1,
        },
        traf: vec![Traf {
            tfhd: Tfhd {
                track_id: 1,
                default_base_is_moof: true,
                ..Tfhd::default()
            },
            tfdt: Some(Tfdt {
                base_media_decode_time: u64::from(number) * 1024,
            }),
            trun: vec![Trun {
                data_offset: Some(0),
                samples: TrunSamples::Explicit(entries.collect()),
            }],
            ..Traf::default()
        }],
    };
    let mut length = Vec::new();
    moof.encode(&mut length).unwrap();
    moof.traf[0].trun[0].data_offset = Some(i32::try_from(length.len()).unwrap() + 8);
    moof.encode(out).unwrap();
    let data = samples.concat();
    out.extend_from_slice(&(data.len() as u32 + 8).to_be_bytes());
    out.extend_from_slice(b"mdat");
    out.extend_from_slice(&data);
}

/// The NAL units between start codes.
fn nals(bitstream: &[u8]) -> Vec<&[u8]> {
    let mut starts: Vec<usize> = Vec::new();
    for (at, window) in bitstream.windows(3).enumerate() {
        if window == [0, 0, 1] {
            starts.push(at + 3);
        }
    }
    let mut units = Vec::new();
    for (index, start) in starts.iter().enumerate() {
        let end = starts.get(index + 1).map_or(bitstream.len(), |next| next - 3);
        let unit = &bitstream[*start..end];
        units.push(unit.strip_suffix(&[0]).unwrap_or(unit));
    }
    units
}
