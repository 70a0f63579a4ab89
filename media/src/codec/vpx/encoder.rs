//! The encoder: real time, no lookahead, constant bitrate, as libwebrtc sets it up.

use super::Context;
use crate::codec::{VideoSettings, check_bitrate, check_frame_rate, picture};
use std::ffi::{c_int, c_uint, c_ulong};
use std::mem::MaybeUninit;
use std::slice;
use std::time::Duration;
use visavis_core::media::{Bitrate, Codec, EncodedFrame, VideoEncoder, VideoFrame};
use visavis_core::{Error, ErrorKind, Result};
use vpx_sys::vp8e_enc_control_id as control;
use vpx_sys::{
    VPX_DL_REALTIME, VPX_EFLAG_FORCE_KF, VPX_ENCODER_ABI_VERSION, VPX_FRAME_IS_KEY, vpx_codec_control_,
    vpx_codec_cx_pkt_kind, vpx_codec_enc_cfg_t, vpx_codec_enc_config_default, vpx_codec_enc_config_set,
    vpx_codec_enc_init_ver, vpx_codec_encode, vpx_codec_err_t, vpx_codec_get_cx_data, vpx_codec_iface_t,
    vpx_codec_vp8_cx, vpx_codec_vp9_cx, vpx_img_fmt, vpx_img_wrap, vpx_kf_mode, vpx_rational, vpx_rc_mode,
};

const MIN_SIZE: usize = 16;
const MAX_SIZE: (usize, usize) = (4096, 2304);
/// Ticks a second of what libvpx is told of time.
const CLOCK: u32 = 90_000;

/// Encodes VP8 or VP9 with libvpx.
pub(in crate::codec) struct VpxEncoder {
    codec: Codec,
    settings: VideoSettings,
    /// Made for a size, at the first picture of it.
    running: Option<Running>,
}

struct Running {
    context: Context,
    config: vpx_codec_enc_cfg_t,
    size: (usize, usize),
    /// libvpx wants timestamps that only grow, and reckons the frame rate from them.
    ticks: i64,
    last: Option<Duration>,
    /// Whether the next picture is to be a keyframe.
    keyframe: bool,
}

// SAFETY: as for `Context`; the pointers in the configuration are for two passes, and null.
unsafe impl Send for Running {}

impl VpxEncoder {
    pub(in crate::codec) fn new(codec: Codec, settings: VideoSettings) -> Self {
        debug_assert!(matches!(codec, Codec::Vp8 | Codec::Vp9));
        Self {
            codec,
            settings,
            running: None,
        }
    }
}

impl VideoEncoder for VpxEncoder {
    fn codec(&self) -> Codec {
        self.codec
    }

    fn encode(&mut self, frame: &VideoFrame, keyframe: bool) -> Result<Option<EncodedFrame>> {
        picture::check(frame, MIN_SIZE, MAX_SIZE)?;
        let size = (frame.width, frame.height);
        if self.running.as_ref().is_some_and(|running| running.size != size) {
            self.running = None;
        }
        let running = match &mut self.running {
            Some(running) => running,
            None => self.running.insert(
                Running::new(self.codec, size, self.settings).map_err(|what| failed("encode", what))?,
            ),
        };
        let encoded = running
            .encode(frame, keyframe, self.settings.fps)
            .map_err(|what| failed("encode", what));
        if encoded.is_err() {
            self.running = None;
        }
        Ok(encoded?.map(|(payload, keyframe)| EncodedFrame {
            codec: self.codec,
            payload: payload.into(),
            keyframe,
            time: frame.time,
        }))
    }

    fn set_bitrate(&mut self, bitrate: Bitrate) -> Result<()> {
        check_bitrate("set_bitrate", bitrate)?;
        self.settings.bitrate = bitrate;
        let Some(running) = &mut self.running else {
            return Ok(());
        };
        running.config.rc_target_bitrate = kilobits(bitrate);
        // SAFETY: the context is an initialised encoder; libvpx copies the configuration.
        let code = unsafe { vpx_codec_enc_config_set(running.context.as_mut(), &raw const running.config) };
        running
            .context
            .check(code)
            .map_err(|what| failed("set_bitrate", what))
    }

