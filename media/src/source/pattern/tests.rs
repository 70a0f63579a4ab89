use super::*;
use bytes::Bytes;

fn pattern(width: usize, height: usize) -> Pattern {
    Pattern::new(width, height, "30".parse().unwrap()).unwrap()
}

const SIZES: [(usize, usize); 9] = [
    (64, 48),
    (65, 49),
    (128, 96),
    (160, 120),
    (320, 240),
    (352, 288),
    (640, 480),
    (1_280, 720),
    (720, 1_280),
];
const NUMBERS: [u32; 6] = [0, 1, 29, 0x5555_5555, 0xaaaa_aaaa, u32::MAX];

/// The luma changed by `change(x, y, value)`, with a stride that has room.
fn with_luma(frame: &VideoFrame, change: impl Fn(usize, usize, u8) -> u8) -> VideoFrame {
    let (width, height, stride) = (frame.width, frame.height, frame.width + 13);
    let mut luma = vec![0; stride * height];
    for y in 0..height {
        for x in 0..width {
            luma[y * stride + x] = change(x, y, frame.planes[0][y * frame.strides[0] + x]);
        }
    }
    let mut changed = frame.clone();
    changed.planes[0] = Bytes::from(luma);
    changed.strides[0] = stride;
    changed
}

/// The mean of the luma in a rectangle.
fn mean(frame: &VideoFrame, x: usize, y: usize, width: usize, height: usize) -> u8 {
    let (right, bottom) = ((x + width).min(frame.width), (y + height).min(frame.height));
    let pixels = (y..bottom).flat_map(|y| (x..right).map(move |x| (x, y)));
    let (sum, count) = pixels.fold((0_usize, 0), |(sum, count), (x, y)| {
        (
            sum + usize::from(frame.planes[0][y * frame.strides[0] + x]),
            count + 1,
        )
    });
    (sum / count) as u8
}

#[test]
fn any_number_is_read_at_any_size() {
    for (width, height) in SIZES {
        let pattern = pattern(width, height);
        for number in NUMBERS {
            let frame = pattern.frame(number);
            assert_eq!(Pattern::read_number(&frame), Some(number), "{width}x{height}");
            assert_eq!(frame.planes[0].len(), width * height);
            assert_eq!(frame.planes[2].len(), width.div_ceil(2) * height.div_ceil(2));
        }
    }
}

#[test]
fn the_number_survives_noise_scaling_and_quantisation() {
    for (width, height) in SIZES
        .into_iter()
        .filter(|(width, height)| width * height <= 640 * 480)
    {
        for number in NUMBERS.into_iter().take(if width < 200 { 6 } else { 2 }) {
            let frame = pattern(width, height).frame(0x1234_5678 ^ number);
            let number = 0x1234_5678 ^ number;
            // A small generator of noise: the numbers need not be good.
            let noise = |x: usize, y: usize| (x.wrapping_mul(7_919) ^ y.wrapping_mul(104_729)) / 3 % 51;
            let noisy = with_luma(&frame, |x, y, luma| {
                (luma + 10).saturating_add(noise(x, y) as u8).saturating_sub(35)
            });
            assert_eq!(
                Pattern::read_number(&noisy),
                Some(number),
                "noise, {width}x{height}"
            );
            let half = with_luma(&frame, |x, y, _| mean(&frame, x & !1, y & !1, 2, 2));
            assert_eq!(
                Pattern::read_number(&half),
                Some(number),
                "halved, {width}x{height}"
            );
            let blurred = with_luma(&frame, |x, y, _| {
                mean(&frame, x.saturating_sub(1), y.saturating_sub(1), 3, 3)
            });
            assert_eq!(
                Pattern::read_number(&blurred),
                Some(number),
                "blurred, {width}x{height}"
            );
            let coarse = with_luma(&frame, |_, _, luma| luma / 64 * 64 + 32);
            assert_eq!(
                Pattern::read_number(&coarse),
                Some(number),
                "quantised, {width}x{height}"
            );
            let pale = with_luma(&frame, |_, _, luma| 90 + luma / 3);
            assert_eq!(
                Pattern::read_number(&pale),
                Some(number),
                "pale, {width}x{height}"
            );
            if width >= 256 {
                // No more than the mean of each 8x8 block is left.
                let blocks = with_luma(&frame, |x, y, _| mean(&frame, x & !7, y & !7, 8, 8));
                assert_eq!(
                    Pattern::read_number(&blocks),
                    Some(number),
                    "DC only, {width}x{height}"
                );
            }
        }
    }
}

#[test]
fn other_pictures_have_no_number() {
    let pattern = pattern(320, 240);
    let frame = pattern.frame(7);
    assert_eq!(Pattern::read_number(&with_luma(&frame, |_, _, _| 128)), None);
    assert_eq!(
        Pattern::read_number(&with_luma(&frame, |_, _, luma| 255 - luma)),
        None
    );
    assert_eq!(Pattern::read_number(&with_luma(&frame, |x, _, _| x as u8)), None);
    // Half of this picture, half of another: what a lost slice leaves behind.
    let other = pattern.frame(1_000);
    let torn = with_luma(&frame, |x, y, luma| {
        if y < 20 {
            luma
        } else {
            other.planes[0][y * 320 + x]
        }
    });
    assert_eq!(Pattern::read_number(&torn), None);
    // Planes that are too short for the size must not panic.
    let mut short = frame.clone();
    short.planes[0] = short.planes[0].slice(..100);
    assert_eq!(Pattern::read_number(&short), None);
    short.strides[0] = usize::MAX;
    assert_eq!(Pattern::read_number(&short), None);
}

#[test]
fn it_flashes_for_the_first_tenth_of_each_second() {
    let pattern = pattern(640, 480);
    for number in 0..90 {
        let frame = pattern.frame(number);
        let luma = frame.planes[0][frame.strides[0] * 470 + 600];
        assert_eq!(luma > 200, number % 30 < 3, "{number}");
    }
}

#[test]
fn next_is_frame_after_frame_and_each_differs() {
    let mut source = pattern(160, 120);
    let mut last = Bytes::new();
    for number in 0..100 {
        let frame = source.next().unwrap().unwrap();
        assert_eq!(frame.planes, source.frame(number).planes);
        assert_eq!(frame.time, source.rate().time(number));
        assert_ne!(frame.planes[0], last);
        last = frame.planes[0].clone();
    }
}

#[test]
fn sizes_without_room_are_refused() {
    let rate = "30".parse().unwrap();
    for (width, height) in [(62, 48), (64, 46), (0, 0), (8_194, 480), (usize::MAX, usize::MAX)] {
        assert!(Pattern::new(width, height, rate).is_err());
    }
    for (width, height) in [(64, 8_192), (8_192, 48), (67, 51)] {
        let pattern = Pattern::new(width, height, rate).unwrap();
        for number in [0, 500, u32::MAX] {
            assert_eq!(Pattern::read_number(&pattern.frame(number)), Some(number));
        }
    }
}
