//! What of H.264 can be decoded, told from its sequence parameter sets before a decoder sees them: a decoder that does
//! not know a format may as well give grey pictures.

use super::{Read, Trouble, pictures::LARGEST};
use h264_reader::nal::{
    Nal as _, RefNal,
    sps::{ChromaFormat, FrameMbsFlags, SeqParameterSet},
};

/// Checks the parameter sets before the first slice of an Annex B bitstream.
pub(super) fn check(bitstream: &[u8]) -> Read<()> {
    let mut rest = bitstream;
    while let Some(start) = start_code(rest) {
        rest = &rest[start + 3..];
        match rest.first().map(|header| header & 0x1f) {
            Some(1..=5) | None => break,
            Some(7) => {
                let end = start_code(rest).unwrap_or(rest.len());
                check_sps(&rest[..end])?;
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Where the next start code of three bytes is.
pub(super) fn start_code(bytes: &[u8]) -> Option<usize> {
    bytes.windows(3).position(|window| window == [0, 0, 1])
}

fn check_sps(nal: &[u8]) -> Read<()> {
    // Zero bytes before the next start code belong to none of the two.
    let end = nal.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let damaged = |error: String| Trouble::damaged(format!("the sequence parameter set: {error}"));
    if end < 4 {
        return Err(damaged("too short".into()));
    }
    let nal = RefNal::new(&nal[..end], &[], true);
    let sps = SeqParameterSet::from_bits(nal.rbsp_bits()).map_err(|error| damaged(format!("{error:?}")))?;
    let chroma = &sps.chroma_info;
    let depth = 8 + chroma.bit_depth_luma_minus8.max(chroma.bit_depth_chroma_minus8);
    let unsupported = |what: String| {
        Err(Trouble::unsupported(format!(
            "the H.264 stream is {what}; 8-bit 4:2:0, progressive, can be decoded"
        )))
    };
    match chroma.chroma_format {
        ChromaFormat::YUV420 => {}
        // openh264 crops it as if it had colour, and so by too much.
        ChromaFormat::Monochrome => return unsupported("monochrome".into()),
        ChromaFormat::YUV422 => return unsupported("4:2:2".into()),
        ChromaFormat::YUV444 => return unsupported("4:4:4".into()),
        ChromaFormat::Invalid(other) => return unsupported(format!("of chroma format {other}")),
    }
    if depth > 8 {
        return unsupported(format!("{depth}-bit"));
    }
    if matches!(sps.frame_mbs_flags, FrameMbsFlags::Fields { .. }) {
        return unsupported("interlaced".into());
    }
    let (width, height) = sps
        .pixel_dimensions()
        .map_err(|error| damaged(format!("{error:?}")))?;
    if width.max(height) as usize > LARGEST || width.min(height) == 0 {
        return unsupported(format!(
            "{width} x {height} pixels (at most {LARGEST} x {LARGEST})"
        ));
    }
    Ok(())
}
