//! Sources of pictures and sound.

pub(crate) mod camera;
pub mod file;
pub(crate) mod microphone;
mod pattern;
mod tone;

pub use camera::Camera;
pub use microphone::Microphone;
pub use pattern::{FrameRate, Pattern};
pub use tone::Tone;
pub(crate) use tone::{BEEPS, STEADY};
