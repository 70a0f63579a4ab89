//! What the first bytes of VP8 and VP9 frames tell.

use super::gate::Contents;

/// The frame tag of VP8 (RFC 6386 §9.1): three bytes, the first bit of which is zero in a keyframe.
pub(super) fn vp8(bitstream: &[u8]) -> Contents {
    match bitstream {
        [first, _, _, ..] if first & 1 == 0 => Contents::Keyframe,
        [_, _, _, ..] => Contents::Delta,
        _ => Contents::Nothing,
    }
}

/// The uncompressed header of VP9 (VP9 bitstream specification §6.2): a marker, the profile, whether a frame is shown
/// that is there already, and whether it is no keyframe.
#[cfg(feature = "libvpx")]
pub(super) fn vp9(bitstream: &[u8]) -> Contents {
    const MARKER: u8 = 0b1000_0000;
    const SHOW_EXISTING: u8 = 0b1000;
    const NOT_KEY: u8 = 0b100;
    match bitstream.first() {
        // The two bits after the marker are the profile, of which WebRTC's I420 is 0.
        Some(first) if first & 0b1111_0000 != MARKER => Contents::Nothing,
        Some(first) if first & (SHOW_EXISTING | NOT_KEY) == 0 => Contents::Keyframe,
        Some(_) => Contents::Delta,
        None => Contents::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keyframes_are_known_by_their_first_byte() {
        assert_eq!(vp8(&[0x10, 2, 0, 0x9d]), Contents::Keyframe);
        assert_eq!(vp8(&[0x31, 2, 0]), Contents::Delta);
        assert_eq!(vp8(&[0x10, 2]), Contents::Nothing);
        #[cfg(feature = "libvpx")]
        {
            assert_eq!(vp9(&[0x82]), Contents::Keyframe);
            assert_eq!(vp9(&[0x86]), Contents::Delta);
            assert_eq!(vp9(&[0x88]), Contents::Delta);
            assert_eq!(vp9(&[0x92]), Contents::Nothing);
            assert_eq!(vp9(&[]), Contents::Nothing);
        }
    }
}
