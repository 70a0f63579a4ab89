//! Descriptions as text that can be copied: a line of JSON, or base64 of it.

use base64::{
    DecodeError, Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use visavis_core::SessionDescription;

/// With or without padding at the end, as it was copied.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a text is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// The beginning of a description.
    Incomplete,
    /// One that can be used.
    Done(Blob),
    /// None, and why.
    Bad(String),
}

/// A description that was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Blob {
    pub(super) description: SessionDescription,
    /// Whether it came as base64.
    pub(super) base64: bool,
}

/// The description as one line.
pub(super) fn write(description: &SessionDescription, base64: bool) -> String {
    let json = serde_json::to_string(description).expect("two strings are JSON");
    if base64 { BASE64.encode(json) } else { json }
}

/// Reads JSON, on one line or several, or base64 of it, wrapped or not.
pub(super) fn read(text: &str) -> Read {
    let text = text.trim();
    if text.is_empty() || text.starts_with('{') {
        return json(text, false);
    }
    let packed: String = text.split_ascii_whitespace().collect();
    // What begins with a brace begins so in base64.
    let is_base64 = match packed.as_bytes() {
        [b'e', second, ..] => matches!(second, b'w'..=b'z' | b'0'..=b'9' | b'+' | b'/'),
        start => start == b"e",
    };
    if !is_base64 {
        return Read::Bad("it is neither JSON nor base64 of it".into());
    }
    match BASE64.decode(&packed) {
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(inner) if inner.starts_with('{') => json(&inner, true),
            _ => Read::Bad("it is neither JSON nor base64 of it".into()),
        },
        // What is missing at the end may come with the next line.
        Err(DecodeError::InvalidByte(..)) => Read::Bad("it is neither JSON nor base64 of it".into()),
        Err(_) => Read::Incomplete,
    }
}

fn json(text: &str, base64: bool) -> Read {
    match serde_json::from_str::<SessionDescription>(text) {
        Ok(description) if description.sdp.is_empty() => Read::Bad("it has no SDP".into()),
        Ok(description) => Read::Done(Blob { description, base64 }),
        Err(error) if error.is_eof() => Read::Incomplete,
        Err(error) => Read::Bad(format!("it is not {{\"type\":…,\"sdp\":…}}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(base64: bool) -> Read {
        let description = SessionDescription::offer("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\n");
        Read::Done(Blob { description, base64 })
    }

    fn offer() -> SessionDescription {
        let Read::Done(blob) = done(false) else {
            unreachable!()
        };
        blob.description
    }

    #[test]
    fn what_is_written_is_read() {
        for base64 in [false, true] {
            let line = write(&offer(), base64);
            assert!(!line.contains(['\n', ' ']) || !base64);
            assert_eq!(read(&line), done(base64));
            assert_eq!(read(&format!("  {line}\r\n")), done(base64));
            assert_eq!(read(&line[..line.len() - 9]), Read::Incomplete);
        }
    }

    #[test]
    fn it_may_be_on_several_lines() {
        let pretty = serde_json::to_string_pretty(&offer()).unwrap();
        assert!(pretty.lines().count() > 3);
        assert_eq!(read(&pretty), done(false));
        let base64 = write(&offer(), true);
        let (start, end) = base64.split_at(33);
        assert_eq!(read(start), Read::Incomplete);
        assert_eq!(read(&format!("{start}\n{end}")), done(true));
        assert_eq!(read(base64.trim_end_matches('=')), done(true));
    }

    #[test]
    fn all_else_is_refused() {
        for bad in [
            "hello world!",
            "hello",
            "eh",
            "v=0\r\no=- 1",
            r#"{"type":"offer"}"#,
            r#"{"type":"x","sdp":"v"}"#,
            "{]",
            "aGVsbG8=",
        ] {
            assert!(matches!(read(bad), Read::Bad(_)), "{bad}: {:?}", read(bad));
        }
        assert_eq!(read(" \n"), Read::Incomplete);
    }
}
