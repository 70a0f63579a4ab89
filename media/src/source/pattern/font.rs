//! Digits and a little punctuation, five dots by seven.

use std::ops::Range;

/// Dots from one character to the next.
pub(super) const ADVANCE: usize = 6;
/// Dots from top to bottom.
pub(super) const HEIGHT: usize = 7;

/// The rows of a character from the top, the leftmost dot in bit 4. Unknown characters are blank.
pub(super) fn glyph(character: char) -> [u8; HEIGHT] {
    match character {
        '0' => [0x0e, 0x11, 0x13, 0x15, 0x19, 0x11, 0x0e],
        '1' => [0x04, 0x0c, 0x04, 0x04, 0x04, 0x04, 0x0e],
        '2' => [0x0e, 0x11, 0x01, 0x02, 0x04, 0x08, 0x1f],
        '3' => [0x1f, 0x02, 0x04, 0x02, 0x01, 0x11, 0x0e],
        '4' => [0x02, 0x06, 0x0a, 0x12, 0x1f, 0x02, 0x02],
        '5' => [0x1f, 0x10, 0x1e, 0x01, 0x01, 0x11, 0x0e],
        '6' => [0x06, 0x08, 0x10, 0x1e, 0x11, 0x11, 0x0e],
        '7' => [0x1f, 0x01, 0x02, 0x04, 0x08, 0x08, 0x08],
        '8' => [0x0e, 0x11, 0x11, 0x0e, 0x11, 0x11, 0x0e],
        '9' => [0x0e, 0x11, 0x11, 0x0f, 0x01, 0x02, 0x0c],
        ':' => [0x00, 0x0c, 0x0c, 0x00, 0x0c, 0x0c, 0x00],
        '.' => [0x00, 0x00, 0x00, 0x00, 0x00, 0x0c, 0x0c],
        _ => [0; HEIGHT],
    }
}

/// The runs of set dots in a row, so that a run is drawn at once.
pub(super) fn runs(bits: u8) -> impl Iterator<Item = Range<usize>> {
    let set = move |dot: usize| dot < 5 && bits & (0x10 >> dot) != 0;
    (0..5)
        .filter(move |dot| set(*dot) && (*dot == 0 || !set(*dot - 1)))
        .map(move |start| {
            let end = (start..=5).find(|dot| !set(*dot)).unwrap_or(5);
            start..end
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_cover_the_set_dots() {
        assert_eq!(runs(0b11011).collect::<Vec<_>>(), [0..2, 3..5]);
        assert_eq!(
            runs(0b11111).collect::<Vec<_>>(),
            std::iter::once(0..5).collect::<Vec<_>>()
        );
        assert_eq!(runs(0).count(), 0);
    }
}