    fn set_frame_rate(&mut self, fps: f32) -> Result<()> {
        check_frame_rate("set_frame_rate", fps)?;
        self.settings.fps = fps;
        Ok(())
    }
}

impl Running {
    fn new(codec: Codec, size: (usize, usize), settings: VideoSettings) -> Result<Self, String> {
        // SAFETY: takes nothing, and gives a static.
        let interface = unsafe {
            match codec {
                Codec::Vp8 => vpx_codec_vp8_cx(),
                _ => vpx_codec_vp9_cx(),
            }
        };
        let config = configure(interface, size, settings.bitrate)?;
        let context = Context::new(|context| {
            // SAFETY: `context` is memory for a context, and libvpx copies `config`, which it filled itself.
            unsafe {
                vpx_codec_enc_init_ver(
                    context,
                    interface,
                    &raw const config,
                    0,
                    VPX_ENCODER_ABI_VERSION.cast_signed(),
                )
            }
        })?;
        let mut running = Self {
            context,
            config,
            size,
            ticks: 0,
            last: None,
            keyframe: true,
        };
        // In percent of a frame's share. A keyframe may be as large as 300 ms of the bitrate: with less it would look
        // bad, and with more it would be late.
        let largest = (settings.fps * 30.0).clamp(300.0, 10_000.0);
        running.control(control::VP8E_SET_MAX_INTRA_BITRATE_PCT, largest as c_int)?;
        running.control(control::VP8E_SET_STATIC_THRESHOLD, 1)?;
        if codec == Codec::Vp8 {
            // Real time on one core; from −7 on the picture visibly suffers.
            running.control(control::VP8E_SET_CPUUSED, -6)?;
        } else {
            running.control(control::VP8E_SET_CPUUSED, 7)?;
            // Refreshes a part of each picture at a better quality, which is what VP9 looks good by at a constant
            // bitrate.
            running.control(control::VP9E_SET_AQ_MODE, 3)?;
        }
        Ok(running)
    }

    fn control(&mut self, id: control, value: c_int) -> Result<(), String> {
        // SAFETY: the context is an initialised encoder, and all the controls used here take an int.
        let code = unsafe { vpx_codec_control_(self.context.as_mut(), id as c_int, value) };
        self.context.check(code)
    }

    /// The bitstream, and whether it is a keyframe.
    fn encode(
        &mut self,
        frame: &VideoFrame,
        keyframe: bool,
        fps: f32,
    ) -> Result<Option<(Vec<u8>, bool)>, String> {
        let duration = (f64::from(CLOCK) / f64::from(fps)).clamp(1.0, f64::from(CLOCK)) as c_ulong;
        self.advance(frame.time, duration.cast_signed());
        self.keyframe |= keyframe;
        let flags = if self.keyframe { VPX_EFLAG_FORCE_KF } else { 0 };
        let y = frame.planes[0].as_ptr().cast_mut();
        let (width, height) = (frame.width as c_uint, frame.height as c_uint);
        // SAFETY: libvpx fills `image` without reading the plane, and only reads through its pointers during
        // `vpx_codec_encode`: as many rows, columns and strides as `picture::check` found in the planes.
        let code = unsafe {
            let mut image = MaybeUninit::zeroed();
            let format = vpx_img_fmt::VPX_IMG_FMT_I420;
            if vpx_img_wrap(image.as_mut_ptr(), format, width, height, 1, y).is_null() {
                return Err("libvpx refused the picture".to_owned());
            }
            let mut image = image.assume_init();
            for plane in 0..3 {
                image.planes[plane] = frame.planes[plane].as_ptr().cast_mut();
                image.stride[plane] = (frame.strides[plane] as c_uint).cast_signed();
            }
            let deadline = c_ulong::from(VPX_DL_REALTIME);
            let context = self.context.as_mut();
            vpx_codec_encode(
                context,
                &raw const image,
                self.ticks,
                duration,
                flags.into(),
                deadline,
            )
        };
        self.context.check(code)?;
        let encoded = self.take();
        if let Some((_, keyframe)) = encoded {
            self.keyframe &= !keyframe;
        }
        Ok(encoded)
    }

