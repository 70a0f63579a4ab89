//! VP8 and VP9 by libvpx (BSD-3-Clause), as the system has it.
//!
//! The bindings are `env-libvpx-sys`'s, which fit libvpx 1.3 to 1.13. This is the one module of the workspace that
//! calls a C library by hand.

#![allow(unsafe_code)]

mod decoder;
mod encoder;

pub(super) use decoder::VpxDecoder;
pub(super) use encoder::VpxEncoder;

use std::ffi::CStr;
use std::mem::MaybeUninit;
use vpx_sys::{
    vpx_codec_ctx_t, vpx_codec_destroy, vpx_codec_err_t, vpx_codec_err_to_string, vpx_codec_error_detail,
};

/// A codec of libvpx, encoder or decoder, freed on drop.
struct Context(Box<vpx_codec_ctx_t>);

// SAFETY: libvpx ties no codec to a thread, and a `Context` is neither cloned nor shared.
unsafe impl Send for Context {}

impl Context {
    /// Makes one with `init`, which gets memory for libvpx to fill.
    fn new(init: impl FnOnce(*mut vpx_codec_ctx_t) -> vpx_codec_err_t) -> Result<Self, String> {
        // SAFETY: all zeros is what libvpx itself begins with (it clears the struct first), and each field allows it:
        // null pointers, no flags, and `VPX_CODEC_OK`, which is zero.
        let mut context: Box<vpx_codec_ctx_t> = Box::new(unsafe { MaybeUninit::zeroed().assume_init() });
        match init(&raw mut *context) {
            vpx_codec_err_t::VPX_CODEC_OK => Ok(Self(context)),
            // libvpx has freed what it had: there is nothing to destroy.
            code => Err(describe(code)),
        }
    }

    fn as_mut(&mut self) -> *mut vpx_codec_ctx_t {
        &raw mut *self.0
    }

    /// An error with what libvpx says about it.
    fn check(&mut self, code: vpx_codec_err_t) -> Result<(), String> {
        if code == vpx_codec_err_t::VPX_CODEC_OK {
            return Ok(());
        }
        // SAFETY: the context is initialised; the detail is null or a string that lives until the next call.
        let detail = unsafe {
            let detail = vpx_codec_error_detail(self.as_mut());
            (!detail.is_null()).then(|| CStr::from_ptr(detail).to_string_lossy().into_owned())
        };
        let what = describe(code);
        Err(detail.map_or(what.clone(), |detail| format!("{what}: {detail}")))
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: the context was initialised and is destroyed once.
        unsafe { vpx_codec_destroy(self.as_mut()) };
    }
}

fn describe(code: vpx_codec_err_t) -> String {
    // SAFETY: gives a static string for each code.
    let text = unsafe { CStr::from_ptr(vpx_codec_err_to_string(code)) };
    format!("libvpx: {}", text.to_string_lossy())
}
