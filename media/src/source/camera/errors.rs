//! What is wrong with a camera, in `getUserMedia`'s terms, and what to do about it.

use nokhwa::NokhwaError;
use visavis_core::{Error, ErrorKind};

pub(super) fn not_found(index: u32, known: &[nokhwa::utils::CameraInfo]) -> Error {
    let text = if known.is_empty() {
        format!("there is no camera {index}, nor any other: connect one")
    } else {
        let names = known
            .iter()
            .map(|camera| format!("{} ({})", camera.index(), camera.human_name()));
        format!(
            "there is no camera {index}; there are {}",
            names.collect::<Vec<_>>().join(", ")
        )
    };
    Error::new(ErrorKind::NotFound, "get_user_media", text)
}

pub(super) fn no_format(index: u32) -> Error {
    let text = format!(
        "camera {index} gives none of YUYV, NV12, RGB and MJPEG at a whole number of frames a second"
    );
    Error::new(ErrorKind::NotSupported, "get_user_media", text)
}

pub(super) fn not_readable(index: u32, text: &str) -> Error {
    Error::new(
        ErrorKind::NotReadable,
        "get_user_media",
        format!("camera {index}: {text}"),
    )
}

/// nokhwa gives the system's errors as text.
pub(super) fn convert_error(index: u32, error: &NokhwaError) -> Error {
    let text = error.to_string();
    let says = |words: &[&str]| words.iter().any(|words| text.contains(words));
    if says(&[
        "os error 13)",
        "os error 1)",
        "Permission denied",
        "not authorized",
        "denied",
    ]) {
        let what = if cfg!(target_os = "linux") {
            format!(
                "no permission for /dev/video{index}: join its group (`sudo usermod -aG video $USER`) and log in again"
            )
        } else {
            "the system does not let this program use cameras: allow it in the privacy settings".to_owned()
        };
        Error::new(
            ErrorKind::NotAllowed,
            "get_user_media",
            format!("camera {index}: {what}"),
        )
    } else if says(&["os error 16)", "busy"]) {
        not_readable(index, "another program is using it; close that program")
    } else if says(&["os error 2)", "os error 6)", "No such file"]) {
        not_found(index, &[])
    } else if says(&["os error 19)", "No such device"]) {
        not_readable(index, "it is gone: plug it in again")
    } else if says(&["Failed to Fufill"]) {
        no_format(index)
    } else {
        not_readable(index, &text)
    }
}
