//! What is in a bitstream with start codes (ITU-T H.264 Annex B).

use crate::codec::gate::Contents;

const SLICE: u8 = 1;
const IDR_SLICE: u8 = 5;

/// The types of the NAL units (H.264 §7.4.1), in order.
fn nal_types(bitstream: &[u8]) -> impl Iterator<Item = u8> {
    bitstream
        .windows(4)
        .filter(|w| w[..3] == [0, 0, 1])
        .map(|w| w[3] & 0x1f)
}

/// What an access unit holds.
pub(super) fn contents(bitstream: &[u8]) -> Contents {
    let mut contents = Contents::Nothing;
    for nal_type in nal_types(bitstream) {
        match nal_type {
            IDR_SLICE => return Contents::Keyframe,
            // The first slice tells: IDR and other slices do not mix in a picture (§7.4.1.2.4).
            SLICE..IDR_SLICE => return Contents::Delta,
            6..=12 => contents = Contents::Parameters,
            _ => {}
        }
    }
    contents
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_slice_tells() {
        assert_eq!(contents(&[]), Contents::Nothing);
        assert_eq!(contents(&[0, 0, 1]), Contents::Nothing);
        assert_eq!(contents(&[0, 0, 0, 1, 0x67, 0, 0, 1, 0x68]), Contents::Parameters);
        assert_eq!(contents(&[0, 0, 0, 1, 0x67, 0, 0, 1, 0x65]), Contents::Keyframe);
        assert_eq!(
            contents(&[0, 0, 0, 1, 0x09, 0, 0, 1, 0x41, 0, 0, 1, 0x65]),
            Contents::Delta
        );
    }
}
