//! H.264 as MP4 has it (ISO/IEC 14496-15 §5) to Annex B.

use super::{super::Read, Trouble, boxes};
use mp4_atom::Avcc;

/// Bytes of an `avc1` entry before its boxes (§12.1.3 of ISO/IEC 14496-12).
const ENTRY_HEADER: usize = 78;

/// A sample description.
#[derive(Debug)]
pub(super) struct Avc {
    /// Bytes of a NAL unit's length: 1 to 4.
    length_size: usize,
    /// Parameter sets in Annex B.
    parameters: Vec<u8>,
}

impl Avc {
    /// From an `avc1` or `avc3` entry.
    pub(super) fn read(entry: &[u8]) -> Read<Self> {
        let inner = entry.get(ENTRY_HEADER..).unwrap_or_default();
        let config: Avcc = boxes::decode(inner, *b"avcC")?;
        let mut parameters = Vec::new();
        for nal in config
            .sequence_parameter_sets
            .iter()
            .chain(&config.picture_parameter_sets)
        {
            push_nal(&mut parameters, nal);
        }
        Ok(Self {
            length_size: config.length_size.into(),
            parameters,
        })
    }

    /// A sample with start codes instead of lengths, after the parameter sets if asked for.
    pub(super) fn annex_b(&self, sample: &[u8], with_parameters: bool) -> Read<Vec<u8>> {
        let mut out = Vec::with_capacity(self.parameters.len() + sample.len() + 64);
        if with_parameters {
            out.extend_from_slice(&self.parameters);
        }
        let mut rest = sample;
        while !rest.is_empty() {
            let nal = rest
                .split_at_checked(self.length_size)
                .and_then(|(length, rest)| {
                    let length = length
                        .iter()
                        .fold(0, |length, byte| length << 8 | usize::from(*byte));
                    rest.split_at_checked(length)
                });
            let Some((nal, after)) = nal else {
                return Err(Trouble::damaged("a NAL unit is longer than its frame"));
            };
            push_nal(&mut out, nal);
            rest = after;
        }
        Ok(out)
    }
}

fn push_nal(out: &mut Vec<u8>, nal: &[u8]) {
    if !nal.is_empty() {
        out.extend_from_slice(&[0, 0, 0, 1]);
        out.extend_from_slice(nal);
    }
}
