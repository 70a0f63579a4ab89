//! The options that say what a call carries.

use clap::Args;
use std::{path::PathBuf, str::FromStr};
use visavis_core::{Bitrate, Codec, MediaKind};
use visavis_media::{
    codec,
    session::{AudioInput, AudioPlan, MediaPlan, VideoInput, VideoPlan},
    source::{FrameRate, Pattern, file::Repeat},
};

/// The largest picture that H.264 has a level for that all decoders here know (5.1).
const MAX_SIZE: (usize, usize) = (4096, 2304);

/// What a call carries. Without any of these a single call carries pattern and tone, and a series nothing.
#[derive(Debug, Args)]
#[command(next_help_heading = "Media")]
pub(crate) struct MediaArgs {
    /// The offerer's pictures: pattern, camera, camera:N, file:PATH or none [default: pattern]
    ///
    /// The pattern is a moving test card, which the answerer checks: order, completeness, likeness. Files may be MP4
    /// (H.264), IVF or Y4M. `visavis devices` numbers the cameras. Several calls carry no media by default.
    #[arg(long, value_name = "SOURCE", value_parser = video)]
    video: Option<Wanted<VideoInput>>,

    /// Width and height in pixels, both even [default: 640x480]
    #[arg(long, value_name = "WxH", value_parser = size)]
    size: Option<(usize, usize)>,

    /// Pictures a second, such as 30, 29.97 or 12.5 [default: 30]
    #[arg(long, value_name = "RATE", value_parser = rate)]
    fps: Option<FrameRate>,

    /// What the encoder aims at, such as 800k or 2M bits a second [default: by size]
    ///
    /// By default 800k for 640x480 and 2M for 1280x720, both at 30 pictures a second, and accordingly for others. It is the
    /// most: while the network carries less, the encoder aims at that.
    #[arg(long, value_name = "RATE", value_parser = bitrate)]
    bitrate: Option<Bitrate>,

    /// The codec to agree on: h264, vp8 or vp9 [default: h264]
    #[arg(long, value_name = "CODEC", value_parser = video_codec)]
    video_codec: Option<Codec>,

    /// The offerer's sound: tone, mic, mic:NAME, file:PATH or none [default: tone]
    ///
    /// The tone beeps each full second, when the pattern flashes; the answerer checks level, beeps and how far sound
    /// and pictures are apart. Files may be WAV or Ogg Opus.
    #[arg(long, value_name = "SOURCE", value_parser = audio)]
    audio: Option<Wanted<AudioInput>>,

    /// The answerer sends the same back
    ///
    /// A camera and a microphone are opened once: in their place the answerer sends pattern and tone.
    #[arg(long)]
    both_ways: bool,

    /// Files begin again at their end; otherwise the call ends with them
    #[arg(long = "loop")]
    repeat: bool,

    /// Write what arrives into files in DIR, without decoding it
    ///
    /// offerer_to_answerer.ivf and .ogg, and with --both-ways answerer_to_offerer.ivf and .ogg. Files that are there
    /// are overwritten. FFmpeg and VLC play them; `--video file:` does, too.
    #[arg(long, value_name = "DIR")]
    record: Option<PathBuf>,

    /// Play what the answerer hears on this machine's speaker
    #[arg(long)]
    speaker: bool,
}

/// What one side sends whose remote peer is elsewhere.
#[derive(Debug, Args)]
#[command(next_help_heading = "Media")]
pub(crate) struct SideMediaArgs {
    /// The pictures that this side sends: pattern, camera, camera:N, file:PATH or none [default: pattern]
    ///
    /// The pattern is a moving test card, which the other side checks. A file begins again at its end.
    #[arg(long, value_name = "SOURCE", value_parser = video)]
    video: Option<Wanted<VideoInput>>,

    /// Width and height in pixels, both even [default: 640x480]
    #[arg(long, value_name = "WxH", value_parser = size)]
    size: Option<(usize, usize)>,

    /// Pictures a second, such as 30, 29.97 or 12.5 [default: 30]
    #[arg(long, value_name = "RATE", value_parser = rate)]
    fps: Option<FrameRate>,

