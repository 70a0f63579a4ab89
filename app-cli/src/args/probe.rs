//! Options of `visavis probe`.

use super::{
    Verbosity,
    call::{bind, duration},
    media::{pattern, video_codec},
    stacks,
};
use clap::{ArgGroup, Args};
use std::{net::SocketAddr, time::Duration};
use ureq::http::Uri;
use visavis_core::{Codec, MAX_MESSAGE_SIZE};
use visavis_media::session::VideoPlan;

/// Options of `visavis probe`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("carried").multiple(true).args(["video", "audio"]))]
pub(crate) struct ProbeArgs {
    /// Where the offer is sent to, such as http://127.0.0.1:8080; /offer is added where there is no path
    #[arg(value_name = "URL", value_parser = url)]
    pub(crate) url: Uri,

    /// The stack that offers; the first one listed is the default
    #[arg(long, value_name = "STACK", value_parser = stacks())]
    pub(crate) backend: Option<String>,

    /// Send the pattern and check the pictures that come back
    #[arg(long, help_heading = "What is probed")]
    pub(crate) video: bool,

    /// Send the tone and check the sound that comes back
    #[arg(long, help_heading = "What is probed")]
    pub(crate) audio: bool,

    /// Offer no data channel
    #[arg(long, requires = "carried", conflicts_with_all = ["bytes", "size"], help_heading = "What is probed")]
    pub(crate) no_data: bool,

    /// The codec of the pictures: h264, vp8 or vp9 [default: all that this build has]
    #[arg(long, value_name = "CODEC", value_parser = video_codec, requires = "video", help_heading = "What is probed")]
    pub(crate) video_codec: Option<Codec>,

    /// How long pictures and sound are sent
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "3s", help_heading = "What is probed")]
    pub(crate) duration: Duration,

    /// Also measure the throughput: send so many bytes, such as 16MiB, and wait for them to come back
    #[arg(long, value_name = "BYTES", value_parser = bytes, help_heading = "What is probed")]
    pub(crate) bytes: Option<u64>,

    /// How large its messages are [default: 16KiB, or what the other side takes if that is less]
    #[arg(long, value_name = "BYTES", value_parser = message_size, requires = "bytes", help_heading = "What is probed")]
    pub(crate) size: Option<usize>,

    /// Where to bind: IP or IP:PORT, repeatable [default: by the URL]
    ///
    /// By default 127.0.0.1 if the URL is on loopback, and every interface otherwise.
    #[arg(long, value_name = "ADDR", value_parser = bind, help_heading = "Network")]
    pub(crate) bind: Vec<SocketAddr>,

    /// How long answering and connecting may take together, and each check after that
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "10s", help_heading = "Network")]
    pub(crate) timeout: Duration,

    /// Print nothing but the JSON line: no progress on standard error
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) verbosity: Verbosity,
}

impl ProbeArgs {
    /// The pictures to send.
    pub(crate) fn video(&self) -> Option<VideoPlan> {
        self.video.then(|| pattern(None, None))
    }

    /// Where to bind.
    pub(crate) fn bind(&self) -> Vec<SocketAddr> {
        let host = self.url.host().unwrap_or_default();
        if !self.bind.is_empty() {
            self.bind.clone()
        } else if host == "localhost" || host.starts_with("127.") {
            vec![SocketAddr::from(([127, 0, 0, 1], 0))]
        } else if host == "[::1]" {
            vec![SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 0))]
        } else {
            Vec::new()
        }
    }
}

fn url(text: &str) -> Result<Uri, String> {
    let bad = "write a URL such as http://127.0.0.1:8080 or http://host:8080/offer";
    let full = if text.contains("://") {
        text.to_owned()
    } else {
        format!("http://{text}")
    };
    let parsed: Uri = full.parse().map_err(|error| format!("{error}; {bad}"))?;
    if parsed.scheme_str() != Some("http") {
        return Err("only http:// is spoken".into());
    }
    let host = parsed.authority().filter(|a| !a.host().is_empty()).ok_or(bad)?;
    match parsed.path_and_query().map(ToString::to_string) {
        Some(path) if path != "/" => Ok(parsed),
        _ => format!("http://{host}/offer")
            .parse()
            .map_err(|error| format!("{error}; {bad}")),
    }
}

fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = match unit {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "KiB" | "k" | "K" => 1_024,
        "MB" => 1_000_000,
        "MiB" | "M" => 1_048_576,
        "GB" => 1_000_000_000,
        "GiB" | "G" => 1_073_741_824,
        _ => 0,
    };
    let bytes = number.parse::<u64>().ok().and_then(|n| n.checked_mul(unit));
    bytes
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| "write a number of bytes, such as 16MiB, 500kB or 60000".into())
}

fn message_size(text: &str) -> Result<usize, String> {
    let size = bytes(text)?;
    if (16..=u64::from(MAX_MESSAGE_SIZE)).contains(&size) {
        return Ok(size as usize);
    }
    Err(format!("it is not between 16 and {MAX_MESSAGE_SIZE} bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Cli;
    use clap::Parser;

    #[test]
    fn a_url_without_a_path_means_offer() {
        for (text, full) in [
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/offer"),
            ("http://127.0.0.1:8080/", "http://127.0.0.1:8080/offer"),
            ("localhost:8080", "http://localhost:8080/offer"),
            ("http://[::1]:80/x?y=1", "http://[::1]:80/x?y=1"),
        ] {
            assert_eq!(url(text).map(|u| u.to_string()), Ok(full.into()), "{text}");
        }
        for text in ["", "https://x", "ftp://x", "http://", "http:// x", "a b"] {
            assert!(url(text).is_err(), "{text}");
        }
    }

    #[test]
    fn bytes_have_units() {
        assert_eq!(bytes("16MiB"), Ok(16 << 20));
        assert_eq!(bytes("60000"), Ok(60_000));
        assert_eq!(bytes("500kB"), Ok(500_000));
        for text in ["", "0", "-1", "1.5M", "MiB", "9xB", "99999999999GiB"] {
            assert!(bytes(text).is_err(), "{text}");
        }
        assert!(message_size("15").is_err() && message_size("1MiB").is_err());
    }

    #[test]
    fn something_has_to_be_probed() {
        let parse = |args: &str| {
            let args = format!("visavis probe http://127.0.0.1:1 {args}");
            Cli::try_parse_from(args.split_ascii_whitespace())
        };
        for bad in [
            "--no-data",
            "--size 1000",
            "--no-data --video --bytes 1MB",
            "--video-codec h264",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        for good in [
            "",
            "--no-data --video --audio",
            "--bytes 1MB --size 60000",
            "--audio --video",
        ] {
            assert!(parse(good).is_ok(), "{good}");
        }
    }
}