    fn advance(&mut self, time: Duration, nominal: i64) {
        let passed = match self.last {
            None => 0,
            // A source may have been replaced by one with a clock of its own.
            Some(last) => time
                .checked_sub(last)
                .filter(|passed| !passed.is_zero())
                .map_or(nominal, |passed| {
                    (passed.as_secs_f64() * f64::from(CLOCK)).clamp(1.0, f64::from(CLOCK)) as i64
                }),
        };
        self.ticks += passed;
        self.last = Some(time);
    }

    /// What the encoder has written for the last picture; `None` if it dropped it.
    fn take(&mut self) -> Option<(Vec<u8>, bool)> {
        let mut iterator = std::ptr::null();
        let mut bitstream = Vec::new();
        let mut keyframe = false;
        // SAFETY: the context is an initialised encoder, and the packet lives until the next call that encodes.
        let mut next = || unsafe { vpx_codec_get_cx_data(self.context.as_mut(), &raw mut iterator).as_ref() };
        while let Some(packet) = next() {
            if packet.kind != vpx_codec_cx_pkt_kind::VPX_CODEC_CX_FRAME_PKT {
                continue;
            }
            // SAFETY: a packet of this kind holds a frame, of `sz` bytes.
            let (frame, bytes) = unsafe {
                let frame = packet.data.frame;
                (
                    frame,
                    slice::from_raw_parts(frame.buf.cast::<u8>(), frame.sz as usize),
                )
            };
            bitstream.extend_from_slice(bytes);
            keyframe |= frame.flags & VPX_FRAME_IS_KEY != 0;
        }
        (!bitstream.is_empty()).then_some((bitstream, keyframe))
    }
}

fn configure(
    interface: *mut vpx_codec_iface_t,
    (width, height): (usize, usize),
    bitrate: Bitrate,
) -> Result<vpx_codec_enc_cfg_t, String> {
    let mut config = MaybeUninit::zeroed();
    // SAFETY: fills the configuration; zeros are valid for what an older libvpx does not know.
    let mut config: vpx_codec_enc_cfg_t = unsafe {
        match vpx_codec_enc_config_default(interface, config.as_mut_ptr(), 0) {
            vpx_codec_err_t::VPX_CODEC_OK => config.assume_init(),
            code => return Err(super::describe(code)),
        }
    };
    config.g_w = width as c_uint;
    config.g_h = height as c_uint;
    config.g_threads = 1;
    config.g_profile = 0;
    config.g_timebase = vpx_rational {
        num: 1,
        den: CLOCK.cast_signed(),
    };
    // Whole frames arrive or a keyframe is asked for: what makes frames independent of lost ones only costs bits.
    config.g_error_resilient = 0;
    config.g_lag_in_frames = 0;
    config.rc_end_usage = vpx_rc_mode::VPX_CBR;
    config.rc_target_bitrate = kilobits(bitrate);
    // When less than this percentage of the buffer is left. What is sent regardless would be late.
    config.rc_dropframe_thresh = 30;
    config.rc_resize_allowed = 0;
    config.rc_min_quantizer = 2;
    config.rc_max_quantizer = 56;
    config.rc_undershoot_pct = 100;
    config.rc_overshoot_pct = 15;
    // Milliseconds of the bitrate.
    config.rc_buf_initial_sz = 500;
    config.rc_buf_optimal_sz = 600;
    config.rc_buf_sz = 1_000;
    // Keyframes only when they are asked for.
    config.kf_mode = vpx_kf_mode::VPX_KF_DISABLED;
    Ok(config)
}

fn kilobits(bitrate: Bitrate) -> c_uint {
    (bitrate.bps() / 1_000).clamp(1, 1_000_000) as c_uint
}

fn failed(operation: &'static str, what: String) -> Error {
    Error::new(ErrorKind::Media, operation, what)
}