    /// What the encoder aims at, such as 800k or 2M bits a second [default: by size]
    #[arg(long, value_name = "RATE", value_parser = bitrate)]
    bitrate: Option<Bitrate>,

    /// The codec of the pictures: h264, vp8 or vp9 [default: h264]
    #[arg(long, value_name = "CODEC", value_parser = video_codec)]
    video_codec: Option<Codec>,

    /// The sound that this side sends: tone, mic, mic:NAME, file:PATH or none [default: tone]
    #[arg(long, value_name = "SOURCE", value_parser = audio)]
    audio: Option<Wanted<AudioInput>>,
}

impl SideMediaArgs {
    /// The pictures to send.
    pub(crate) fn video(&self) -> Option<VideoPlan> {
        let source = Wanted::or(self.video.as_ref(), VideoInput::Pattern)?;
        Some(VideoPlan {
            source,
            bitrate: self.bitrate,
            codec: self.video_codec.unwrap_or(Codec::H264),
            ..pattern(self.size, self.fps)
        })
    }

    /// The sound to send.
    pub(crate) fn audio(&self) -> Option<AudioPlan> {
        let source = Wanted::or(self.audio.as_ref(), AudioInput::Tone)?;
        Some(AudioPlan {
            source,
            ..AudioPlan::default()
        })
    }
}

/// The pattern, 640x480 at 30 where nothing else is asked for.
pub(super) fn pattern(size: Option<(usize, usize)>, rate: Option<FrameRate>) -> VideoPlan {
    let rate = rate.unwrap_or_else(|| FrameRate::new(30, 1).expect("30 is a rate"));
    VideoPlan::pattern(size.unwrap_or((640, 480)), rate)
}

/// A source, or `none`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Wanted<T> {
    Nothing,
    This(T),
}

impl<T: Clone> Wanted<T> {
    fn or(wanted: Option<&Self>, default: T) -> Option<T> {
        match wanted {
            None => Some(default),
            Some(Self::This(source)) => Some(source.clone()),
            Some(Self::Nothing) => None,
        }
    }
}

impl MediaArgs {
    /// What the calls carry.
    pub(super) fn plan(&self, series: bool) -> MediaPlan {
        if series && !self.is_asked_for() {
            return MediaPlan::none();
        }
        let default_rate = || FrameRate::new(30, 1).expect("30 is a rate");
        let video = Wanted::or(self.video.as_ref(), VideoInput::Pattern).map(|source| VideoPlan {
            source,
            size: self.size.unwrap_or((640, 480)),
            rate: self.fps.unwrap_or_else(default_rate),
            bitrate: self.bitrate,
            codec: self.video_codec.unwrap_or(Codec::H264),
        });
        let audio = Wanted::or(self.audio.as_ref(), AudioInput::Tone).map(|source| AudioPlan {
            source,
            ..AudioPlan::default()
        });
        MediaPlan {
            video,
            audio,
            both_ways: self.both_ways,
            repeat: if self.repeat { Repeat::Loop } else { Repeat::Once },
            record: self.record.clone(),
            speaker: self.speaker,
        }
    }

    /// Whether a source of pictures was named.
    pub(crate) fn names_video(&self) -> bool {
        self.video.is_some()
    }

    /// Whether a source of sound was named.
    pub(crate) fn names_audio(&self) -> bool {
        self.audio.is_some()
    }

    /// Whether any of these options was given.
    fn is_asked_for(&self) -> bool {
        self.video.is_some()
            || self.audio.is_some()
            || self.both_ways
            || self.size.is_some()
            || self.fps.is_some()
            || self.bitrate.is_some()
            || self.video_codec.is_some()
            || self.repeat
            || self.record.is_some()
            || self.speaker
    }

