//! Pictures and sound from files, recognised by their content.
//!
//! Files are read as they are played: what is held in memory is one frame (and the table of frames of an MP4), not
//! the file. A file that lies about itself (absurd sizes, boxes cut off, counts beyond its end) gives an error.

mod clock;
mod encoded;
mod h264;
mod ivf;
mod mp4;
mod ogg;
mod packets;
mod pictures;
mod sound;
mod wav;
mod y4m;

pub use encoded::read_h264;

use std::{
    fmt,
    fs::File,
    io::{BufReader, Read as _, Seek as _},
    path::Path,
};
use visavis_core::{
    Error, ErrorKind, Result,
    media::{AudioSource, VideoSource},
};

/// What comes after the last frame of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Repeat {
    /// The end.
    Once,
    /// The first frame again; times go on growing.
    #[default]
    Loop,
}

/// A file that [`open_video`] opened.
pub struct VideoFile {
    /// Its pictures.
    pub source: Box<dyn VideoSource>,
    /// What of the file is left out, a sentence each: "the AAC sound track is skipped: visavis sends Opus".
    pub notes: Vec<String>,
}

impl fmt::Debug for VideoFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VideoFile")
            .field("size", &self.source.size())
            .field("notes", &self.notes)
            .finish_non_exhaustive()
    }
}

/// Opens a file with pictures: Y4M, IVF (VP8, VP9, H.264) or MP4 (H.264), told by its content and not by its name.
///
/// The first picture is decoded here. The times of the pictures are the file's own, the first one's zero.
///
/// # Errors
///
/// [`NotFound`](ErrorKind::NotFound), [`NotAllowed`](ErrorKind::NotAllowed) or
/// [`NotReadable`](ErrorKind::NotReadable) from the file system; [`NotSupported`](ErrorKind::NotSupported) for a
/// format or codec that this build cannot decode; [`Media`](ErrorKind::Media) if the file is damaged.
pub fn open_video(path: &Path, repeat: Repeat) -> Result<VideoFile> {
    let named = |trouble: Trouble| trouble.at("open_video", path);
    let (file, magic) = open(path).map_err(named)?;
    let mut notes = Vec::new();
    let pictures: Box<dyn pictures::Pictures> = match Format::of(&magic) {
        Format::Y4m => Box::new(y4m::Y4m::open(file).map_err(named)?),
        Format::Ivf => Box::new(packets::Decoded::new(ivf::Ivf::open(file).map_err(named)?).map_err(named)?),
        Format::Mp4 => {
            let mp4 = mp4::Mp4::open(file, &mut notes).map_err(named)?;
            Box::new(packets::Decoded::new(mp4).map_err(named)?)
        }
        Format::Wav | Format::Ogg => {
            return Err(named(Trouble::unsupported(
                "this is a sound file: give it as the audio source",
            )));
        }
        format => {
            return Err(named(
                format.unsupported("Y4M, IVF (VP8, VP9, H.264) and MP4 (H.264)"),
            ));
        }
    };
    Ok(VideoFile {
        source: Box::new(pictures::FileSource::new(path, pictures, repeat)?),
        notes,
    })
}

/// Opens a file with sound: WAV or Ogg Opus, told by its content and not by its name.
///
/// Gives 20 ms frames at 48 kHz in stereo, resampled if the file has another rate; more than two channels are mixed
/// down, one is doubled. The last frame is filled up with silence; a file that loops does so without a gap.
///
/// # Errors
///
/// As for [`open_video`].
pub fn open_audio(path: &Path, repeat: Repeat) -> Result<Box<dyn AudioSource>> {
    let named = |trouble: Trouble| trouble.at("open_audio", path);
    let (file, magic) = open(path).map_err(named)?;
    let sound: Box<dyn sound::Sound> = match Format::of(&magic) {
        Format::Wav => Box::new(wav::Wav::open(file).map_err(named)?),
        Format::Ogg => Box::new(ogg::OggOpus::open(file).map_err(named)?),
        Format::Y4m | Format::Ivf => {
            return Err(named(Trouble::unsupported("this is a video file without sound")));
        }
        format => return Err(named(format.unsupported("WAV and Ogg Opus"))),
    };
    Ok(Box::new(sound::FileSound::new(path, sound, repeat)?))
}

