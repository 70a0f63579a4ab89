//! A camera by `nokhwa`, on a thread of its own: a camera that stalls must not take its reader with it.

use super::{
    convert::{FORMATS, to_i420},
    errors::{convert_error, no_format, not_found, not_readable},
    latest::{Latest, Taken},
};
use crate::devices::CameraInfo;
use nokhwa::{
    NokhwaError,
    utils::{ApiBackend, CameraFormat, CameraIndex, RequestedFormat, RequestedFormatType},
};
use std::{
    fmt,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};
use tokio::time::Instant;
use visavis_core::{Error, ErrorKind, Result, media::VideoFrame};

/// A camera that gives nothing for so long is broken. Some take seconds for their first picture.
const DEADLINE: Duration = Duration::from_secs(5);
/// How long to wait at most until it is free.
const CLOSING: Duration = Duration::from_secs(2);
/// So many damaged pictures one after another are too many.
const DAMAGED: u32 = 60;

/// What the format should be near to.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    size: (u32, u32),
    fps: f32,
}

impl Wanted {
    fn new(size: Option<(u32, u32)>, fps: Option<f32>) -> Result<Self> {
        let (size, fps) = (size.unwrap_or((640, 480)), fps.unwrap_or(30.0));
        if size.0 == 0 || size.1 == 0 || !(fps.is_finite() && fps > 0.0) {
            let message = format!("{} x {} pixels, {fps} frames a second", size.0, size.1);
            return Err(Error::invalid_input("get_user_media", message));
        }
        Ok(Self { size, fps })
    }

    /// The nearest one that can be converted.
    fn choose(self, formats: &[CameraFormat]) -> Option<CameraFormat> {
        let known = formats.iter().filter_map(|format| {
            let rank = FORMATS.iter().position(|known| *known == format.format())?;
            let resolution = format.resolution();
            let far = resolution.width().abs_diff(self.size.0) + resolution.height().abs_diff(self.size.1);
            let slow = ((self.fps - format.frame_rate() as f32).abs() * 1000.0) as u64;
            Some(((far, slow, rank), *format))
        });
        known.min_by_key(|(score, _)| *score).map(|(_, format)| format)
    }
}

/// A camera that is open.
pub(super) struct Device {
    opened: Opened,
    latest: Arc<Latest<(nokhwa::Buffer, Instant)>>,
    epoch: Instant,
    damaged: u32,
}

struct Opened {
    index: u32,
    name: String,
    format: CameraFormat,
}

impl Device {
    pub(super) fn open(index: u32, size: Option<(u32, u32)>, fps: Option<f32>) -> Result<Self> {
        let wanted = Wanted::new(size, fps)?;
        let latest = Arc::new(Latest::new());
        let (tell, told) = mpsc::channel();
        let thread = Arc::clone(&latest);
        thread::Builder::new()
            .name(format!("camera {index}"))
            .spawn(move || {
                run(index, wanted, &tell, &thread);
                thread.close();
            })
            .map_err(|error| not_readable(index, &error.to_string()))?;
        let opened = told
            .recv_timeout(DEADLINE)
            .map_err(|_| not_readable(index, "it did not answer in time"))??;
        let device = Self {
            opened,
            latest,
            epoch: Instant::now(),
            damaged: 0,
        };
        // Many a camera that is busy or broken says so only now.
        device.latest.wait(DEADLINE);
        if !device.latest.is_filled() {
            return Err(match device.latest.take(Duration::ZERO) {
                Taken::Failed(error) => error,
                _ => device.silent(),
            });
        }
        Ok(device)
    }

    pub(super) fn description(&self) -> String {
        format!("{}, {}", self.opened.name, describe(self.opened.format))
    }

    pub(super) fn dropped(&self) -> u64 {
        self.latest.dropped()
    }

    pub(super) fn size(&self) -> (usize, usize) {
        let resolution = self.opened.format.resolution();
        (resolution.width() as usize, resolution.height() as usize)
    }

    pub(super) fn interval(&self) -> Duration {
        Duration::from_secs(1) / self.opened.format.frame_rate().max(1)
    }

    pub(super) fn start(&mut self, epoch: Instant) {
        self.epoch = epoch;
    }