    /// Whether the options go together; what to do if not.
    pub(super) fn check(&self, series: bool) -> Result<(), String> {
        let plan = self.plan(series);
        let of_video = [
            ("--size", self.size.is_some()),
            ("--fps", self.fps.is_some()),
            ("--bitrate", self.bitrate.is_some()),
            ("--video-codec", self.video_codec.is_some()),
        ];
        let given = |count: usize| of_video.iter().take(count).find(|(_, given)| *given);
        let video = plan.video.as_ref().map(|v| &v.source);
        let audio = plan.audio.as_ref().map(|a| &a.source);
        if let (None, Some((option, _))) = (video, given(4)) {
            return Err(format!("{option} is about pictures, and --video none sends none"));
        }
        if let (Some(VideoInput::File(_)), Some((option, _))) = (video, given(2)) {
            return Err(format!("a file has its own size and rate: leave {option} out"));
        }
        let file = matches!(video, Some(VideoInput::File(_))) || matches!(audio, Some(AudioInput::File(_)));
        if self.repeat && !file {
            return Err("--loop is about files: name one with --video file:PATH or --audio file:PATH".into());
        }
        if self.speaker && audio.is_none() {
            return Err("--speaker plays sound, and --audio none sends none".into());
        }
        if plan.is_empty() && (self.both_ways || self.record.is_some()) {
            let option = if self.both_ways { "--both-ways" } else { "--record" };
            return Err(format!(
                "{option} is about media, and there is none: name a --video or --audio"
            ));
        }
        if series && self.record.is_some() {
            return Err("--record keeps one call: leave --runs and --warmup out".into());
        }
        Ok(())
    }
}

fn video(text: &str) -> Result<Wanted<VideoInput>, String> {
    let (kind, rest) = text
        .split_once(':')
        .map_or((text, None), |(kind, rest)| (kind, Some(rest)));
    match (kind, rest) {
        ("none", None) => Ok(Wanted::Nothing),
        ("pattern", None) => Ok(Wanted::This(VideoInput::Pattern)),
        ("file", Some(path)) if !path.is_empty() => Ok(Wanted::This(VideoInput::File(path.into()))),
        ("camera", index) => {
            let index = index.unwrap_or("0").parse();
            let index =
                index.map_err(|_| "write the camera's number, such as camera:1; see `visavis devices`")?;
            Ok(Wanted::This(VideoInput::Camera(index)))
        }
        _ => Err("write pattern, camera, camera:1, file:PATH or none".into()),
    }
}

fn audio(text: &str) -> Result<Wanted<AudioInput>, String> {
    let (kind, rest) = text
        .split_once(':')
        .map_or((text, None), |(kind, rest)| (kind, Some(rest)));
    match (kind, rest) {
        ("none", None) => Ok(Wanted::Nothing),
        ("tone", None) => Ok(Wanted::This(AudioInput::Tone)),
        ("file", Some(path)) if !path.is_empty() => Ok(Wanted::This(AudioInput::File(path.into()))),
        ("mic", name) if name != Some("") => {
            Ok(Wanted::This(AudioInput::Microphone(name.map(str::to_owned))))
        }
        _ => Err("write tone, mic, mic:NAME, file:PATH or none".into()),
    }
}

fn size(text: &str) -> Result<(usize, usize), String> {
    let parsed = text
        .split_once('x')
        .and_then(|(w, h)| Some((w.parse::<usize>().ok()?, h.parse::<usize>().ok()?)));
    let (width, height) = parsed.ok_or("write WIDTHxHEIGHT in pixels, such as 640x480")?;
    let (min, max) = (Pattern::MIN_SIZE, MAX_SIZE);
    if !(min.0..=max.0).contains(&width) || !(min.1..=max.1).contains(&height) {
        return Err(format!(
            "it is not between {}x{} and {}x{}",
            min.0, min.1, max.0, max.1
        ));
    }
    if width % 2 + height % 2 > 0 {
        return Err(format!(
            "both must be even, such as {}x{}",
            width & !1,
            height & !1
        ));
    }
    Ok((width, height))
}

fn rate(text: &str) -> Result<FrameRate, String> {
    let rate = FrameRate::from_str(text)
        .ok()
        .filter(|r| (1.0..=240.0).contains(&r.fps()));
    rate.ok_or_else(|| "write pictures a second from 1 to 240, such as 30, 29.97 or 12.5".into())
}