/// What is wrong with a file, before its name is put to it.
#[derive(Debug)]
struct Trouble(ErrorKind, String);

/// A result of reading a file.
type Read<T> = Result<T, Trouble>;

impl Trouble {
    fn damaged(text: impl Into<String>) -> Self {
        Self(ErrorKind::Media, text.into())
    }

    fn unsupported(text: impl Into<String>) -> Self {
        Self(ErrorKind::NotSupported, text.into())
    }

    /// The same about the `number`th frame, counted from 1.
    fn in_frame(self, number: u64) -> Self {
        Self(self.0, format!("frame {number}: {}", self.1))
    }

    fn at(self, operation: &'static str, path: &Path) -> Error {
        Error::new(self.0, operation, format!("{}: {}", path.display(), self.1))
    }
}

impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::NotFound => Self(ErrorKind::NotFound, "there is no such file".into()),
            std::io::ErrorKind::PermissionDenied => {
                Self(ErrorKind::NotAllowed, "no permission to read this file".into())
            }
            std::io::ErrorKind::UnexpectedEof => Self::damaged("the file is cut off"),
            std::io::ErrorKind::InvalidData => Self::damaged(error.to_string()),
            _ => Self(ErrorKind::NotReadable, format!("cannot be read: {error}")),
        }
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self(error.kind(), error.to_string())
    }
}

/// The first bytes tell the format.
fn open(path: &Path) -> Read<(BufReader<File>, [u8; 16])> {
    // Before it is opened: opening a pipe would wait for its writer. Reading twice, as looping does, needs a file.
    if !std::fs::metadata(path)?.is_file() {
        return Err(Trouble(
            ErrorKind::NotReadable,
            "this is not a regular file".into(),
        ));
    }
    let mut file = File::open(path)?;
    let mut start = Vec::new();
    (&mut file).take(16).read_to_end(&mut start)?;
    file.rewind()?;
    let mut magic = [0; 16];
    magic[..start.len()].copy_from_slice(&start);
    Ok((BufReader::with_capacity(64 * 1024, file), magic))
}

#[derive(Debug, Clone, Copy)]
enum Format {
    Y4m,
    Ivf,
    Mp4,
    Wav,
    Ogg,
    Matroska,
    Avi,
    Mp3,
    Flac,
    Unknown,
}

impl Format {
    fn of(magic: &[u8; 16]) -> Self {
        match magic {
            [b'Y', b'U', b'V', b'4', b'M', b'P', b'E', b'G', b'2', ..] => Self::Y4m,
            [b'D', b'K', b'I', b'F', ..] => Self::Ivf,
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'A', b'V', b'E', ..] => Self::Wav,
            [b'R', b'I', b'F', b'F', _, _, _, _, b'A', b'V', b'I', ..] => Self::Avi,
            [b'O', b'g', b'g', b'S', ..] => Self::Ogg,
            [0x1a, 0x45, 0xdf, 0xa3, ..] => Self::Matroska,
            [b'I', b'D', b'3', ..] => Self::Mp3,
            [b'f', b'L', b'a', b'C', ..] => Self::Flac,
            [_, _, _, _, kind @ ..]
                if [b"ftyp", b"styp", b"moov", b"mdat", b"free", b"skip", b"wide"]
                    .iter()
                    .any(|known| kind.starts_with(*known)) =>
            {
                Self::Mp4
            }
            _ => Self::Unknown,
        }
    }

    fn unsupported(self, known: &str) -> Trouble {
        let what = match self {
            Self::Matroska => "WebM or Matroska",
            Self::Avi => "AVI",
            Self::Mp3 => "MP3",
            Self::Flac => "FLAC",
            Self::Mp4 => "MP4, of which only the pictures can be read",
            _ => {
                return Trouble::unsupported(format!(
                    "the format of this file is not known; {known} can be read"
                ));
            }
        };
        Trouble::unsupported(format!(
            "the format is {what}; {known} can be read (`ffmpeg -i` converts)"
        ))
    }
}
