//! Which cameras, microphones and speakers this machine has, and what `getUserMedia` says when there are none.

#[cfg(feature = "audio-device")]
pub(crate) mod audio;
#[cfg(feature = "audio-device")]
pub(crate) mod ring;

use serde::Serialize;
use visavis_core::{Error, ErrorKind, Result};

/// A camera.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CameraInfo {
    /// For [`Camera::open`](crate::source::Camera::open).
    pub index: u32,
    /// What it calls itself.
    pub name: String,
    /// What can be asked for, such as "640x480 30 fps YUYV".
    pub formats: Vec<String>,
    /// Why it cannot be used, and what to do.
    pub problem: Option<String>,
}

/// A microphone or a speaker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AudioDeviceInfo {
    /// For [`Microphone::open`](crate::source::Microphone::open) or [`Speaker::open`](crate::sink::Speaker::open).
    pub name: String,
    /// More words about it, if the system has any.
    pub description: Option<String>,
    /// Whether it is what is taken when no name is given.
    pub default: bool,
}

/// The cameras of this machine. Each is opened for a moment, to ask for its formats.
///
/// # Errors
///
/// [`NotSupported`](ErrorKind::NotSupported) if this build has no camera support, with how to get it.
pub fn cameras() -> Result<Vec<CameraInfo>> {
    crate::source::camera::list()
}

/// The microphones of this machine, without ALSA's `null`, which is none.
///
/// # Errors
///
/// [`NotSupported`](ErrorKind::NotSupported) if this build has no sound devices, with how to get them.
pub fn microphones() -> Result<Vec<AudioDeviceInfo>> {
    audio::microphones()
}

/// The speakers of this machine, without ALSA's `null`, which is none.
///
/// # Errors
///
/// As for [`microphones`].
pub fn speakers() -> Result<Vec<AudioDeviceInfo>> {
    audio::speakers()
}

/// What the demo says when a source cannot be opened: `getUserMedia() error: NotFoundError: ...`, with what to do.
/// None if it is not one of the errors that `getUserMedia` has names for.
pub fn get_user_media_error(error: &Error) -> Option<String> {
    let name = match error.kind() {
        ErrorKind::NotFound => "NotFoundError",
        ErrorKind::NotAllowed => "NotAllowedError",
        ErrorKind::NotReadable => "NotReadableError",
        ErrorKind::NotSupported => "NotSupportedError",
        _ => return None,
    };
    let text = error.to_string();
    let text = text.strip_prefix("get_user_media: ").unwrap_or(&text);
    Some(format!("getUserMedia() error: {name}: {text}"))
}

/// What is said where sound devices are asked for and this build has none.
#[cfg(not(feature = "audio-device"))]
pub(crate) const MISSING: &str = "this build has no microphones and speakers; rebuild with --features audio-device \
                                  (Debian: apt install libasound2-dev pkg-config)";

#[cfg(not(feature = "audio-device"))]
mod audio {
    use super::{AudioDeviceInfo, Error, ErrorKind, MISSING, Result};

    pub(super) fn microphones() -> Result<Vec<AudioDeviceInfo>> {
        Err(Error::new(ErrorKind::NotSupported, "microphones", MISSING))
    }

    pub(super) fn speakers() -> Result<Vec<AudioDeviceInfo>> {
        Err(Error::new(ErrorKind::NotSupported, "speakers", MISSING))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_it_as_the_demo_does() {
        let error = Error::new(ErrorKind::NotFound, "get_user_media", "there is no camera 7");
        let text = get_user_media_error(&error).unwrap();
        assert_eq!(text, "getUserMedia() error: NotFoundError: there is no camera 7");
        assert_eq!(
            get_user_media_error(&Error::new(ErrorKind::Timeout, "call", "late")),
            None
        );
    }
}
