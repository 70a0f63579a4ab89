//! Records encoded pictures and sound as they arrive, without decoding.

mod ivf;
mod ogg;

pub use ivf::IvfRecorder;
pub use ogg::OggOpusRecorder;

use std::{
    fs::File,
    io::{self, ErrorKind as Io},
    path::Path,
};
use visavis_core::{Error, ErrorKind, Result};

/// Creates a file, or empties it.
pub(super) fn create(path: &Path) -> Result<File> {
    File::create(path).map_err(|error| {
        let kind = match error.kind() {
            Io::NotFound => ErrorKind::NotFound,
            Io::PermissionDenied => ErrorKind::NotAllowed,
            _ => ErrorKind::NotReadable,
        };
        Error::new(kind, "record", format!("cannot create {}", path.display())).with_source(error)
    })
}

/// A file could not be written.
pub(super) fn failed(error: io::Error) -> Error {
    Error::new(ErrorKind::NotReadable, "record", "cannot write the recording").with_source(error)
}

#[cfg(test)]
mod tests;
