//! Writes the test pattern as raw YUYV for the camera shim of `tests/camera`, and reads its numbers back from a recording.
//!
//! ```sh
//! cargo run -p visavis-media --example pattern_file -- write 640 480 90 640x480.yuyv
//! cargo run -p visavis-media --example pattern_file -- check offerer_to_answerer.ivf 45
//! ```

use std::{error::Error, io::Write, path::Path};
use visavis_media::source::{
    FrameRate, Pattern,
    file::{Repeat, open_video},
};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["write", width, height, pictures, path] => write(
            width.parse()?,
            height.parse()?,
            pictures.parse()?,
            Path::new(path),
        ),
        ["check", path, at_least] => check(Path::new(path), at_least.parse()?),
        _ => Err("usage: write WIDTH HEIGHT PICTURES FILE, or check FILE AT_LEAST".into()),
    }
}

fn write(width: usize, height: usize, pictures: u32, path: &Path) -> Result<(), Box<dyn Error>> {
    let pattern = Pattern::new(width, height, FrameRate::new(30, 1)?)?;
    let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
    for number in 0..pictures {
        let frame = pattern.frame(number);
        for y in 0..height {
            let luma = &frame.planes[0][y * frame.strides[0]..][..width];
            let u = &frame.planes[1][y / 2 * frame.strides[1]..];
            let v = &frame.planes[2][y / 2 * frame.strides[2]..];
            for (x, pair) in luma.chunks(2).enumerate() {
                file.write_all(&[pair[0], u[x], pair[pair.len() - 1], v[x]])?;
            }
        }
    }
    Ok(file.flush()?)
}

/// The numbers go up, but for the places at which the camera begins anew.
fn check(path: &Path, at_least: usize) -> Result<(), Box<dyn Error>> {
    let mut source = open_video(path, Repeat::Once)?.source;
    let mut numbers = Vec::new();
    while let Some(frame) = source.next()? {
        numbers.push(Pattern::read_number(&frame).ok_or("a picture without a number")?);
    }
    let steps: Vec<_> = numbers.windows(2).filter(|w| w[1] != w[0] + 1).collect();
    println!(
        "{} pictures, {} places that are not in order: {steps:?}",
        numbers.len(),
        steps.len()
    );
    if numbers.len() < at_least {
        return Err(format!("fewer than {at_least} pictures").into());
    }
    if steps.iter().any(|w| w[1] <= w[0] && w[1] != 0) {
        return Err("pictures out of order".into());
    }
    Ok(())
}
