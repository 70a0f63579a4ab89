//! A picture's number as black and white squares that survive lossy coding.
//!
//! Sixteen columns by four rows at the top left, where squares of 8 or 16 pixels lie on the blocks of every codec: a
//! fixed row for finding the levels, two rows with the number, a row with its CRC-16. A reader needs no more than the
//! picture's size.

use super::canvas::{BLACK, Canvas, Rect, WHITE};
use visavis_core::media::VideoFrame;

/// Squares in a row.
pub(super) const COLUMNS: usize = 16;
/// Rows of squares.
pub(super) const ROWS: usize = 4;

/// The smallest picture that holds the code, in pixels.
pub(super) const MIN_SIZE: (usize, usize) = (64, 48);

/// As many white squares as black ones, so that the levels are averaged over eight each.
const SYNC: u16 = 0b1010_1100_1110_0010;

/// Bits of the number and its CRC.
const BITS: u32 = 48;

/// The least distance between black and white, of 219, in a picture that is still one of ours.
const MIN_CONTRAST: u32 = 50;

/// Pixels from one square to the next: a multiple of 8 where there is room, at least 4.
pub(super) fn square(width: usize, height: usize) -> usize {
    let fits = (width / 32).min(height / 24);
    if fits < 8 { (fits & !1).max(4) } else { fits & !7 }
}

/// Draws `number`.
pub(super) fn write(canvas: &mut Canvas, number: u32) {
    let area = canvas.area();
    let size = square(area.width, area.height);
    for (y, row) in rows(number).into_iter().enumerate() {
        for x in 0..COLUMNS {
            let colour = if row & (0x8000 >> x) == 0 { BLACK } else { WHITE };
            let rect = Rect {
                x: x * size,
                y: y * size,
                width: size,
                height: size,
            };
            canvas.fill_luma(rect, colour[0]);
        }
    }
}

/// Reads the number, or `None` if there is none that passes its check.
pub(super) fn read(frame: &VideoFrame) -> Option<u32> {
    if frame.width < MIN_SIZE.0 || frame.height < MIN_SIZE.1 {
        return None;
    }
    let size = square(frame.width, frame.height);
    let mut levels = [[0; COLUMNS]; ROWS];
    for (y, row) in levels.iter_mut().enumerate() {
        for (x, level) in row.iter_mut().enumerate() {
            *level = mean(frame, x * size, y * size, size)?;
        }
    }

    let is_white = |x: &usize| SYNC & (0x8000 >> x) != 0;
    let white = (0..COLUMNS).filter(is_white).map(|x| levels[0][x]).sum::<u32>() / 8;
    let black = (0..COLUMNS)
        .filter(|x| !is_white(x))
        .map(|x| levels[0][x])
        .sum::<u32>()
        / 8;
    if white < black + MIN_CONTRAST {
        return None;
    }
    let threshold = u32::midpoint(white, black);
    let bits = levels.map(|row| {
        row.into_iter()
            .fold(0_u16, |bits, level| bits << 1 | u16::from(level > threshold))
    });
    let word = bits[1..].iter().fold(0, |word, row| word << 16 | u64::from(*row));
    if bits[0] == SYNC { correct(word) } else { None }
}

/// The number in 48 bits of number and CRC, of which one, or two neighbours, may be wrong.
///
/// Encoders that are in a hurry sometimes keep a block whose mean did not change: libvpx's VP9 shows the last picture's
/// black and white in place of this one's white and black, in one picture of a hundred.
fn correct(word: u64) -> Option<u32> {
    let errors = (0..BITS)
        .map(|bit| 1 << bit)
        .chain((1..BITS).map(|bit| 3 << (bit - 1)));
    let mut words = std::iter::once(0).chain(errors).map(|error: u64| word ^ error);
    words
        .find(|word| crc16((word >> 16) as u32) == *word as u16)
        .map(|word| (word >> 16) as u32)
}

fn rows(number: u32) -> [u16; ROWS] {
    [SYNC, (number >> 16) as u16, number as u16, crc16(number)]
}

/// The mean luma of a square's middle: the edges suffer from coding and scaling.
fn mean(frame: &VideoFrame, x: usize, y: usize, size: usize) -> Option<u32> {
    let margin = size / 4;
    let mut sum = 0;
    for row in y + margin..y + size - margin {
        let start = row.checked_mul(frame.strides[0])?.checked_add(x)?;
        let pixels = frame.planes[0].get(start.checked_add(margin)?..start.checked_add(size - margin)?)?;
        sum += pixels.iter().copied().map(u32::from).sum::<u32>();
    }
    let side = (size - 2 * margin) as u32;
    Some(sum / (side * side))
}

/// CRC-16/CCITT-FALSE.
fn crc16(number: u32) -> u16 {
    number.to_be_bytes().into_iter().fold(0xffff, |mut crc, byte| {
        crc ^= u16::from(byte) << 8;
        for _ in 0..8 {
            crc = if crc & 0x8000 == 0 {
                crc << 1
            } else {
                crc << 1 ^ 0x1021
            };
        }
        crc
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc_is_the_standard_one() {
        assert_eq!(SYNC.count_ones(), 8);
        // CRC-16/CCITT-FALSE of "1234".
        assert_eq!(crc16(u32::from_be_bytes(*b"1234")), 0x5349);
    }

    #[test]
    fn two_neighbouring_errors_are_corrected_and_other_damage_is_found() {
        for number in [0, 1, 12_345, u32::MAX] {
            let word = u64::from(number) << 16 | u64::from(crc16(number));
            for bit in 0..BITS {
                assert_eq!(correct(word ^ 1 << bit), Some(number));
                assert_eq!(correct(word ^ (3 << bit & ((1 << BITS) - 1))), Some(number));
            }
            // A tenth of the picture before this one, in any place: hardly ever is it taken for another number.
            let wrong = (0..BITS - 6).filter(|bit| correct(word ^ 0b10_0101 << bit).is_some());
            assert_eq!(wrong.count(), 0);
        }
    }

    #[test]
    fn squares_fit_and_lie_on_blocks() {
        assert_eq!(square(640, 480), 16);
        assert_eq!(square(1280, 720), 24);
        for width in (64..2_000).step_by(3) {
            for height in (48..1_200).step_by(7) {
                let size = square(width, height);
                assert!(size * COLUMNS <= width && size * ROWS <= height / 2);
            }
        }
    }
}