fn bitrate(text: &str) -> Result<Bitrate, String> {
    let (number, unit) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 1_000.0),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 1_000_000.0),
        _ => (text, 1.0),
    };
    let plain = number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let bps = number.parse::<f64>().ok().filter(|_| plain).map(|n| n * unit);
    let bps = bps.ok_or("write bits a second, such as 800k, 2M or 500000")?;
    if !(10_000.0..=100_000_000.0).contains(&bps) {
        return Err("it is not between 10k and 100M bits a second".into());
    }
    Ok(Bitrate::from_bps(bps.round() as u64))
}

pub(super) fn video_codec(text: &str) -> Result<Codec, String> {
    let codec = Codec::from_str(text)
        .ok()
        .filter(|c| c.kind() == MediaKind::Video);
    let codec = codec.ok_or("write h264, vp8 or vp9")?;
    let entry = codec::available().into_iter().find(|a| a.codec == codec);
    match entry {
        Some(entry) if entry.encoder.is_none() || entry.decoder.is_none() => {
            Err(entry.hint.unwrap_or("this build does not have it").to_owned())
        }
        _ => Ok(codec),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Cli;
    use clap::Parser;

    fn media(args: &str) -> MediaArgs {
        let args = ["visavis"].into_iter().chain(args.split_ascii_whitespace());
        Cli::try_parse_from(args).unwrap().call.media
    }

    #[test]
    fn a_call_carries_pattern_and_tone_and_a_series_nothing() {
        let plan = media("").plan(false);
        assert_eq!(plan.video.as_ref().unwrap().source, VideoInput::Pattern);
        assert_eq!(plan.audio.as_ref().unwrap().source, AudioInput::Tone);
        assert!(!plan.both_ways && !plan.is_finite());
        assert!(media("").plan(true).is_empty());
        assert!(!media("--size 320x240").plan(true).is_empty());
        assert!(media("--video none --audio none").plan(false).is_empty());
    }

    #[test]
    fn values_have_units_and_limits() {
        assert_eq!(size("1280x720"), Ok((1280, 720)));
        for text in [
            "",
            "3x",
            "x3",
            "640",
            "641x480",
            "640x481",
            "32x32",
            "9000x9000",
            "-2x2",
            "640X480",
        ] {
            assert!(size(text).is_err(), "{text}");
        }
        for (text, bps) in [
            ("800k", 800_000),
            ("2M", 2_000_000),
            ("1.5m", 1_500_000),
            ("64000", 64_000),
        ] {
            assert_eq!(bitrate(text), Ok(Bitrate::from_bps(bps)), "{text}");
        }
        for text in ["", "k", "-1k", "0", "1", "nan", "infk", "1e6", "200M", "8 k", "ä"] {
            assert!(bitrate(text).is_err(), "{text}");
        }
        for text in ["0", "-1", "0.5", "241", "x", "inf"] {
            assert!(rate(text).is_err(), "{text}");
        }
        assert_eq!(rate("29.97").unwrap().to_string(), "30000/1001");
        for text in ["file:", "pattern:1", "camera:x", "tone", ""] {
            assert!(video(text).is_err(), "{text}");
        }
        assert!(video_codec("opus").is_err() && video_codec("H264").is_ok());
    }

    #[test]
    fn options_that_do_not_go_together_are_refused() {
        for (args, series) in [
            ("--video none --size 640x480", false),
            ("--video none --bitrate 1M", false),
            ("--video file:x --fps 30", false),
            ("--loop", false),
            ("--audio none --speaker", false),
            ("--video none --audio none --both-ways", false),
            ("--record x", true),
        ] {
            assert!(media(args).check(series).is_err(), "{args}");
        }
        for args in [
            "",
            "--video file:x --loop --bitrate 1M",
            "--video none --audio file:x --loop",
        ] {
            assert_eq!(media(args).check(false), Ok(()), "{args}");
        }
    }
}
