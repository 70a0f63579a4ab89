//! From I420 of any size to RGB of any other.

use std::ops::Range;
use visavis_core::media::VideoFrame;

/// Red, green, blue.
pub(crate) type Rgb = [u8; 3];

/// The picture in `width` by `height` pixels, row by row; each is the average of what it covers. Black if the picture
/// has no pixels.
pub(crate) fn scale(frame: &VideoFrame, (width, height): (usize, usize)) -> Vec<Rgb> {
    let chroma = (frame.width.div_ceil(2), frame.height.div_ceil(2));
    let sizes = [(frame.width, frame.height), chroma, chroma];
    let [mut y, mut u, mut v] = [0, 1, 2].map(|index| Plane {
        data: &frame.planes[index],
        stride: frame.strides[index],
        width: sizes[index].0,
        height: sizes[index].1,
        columns: (0..width).map(|x| span(x, width, sizes[index].0)).collect(),
        sums: vec![0; sizes[index].0],
        averages: vec![0; width],
    });
    let mut pixels = Vec::with_capacity(width * height);
    for row in 0..height {
        for plane in [&mut y, &mut u, &mut v] {
            plane.average(span(row, height, plane.height));
        }
        let yuv = y.averages.iter().zip(&u.averages).zip(&v.averages);
        pixels.extend(yuv.map(|((&y, &u), &v)| rgb(y, u, v)));
    }
    pixels
}

struct Plane<'a> {
    data: &'a [u8],
    stride: usize,
    width: usize,
    height: usize,
    /// What each new column covers.
    columns: Vec<Range<usize>>,
    /// The sum of the rows that a new row covers, for each old column.
    sums: Vec<u32>,
    /// The new row.
    averages: Vec<u8>,
}

impl Plane<'_> {
    /// Whole rows are added first, which processors do many pixels at a time.
    fn average(&mut self, rows: Range<usize>) {
        let count = rows.len() as u32;
        self.sums.fill(0);
        for row in rows {
            let row = self.data.get(row * self.stride..).unwrap_or_default();
            for (sum, &pixel) in self.sums.iter_mut().zip(&row[..self.width.min(row.len())]) {
                *sum += u32::from(pixel);
            }
        }
        for (average, columns) in self.averages.iter_mut().zip(&self.columns) {
            let covered = count * columns.len() as u32;
            let sum: u32 = self.sums[columns.clone()].iter().sum();
            *average = ((sum + covered / 2) / covered.max(1)) as u8;
        }
    }
}

/// What part `index` of `parts` covers of `length`: at least one, if there is any.
fn span(index: usize, parts: usize, length: usize) -> Range<usize> {
    let start = index * length / parts;
    let end = (index + 1) * length / parts;
    start..end.max(start + 1).min(length)
}

/// BT.601, limited range, as all our pictures are.
fn rgb(y: u8, u: u8, v: u8) -> Rgb {
    let y = 298 * (i32::from(y) - 16) + 128;
    let (u, v) = (i32::from(u) - 128, i32::from(v) - 128);
    [y + 409 * v, y - 100 * u - 208 * v, y + 516 * u].map(|channel| (channel >> 8).clamp(0, 255) as u8)
}
