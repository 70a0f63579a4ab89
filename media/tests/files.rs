//! Files, cameras and sound devices as sources.

#[path = "files/audio.rs"]
mod audio;
#[cfg(all(feature = "camera", target_os = "linux"))]
#[path = "files/camera.rs"]
mod camera;
#[path = "files/hostile.rs"]
mod hostile;
#[path = "files/made.rs"]
mod made;
#[path = "files/made_sound.rs"]
mod made_sound;
#[cfg(not(any(feature = "camera", feature = "audio-device")))]
#[path = "files/missing.rs"]
mod missing;
#[path = "files/real.rs"]
mod real;
#[cfg(all(feature = "audio-device", target_os = "linux"))]
#[path = "files/sound_devices.rs"]
mod sound_devices;
#[path = "files/video.rs"]
mod video;
