//! H.264 by Cisco's openh264 (BSD-2-Clause), which the build compiles from the source in its crate.
//!
//! The C++ needs a compiler; with `nasm` in the path the build also assembles its SIMD code, which is two to three
//! times as fast.

mod annex_b;
mod decoder;
mod encoder;

pub(super) use decoder::H264Decoder;
pub use decoder::H264FileDecoder;
pub(super) use encoder::H264Encoder;