    pub(super) fn next(&mut self) -> Result<Option<VideoFrame>> {
        loop {
            let (buffer, at) = match self.latest.take(DEADLINE) {
                Taken::Item(item) => item,
                Taken::Failed(error) => return Err(error),
                Taken::TimedOut => return Err(self.silent()),
                Taken::Closed => return Ok(None),
            };
            // From before the start: it lay here while the call came up.
            let Some(time) = at.checked_duration_since(self.epoch) else {
                continue;
            };
            match to_i420(buffer.source_frame_format(), buffer.buffer(), self.size(), time) {
                Ok(frame) => {
                    self.damaged = 0;
                    return Ok(Some(frame));
                }
                // Cameras begin with such pictures, and a bad cable makes some.
                Err(error) => {
                    self.latest.count_dropped();
                    self.damaged += 1;
                    if self.damaged == DAMAGED {
                        return Err(not_readable(
                            self.opened.index,
                            &format!("all its pictures are damaged: {error}"),
                        ));
                    }
                }
            }
        }
    }

    fn silent(&self) -> Error {
        let text = format!(
            "it gave no picture for {} seconds; unplug it and plug it in",
            DEADLINE.as_secs()
        );
        not_readable(self.opened.index, &text)
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.latest.stop(CLOSING);
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device")
            .field("description", &self.description())
            .finish_non_exhaustive()
    }
}

/// The thread of a camera.
fn run(
    index: u32,
    wanted: Wanted,
    tell: &mpsc::Sender<Result<Opened>>,
    latest: &Latest<(nokhwa::Buffer, Instant)>,
) {
    let mut camera = match open(index, wanted) {
        Ok(camera) => camera,
        Err(error) => return drop(tell.send(Err(error))),
    };
    let opened = Opened {
        index,
        name: camera.info().human_name(),
        format: camera.camera_format(),
    };
    if tell.send(Ok(opened)).is_err() {
        return;
    }
    loop {
        match camera.frame() {
            Ok(buffer) => {
                if !latest.put((buffer, Instant::now())) {
                    break;
                }
            }
            Err(error) => {
                latest.fail(convert_error(index, &error));
                break;
            }
        }
    }
}

fn open(index: u32, wanted: Wanted) -> Result<nokhwa::Camera> {
    let known = query()?;
    if !known
        .iter()
        .any(|camera| camera.index().as_index().is_ok_and(|found| found == index))
    {
        return Err(not_found(index, &known));
    }
    let fail = |error: NokhwaError| convert_error(index, &error);
    let mut camera = first_format(index).map_err(fail)?;
    let formats = camera.compatible_camera_formats().map_err(fail)?;
    let format = wanted.choose(&formats).ok_or_else(|| no_format(index))?;
    if format != camera.camera_format() {
        let exactly = RequestedFormat::with_formats(RequestedFormatType::Exact(format), &FORMATS);
        camera.set_camera_requset(exactly).map_err(fail)?;
    }
    camera.open_stream().map_err(fail)?;
    Ok(camera)
}

/// Opens it in any format that is known here.
fn first_format(index: u32) -> Result<nokhwa::Camera, NokhwaError> {
    let any = RequestedFormat::with_formats(RequestedFormatType::None, &FORMATS);
    nokhwa::Camera::new(CameraIndex::Index(index), any)
}

fn query() -> Result<Vec<nokhwa::utils::CameraInfo>> {
    let mut cameras = nokhwa::query(ApiBackend::Auto).map_err(|error| {
        Error::new(
            ErrorKind::NotReadable,
            "get_user_media",
            "cameras cannot be listed",
        )
        .with_source(error)
    })?;
    cameras.sort_by_key(|camera| camera.index().as_index().unwrap_or(u32::MAX));
    Ok(cameras)
}

/// The cameras of this machine with their formats, each opened for a moment.
pub(crate) fn list() -> Result<Vec<CameraInfo>> {
    let mut cameras = Vec::new();
    for found in query()? {
        let Ok(index) = found.index().as_index() else {
            continue;
        };
        let formats = first_format(index).and_then(|mut camera| camera.compatible_camera_formats());
        let (formats, problem) = match formats {
            Ok(mut formats) => {
                formats.retain(|format| FORMATS.contains(&format.format()));
                formats.sort_by_key(|format| {
                    (
                        format.resolution().width(),
                        format.resolution().height(),
                        format.frame_rate(),
                    )
                });
                formats.dedup();
                (formats.into_iter().map(describe).collect(), None)
            }
            Err(error) => match convert_error(index, &error) {
                // Every USB camera has a second device without pictures.
                error if error.kind() == ErrorKind::NotSupported => continue,
                error => (Vec::new(), Some(error.to_string())),
            },
        };
        cameras.push(CameraInfo {
            index,
            name: found.human_name(),
            formats,
            problem,
        });
    }
    Ok(cameras)
}

fn describe(format: CameraFormat) -> String {
    let resolution = format.resolution();
    format!(
        "{}x{} {} fps {}",
        resolution.width(),
        resolution.height(),
        format.frame_rate(),
        format.format()
    )
}
