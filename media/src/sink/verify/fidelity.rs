//! How far a picture is from the one that it should be.

use visavis_core::media::VideoFrame;

/// Columns and rows of the parts in which damage is looked for.
const PARTS: (usize, usize) = (8, 6);

/// What identical pictures count as, in dB.
pub(super) const IDENTICAL: f64 = 100.0;

/// Peak signal-to-noise ratios of 8-bit samples, in dB.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fidelity {
    /// Of luma.
    pub(super) luma: f64,
    /// Of all samples of luma and chroma together.
    pub(super) all: f64,
    /// Of luma in the worst of 8 by 6 parts of the picture.
    pub(super) worst_part: f64,
}

/// Compares pictures of the same size; `None` if a plane is too short for it.
pub(super) fn compare(frame: &VideoFrame, reference: &VideoFrame) -> Option<Fidelity> {
    let (width, height) = (reference.width, reference.height);
    let (part_width, part_height) = (width.div_ceil(PARTS.0), height.div_ceil(PARTS.1));
    let mut parts = [[0_u64; PARTS.0]; PARTS.1];
    for y in 0..height {
        let (row, wanted) = (row(frame, 0, y, width)?, row(reference, 0, y, width)?);
        let pairs = row.chunks(part_width).zip(wanted.chunks(part_width));
        for (part, (row, wanted)) in parts[y / part_height].iter_mut().zip(pairs) {
            *part += squared_error(row, wanted);
        }
    }
    let (chroma_width, chroma_height) = (width.div_ceil(2), height.div_ceil(2));
    let mut chroma = 0;
    for plane in 1..3 {
        for y in 0..chroma_height {
            let (row, wanted) = (
                row(frame, plane, y, chroma_width)?,
                row(reference, plane, y, chroma_width)?,
            );
            chroma += squared_error(row, wanted);
        }
    }

    let luma = parts.as_flattened().iter().sum::<u64>();
    // Parts at the right and the bottom may be smaller; to take them as full only makes them count for less.
    let worst = parts.as_flattened().iter().copied().max().unwrap_or(0);
    Some(Fidelity {
        luma: psnr(luma, width * height),
        all: psnr(luma + chroma, width * height + 2 * chroma_width * chroma_height),
        worst_part: psnr(worst, part_width * part_height),
    })
}

/// Whether all of the luma is (nearly) one level: what a decoder shows that has nothing to show.
pub(super) fn is_flat(frame: &VideoFrame) -> bool {
    let mut range = (u8::MAX, u8::MIN);
    for y in 0..frame.height {
        let Some(row) = row(frame, 0, y, frame.width) else {
            return false;
        };
        range = row
            .iter()
            .fold(range, |(low, high), luma| (low.min(*luma), high.max(*luma)));
    }
    range.1.saturating_sub(range.0) < 32
}

fn row(frame: &VideoFrame, plane: usize, y: usize, width: usize) -> Option<&[u8]> {
    let start = y.checked_mul(frame.strides[plane])?;
    frame.planes[plane].get(start..start.checked_add(width)?)
}

/// Of at most 8192 samples, so 32 bits hold it. Differences of 16 bits are what vector instructions multiply and add.
fn squared_error(row: &[u8], wanted: &[u8]) -> u64 {
    let differences = row.iter().zip(wanted).map(|(a, b)| i16::from(*a) - i16::from(*b));
    let sum = differences
        .map(|difference| i32::from(difference) * i32::from(difference))
        .sum::<i32>();
    u64::from(sum.unsigned_abs())
}

fn psnr(squared_error: u64, samples: usize) -> f64 {
    if squared_error == 0 {
        return IDENTICAL;
    }
    (10.0 * (255.0 * 255.0 * samples as f64 / squared_error as f64).log10()).min(IDENTICAL)
}
