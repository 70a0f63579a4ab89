//! The encoder: constrained baseline, one slice a picture, one thread.

use crate::codec::{VideoSettings, check_bitrate, check_frame_rate, picture};
use openh264::encoder::{
    BitRate, Complexity, Encoder, EncoderConfig, FrameRate, FrameType, Profile, RateControlMode, UsageType,
};
use openh264::formats::YUVSource;
use openh264::{OpenH264API, Timestamp};
use openh264_sys2::{
    ENCODER_OPTION, ENCODER_OPTION_BITRATE, ENCODER_OPTION_FRAME_RATE, ENCODER_OPTION_RC_FRAME_SKIP,
    ENCODER_OPTION_TRACE_LEVEL, SBitrateInfo, SPATIAL_LAYER_ALL, WELS_LOG_QUIET,
};
use std::ffi::c_int;
use visavis_core::media::{Bitrate, Codec, EncodedFrame, VideoEncoder, VideoFrame};
use visavis_core::{Error, ErrorKind, Result};

/// What openh264 can do: one macroblock, and level 5.2.
const MIN_SIZE: usize = 16;
const MAX_SIZE: (usize, usize) = (3840, 2160);
/// Bits a pixel below which pictures are left out, for what is sent regardless would be late; above it the rate control
/// comes round without. (A good call has 0.09.)
const TIGHT: f32 = 0.03;
/// openh264 reckons in 32 bits.
const MAX_BITRATE: u64 = 200_000_000;

/// Encodes H.264 with openh264.
pub(in crate::codec) struct H264Encoder {
    settings: VideoSettings,
    /// Made for a size, at the first picture of it.
    running: Option<Running>,
}

struct Running {
    encoder: Encoder,
    size: (usize, usize),
    /// Whether the next picture is to be a keyframe.
    keyframe: bool,
    may_skip: bool,
    first: bool,
}

impl H264Encoder {
    pub(in crate::codec) fn new(settings: VideoSettings) -> Self {
        Self {
            settings,
            running: None,
        }
    }
}

impl VideoEncoder for H264Encoder {
    fn codec(&self) -> Codec {
        Codec::H264
    }

    fn encode(&mut self, frame: &VideoFrame, keyframe: bool) -> Result<Option<EncodedFrame>> {
        picture::check(frame, MIN_SIZE, MAX_SIZE)?;
        // 4:2:0 cropping goes by two pixels (H.264 §7.4.2.1.1), so an odd column or row cannot be said.
        let size = (frame.width & !1, frame.height & !1);
        if self.running.as_ref().is_some_and(|running| running.size != size) {
            // openh264 could change its size, but would fall back to the settings it began with.
            self.running = None;
        }
        let pixels = self.settings.fps * (size.0 * size.1) as f32;
        let tight = bits_a_second(self.settings.bitrate) as f32 / pixels < TIGHT;
        let running = match &mut self.running {
            Some(running) => running,
            None => self.running.insert(Running::new(size, self.settings, tight)?),
        };
        let encoded = running.encode(frame, keyframe, tight);
        if encoded.is_err() {
            self.running = None;
        }
        encoded
    }

    fn set_bitrate(&mut self, bitrate: Bitrate) -> Result<()> {
        check_bitrate("set_bitrate", bitrate)?;
        self.settings.bitrate = bitrate;
        let Some(running) = &mut self.running else {
            return Ok(());
        };
        let mut info = SBitrateInfo {
            iLayer: SPATIAL_LAYER_ALL,
            iBitrate: bits_a_second(bitrate).cast_signed(),
        };
        if set_option(&mut running.encoder, ENCODER_OPTION_BITRATE, &mut info).is_err() {
            // More than its level allows: the next picture begins anew, with a level that does.
            self.running = None;
        }
        Ok(())
    }

    fn set_frame_rate(&mut self, fps: f32) -> Result<()> {
        check_frame_rate("set_frame_rate", fps)?;
        self.settings.fps = fps;
        let Some(running) = &mut self.running else {
            return Ok(());
        };
        let mut fps = fps;
        set_option(&mut running.encoder, ENCODER_OPTION_FRAME_RATE, &mut fps)
    }
}

