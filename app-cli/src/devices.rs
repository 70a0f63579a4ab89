//! `visavis devices`: what this machine has, and what this build can do with it.

use crate::{
    args::DevicesArgs,
    out::{BOLD, DIM, Out, paint},
};
use serde::Serialize;
use std::io;
use visavis_core::{Codec, Result};
use visavis_media::{
    codec,
    devices::{AudioDeviceInfo, CameraInfo, cameras, microphones, speakers},
};

/// Where a sentence begins.
const INDENT: usize = 2;

/// The optional parts of a build, and whether this one has them.
const FEATURES: [(&str, bool); 3] = [
    ("camera", cfg!(feature = "camera")),
    ("audio-device", cfg!(feature = "audio-device")),
    ("libvpx", cfg!(feature = "libvpx")),
];

/// `visavis devices`.
pub(crate) fn run(args: &DevicesArgs, out: &mut Out) -> io::Result<()> {
    let listing = Listing::new();
    if args.json {
        return out.json(&listing);
    }
    section("Cameras", &listing.cameras, out, |camera| {
        let mut lines = vec![format!("camera:{}  {}", camera.index, camera.name)];
        lines.extend(camera.formats.iter().map(|format| format!("          {format}")));
        lines.extend(
            camera
                .problem
                .iter()
                .map(|problem| format!("          {problem}")),
        );
        lines
    })?;
    let device = |device: &AudioDeviceInfo| {
        let default = if device.default { " (the default)" } else { "" };
        let description = device.description.as_ref().map(|d| format!("  {d}"));
        vec![format!(
            "{}{default}{}",
            device.name,
            description.unwrap_or_default()
        )]
    };
    section("Microphones", &listing.microphones, out, device)?;
    section("Speakers", &listing.speakers, out, device)?;
    out.line(paint(BOLD, "Codecs"))?;
    for codec in &listing.codecs {
        let can = match (codec.encoder, codec.decoder) {
            (Some(e), Some(d)) if e == d => format!("{e} encodes and decodes"),
            (Some(e), Some(d)) => format!("{e} encodes, {d} decodes"),
            (Some(e), None) => format!("{e} encodes, nothing decodes"),
            (None, Some(d)) => format!("nothing encodes, {d} decodes"),
            (None, None) => "nothing encodes or decodes".to_owned(),
        };
        out.line(format!("  {:<5} {can}", codec.codec.name()))?;
        if let Some(hint) = codec.hint {
            out.wrapped(INDENT + 6, DIM, hint)?;
        }
    }
    let missing: Vec<_> = FEATURES
        .into_iter()
        .filter(|(_, there)| !there)
        .map(|(name, _)| name)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    out.line("")?;
    out.line("A build with all of it, once the packages named above are installed:")?;
    out.line("  cargo build --release -p visavis --features camera,audio-device,libvpx")
}

/// The JSON form.
#[derive(Debug, Serialize)]
struct Listing {
    schema_version: u32,
    cameras: Devices<CameraInfo>,
    microphones: Devices<AudioDeviceInfo>,
    speakers: Devices<AudioDeviceInfo>,
    codecs: Vec<CodecInfo>,
}

/// Devices of one kind; `None` if they cannot be listed, and why.
#[derive(Debug, Serialize)]
struct Devices<T> {
    devices: Option<Vec<T>>,
    problem: Option<String>,
}

#[derive(Debug, Serialize)]
struct CodecInfo {
    codec: Codec,
    encoder: Option<&'static str>,
    decoder: Option<&'static str>,
    hint: Option<&'static str>,
}

impl Listing {
    fn new() -> Self {
        let codecs = codec::available().into_iter().map(|a| CodecInfo {
            codec: a.codec,
            encoder: a.encoder,
            decoder: a.decoder,
            hint: a.hint,
        });
        Self {
            schema_version: 1,
            cameras: cameras().into(),
            microphones: microphones().into(),
            speakers: speakers().into(),
            codecs: codecs.collect(),
        }
    }
}

impl<T> From<Result<Vec<T>>> for Devices<T> {
    fn from(listed: Result<Vec<T>>) -> Self {
        match listed {
            Ok(devices) => Self {
                devices: Some(devices),
                problem: None,
            },
            Err(error) => {
                // The operation's name says nothing here.
                let text = error.to_string();
                let operation = format!("{}: ", error.operation());
                Self {
                    devices: None,
                    problem: Some(text.strip_prefix(&operation).unwrap_or(&text).to_owned()),
                }
            }
        }
    }
}

fn section<T>(
    title: &str,
    listed: &Devices<T>,
    out: &mut Out,
    describe: impl Fn(&T) -> Vec<String>,
) -> io::Result<()> {
    out.line(paint(BOLD, title))?;
    for line in listed.devices.iter().flatten().flat_map(describe) {
        out.line(format!("{:INDENT$}{line}", ""))?;
    }
    if listed.devices.as_ref().is_some_and(Vec::is_empty) {
        out.line(format!("{:INDENT$}none", ""))?;
    }
    if let Some(problem) = &listed.problem {
        out.wrapped(INDENT, DIM, problem)?;
    }
    out.line("")
}
