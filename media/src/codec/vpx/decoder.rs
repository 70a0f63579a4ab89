//! The decoder.

use super::Context;
use crate::codec::gate::{Contents, RawDecoder};
use crate::codec::header;
use crate::codec::picture::{MAX_PIXELS, Picture};
use std::ffi::{c_int, c_uint};
use std::slice;
use visavis_core::media::Codec;
use visavis_core::{Error, ErrorKind, Result};
use vpx_sys::vp8_dec_control_id::VP8D_GET_FRAME_CORRUPTED;
use vpx_sys::{
    VPX_DECODER_ABI_VERSION, vpx_codec_control_, vpx_codec_dec_cfg_t, vpx_codec_dec_init_ver,
    vpx_codec_decode, vpx_codec_get_frame, vpx_codec_iface_t, vpx_codec_peek_stream_info,
    vpx_codec_stream_info_t, vpx_codec_vp8_dx, vpx_codec_vp9_dx, vpx_image_t, vpx_img_fmt,
};

/// Decodes VP8 or VP9 with libvpx.
pub(in crate::codec) struct VpxDecoder {
    codec: Codec,
    context: Context,
}

impl VpxDecoder {
    pub(in crate::codec) fn new(codec: Codec) -> Result<Self> {
        let config = vpx_codec_dec_cfg_t {
            threads: 1,
            w: 0,
            h: 0,
        };
        let context = Context::new(|context| {
            let version = VPX_DECODER_ABI_VERSION.cast_signed();
            // SAFETY: `context` is memory for a context, and libvpx copies `config`.
            unsafe { vpx_codec_dec_init_ver(context, interface(codec), &raw const config, 0, version) }
        });
        context
            .map(|context| Self { codec, context })
            .map_err(|what| Error::new(ErrorKind::Media, "video_decoder", what))
    }

    /// Refuses keyframes that ask for more memory than any call needs.
    fn check_size(&self, bitstream: &[u8]) -> Result<(), String> {
        let mut info = vpx_codec_stream_info_t {
            sz: size_of::<vpx_codec_stream_info_t>() as c_uint,
            w: 0,
            h: 0,
            is_kf: 0,
        };
        // SAFETY: libvpx reads the bitstream and fills `info`. Errors are left for the decoder to report.
        unsafe {
            let length = bitstream.len() as c_uint;
            vpx_codec_peek_stream_info(interface(self.codec), bitstream.as_ptr(), length, &raw mut info);
        }
        if u64::from(info.w) * u64::from(info.h) > u64::from(MAX_PIXELS) {
            return Err(format!("a picture of {}x{} is too large", info.w, info.h));
        }
        Ok(())
    }

    fn is_corrupted(&mut self) -> Result<bool, String> {
        let mut corrupted: c_int = 0;
        // SAFETY: the context is an initialised decoder, and this control writes an int.
        let code = unsafe {
            vpx_codec_control_(
                self.context.as_mut(),
                VP8D_GET_FRAME_CORRUPTED as c_int,
                &raw mut corrupted,
            )
        };
        self.context.check(code)?;
        Ok(corrupted != 0)
    }
}

impl RawDecoder for VpxDecoder {
    fn codec(&self) -> Codec {
        self.codec
    }

    fn inspect(&self, bitstream: &[u8]) -> Contents {
        match self.codec {
            Codec::Vp8 => header::vp8(bitstream),
            _ => header::vp9(bitstream),
        }
    }

    fn decode(&mut self, bitstream: &[u8]) -> Result<Option<Picture>, String> {
        self.check_size(bitstream)?;
        let length = c_uint::try_from(bitstream.len()).map_err(|_| "the frame is too large".to_owned())?;
        // SAFETY: the context is an initialised decoder, which reads the bitstream during the call.
        let code = unsafe {
            let context = self.context.as_mut();
            vpx_codec_decode(context, bitstream.as_ptr(), length, std::ptr::null_mut(), 0)
        };
        self.context.check(code)?;
        let mut iterator = std::ptr::null();
        let mut picture = None;
        loop {
            // SAFETY: the context is an initialised decoder; the image lives until the next call that decodes, and is
            // copied here.
            let image = unsafe { vpx_codec_get_frame(self.context.as_mut(), &raw mut iterator).as_ref() };
            match image {
                Some(image) => picture = Some(copy(image)?),
                None => break,
            }
        }
        // Of the picture that was taken last: before, it would be of the one before.
        if picture.is_some() && self.is_corrupted()? {
            return Err("the frame is damaged, or builds on one that is".to_owned());
        }
        Ok(picture)
    }

    fn renew(&mut self) -> Result<()> {
        *self = Self::new(self.codec)?;
        Ok(())
    }
}

fn interface(codec: Codec) -> *mut vpx_codec_iface_t {
    // SAFETY: takes nothing, and gives a static.
    unsafe {
        match codec {
            Codec::Vp8 => vpx_codec_vp8_dx(),
            _ => vpx_codec_vp9_dx(),
        }
    }
}

fn copy(image: &vpx_image_t) -> Result<Picture, String> {
    if image.fmt != vpx_img_fmt::VPX_IMG_FMT_I420 {
        return Err("the picture is not I420 with 8 bits".to_owned());
    }
    let (width, height) = (image.d_w as usize, image.d_h as usize);
    let rows = [height, height.div_ceil(2), height.div_ceil(2)];
    let mut planes: [&[u8]; 3] = [&[]; 3];
    let mut strides = [0; 3];
    for plane in 0..3 {
        let stride =
            usize::try_from(image.stride[plane]).map_err(|_| "the picture is upside down".to_owned())?;
        strides[plane] = stride;
        // SAFETY: libvpx's planes have `rows` rows of `stride` bytes, with borders that belong to the same buffer.
        planes[plane] = unsafe { slice::from_raw_parts(image.planes[plane], stride * rows[plane]) };
    }
    Picture::copy(width, height, planes, strides).ok_or_else(|| "the planes are too small".to_owned())
}