impl Running {
    fn new(size: (usize, usize), settings: VideoSettings, tight: bool) -> Result<Self> {
        let config = EncoderConfig::new()
            .usage_type(UsageType::CameraVideoRealTime)
            .profile(Profile::Baseline)
            .complexity(Complexity::Low)
            .rate_control_mode(RateControlMode::Bitrate)
            .bitrate(BitRate::from_bps(bits_a_second(settings.bitrate)))
            .max_frame_rate(FrameRate::from_hz(settings.fps))
            .skip_frames(tight)
            // Keyframes are what the receiver asks for: one at each cut would only be late.
            .scene_change_detect(false)
            .num_threads(1);
        let mut encoder =
            Encoder::with_api_config(OpenH264API::from_source(), config).map_err(|error| failed(&error))?;
        // openh264 takes its first look at the settings, with remarks on stderr, before the crate silences it.
        let mut level: c_int = WELS_LOG_QUIET;
        set_option(&mut encoder, ENCODER_OPTION_TRACE_LEVEL, &mut level)?;
        Ok(Self {
            encoder,
            size,
            keyframe: true,
            may_skip: tight,
            first: true,
        })
    }

    /// `tight`: pictures may be left out to keep to the bitrate.
    fn encode(&mut self, frame: &VideoFrame, keyframe: bool, tight: bool) -> Result<Option<EncodedFrame>> {
        self.keyframe |= keyframe;
        if self.keyframe {
            self.encoder.force_intra_frame();
        }
        // Someone waits for a keyframe: it is not skipped. (The first one never is, and has no options yet.)
        let mut may_skip = tight && !self.keyframe;
        if may_skip != self.may_skip && !self.first {
            set_option(&mut self.encoder, ENCODER_OPTION_RC_FRAME_SKIP, &mut may_skip)?;
            self.may_skip = may_skip;
        }
        let source = Source {
            frame,
            size: self.size,
        };
        let milliseconds = frame.time.as_millis() as u64 & i64::MAX as u64;
        let encoded = self
            .encoder
            .encode_at(&source, Timestamp::from_millis(milliseconds))
            .map_err(|error| failed(&error))?;
        self.first = false;
        let keyframe = match encoded.frame_type() {
            FrameType::Skip | FrameType::Invalid => return Ok(None),
            other => other == FrameType::IDR,
        };
        self.keyframe &= !keyframe;
        Ok(Some(EncodedFrame {
            codec: Codec::H264,
            payload: encoded.to_vec().into(),
            keyframe,
            time: frame.time,
        }))
    }
}

/// A frame's planes for openh264, which reads them where they are.
struct Source<'a> {
    frame: &'a VideoFrame,
    size: (usize, usize),
}

impl YUVSource for Source<'_> {
    fn dimensions(&self) -> (usize, usize) {
        self.size
    }

    fn strides(&self) -> (usize, usize, usize) {
        self.frame.strides.into()
    }

    fn y(&self) -> &[u8] {
        &self.frame.planes[0]
    }

    fn u(&self) -> &[u8] {
        &self.frame.planes[1]
    }

    fn v(&self) -> &[u8] {
        &self.frame.planes[2]
    }
}

/// Changes what the crate has no call for.
#[allow(unsafe_code)]
fn set_option<T>(encoder: &mut Encoder, option: ENCODER_OPTION, value: &mut T) -> Result<()> {
    // SAFETY: openh264 reads the option's value during the call, as the type that its callers give for their
    // option (`codec_app_def.h`), and changes nothing that the crate relies on: its size and data format stay.
    let code = unsafe {
        encoder
            .raw_api()
            .set_option(option, std::ptr::from_mut(value).cast())
    };
    match code {
        0 => Ok(()),
        code => {
            let message = format!("openh264 refused option {option} with code {code}");
            Err(Error::new(ErrorKind::Media, "set_option", message))
        }
    }
}

fn bits_a_second(bitrate: Bitrate) -> u32 {
    bitrate.bps().min(MAX_BITRATE) as u32
}

fn failed(error: &openh264::Error) -> Error {
    let message = format!("openh264 failed with code {}", error.native_code());
    Error::new(ErrorKind::Media, "encode", message)
}
