//! What a build without devices says.

use visavis_core::{Error, ErrorKind};
use visavis_media::{devices, sink::Speaker, source};

fn says(error: Option<Error>, feature: &str) {
    let error = error.expect("an error");
    assert_eq!(error.kind(), ErrorKind::NotSupported);
    let words = devices::get_user_media_error(&error).unwrap();
    assert!(
        words.contains("rebuild with") && words.contains(&format!("--features {feature}")),
        "{words}"
    );
}

#[test]
#[cfg(not(feature = "camera"))]
fn cameras() {
    says(source::Camera::open(0, None, None).err(), "camera");
    says(devices::cameras().err(), "camera");
}

#[test]
#[cfg(not(feature = "audio-device"))]
fn sound_devices() {
    says(source::Microphone::open(None).err(), "audio-device");
    says(Speaker::open(None).err(), "audio-device");
    says(devices::microphones().err(), "audio-device");
    says(devices::speakers().err(), "audio-device");
}
