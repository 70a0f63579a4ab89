//! Payload types of remote descriptions.
//!
//! One number stands for one format in all bundled m-lines (RFC 8843 §9.1). str0m takes that for granted: a number
//! that it finds for two formats makes it panic, so such a description does not reach it.

use std::collections::HashMap;
use visavis_core::{Error, Result, Sdp};

/// What each payload type stands for, once a description that says so was accepted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Formats(HashMap<u8, Format>);

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Format {
    /// The value of `a=rtpmap`, in lower case.
    name: Option<String>,
    /// The parameters that tell formats of a name apart.
    parameters: Vec<(String, String)>,
}

/// What tells formats of one name apart (RFC 6184 §8.2.2, RFC 9628 §6.1, RFC 4588 §8.1).
const DISTINCTIVE: [&str; 4] = ["profile-level-id", "packetization-mode", "profile-id", "apt"];

impl Formats {
    /// With those of another description.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](visavis_core::ErrorKind::InvalidInput) when a payload type stands for two formats, or is none.
    pub(crate) fn with(&self, operation: &'static str, sdp: &Sdp) -> Result<Self> {
        let mut all = self.clone();
        for (payload_type, format) in read(sdp).map_err(|what| Error::invalid_input(operation, what))? {
            let old = all.0.entry(payload_type).or_insert_with(|| format.clone());
            if *old != format {
                return Err(Error::invalid_input(operation, twice(payload_type)));
            }
        }
        Ok(all)
    }
}

/// The formats of each m-line, also of rejected ones: str0m reads those, too.
fn read(sdp: &Sdp) -> std::result::Result<Vec<(u8, Format)>, String> {
    let mut formats: HashMap<(usize, u8), Format> = HashMap::new();
    let lines = sdp.sections().enumerate();
    let attributes = lines.flat_map(|(index, section)| section.attributes().map(move |a| (index, a)));
    for (index, attribute) in attributes {
        let (attribute @ ("rtpmap" | "fmtp"), Some(value)) = attribute else {
            continue;
        };
        let (payload_type, value) = value.trim().split_once(' ').unwrap_or((value.trim(), ""));
        let payload_type: u8 = payload_type
            .parse()
            .ok()
            .filter(|pt| *pt < 128)
            .ok_or_else(|| format!("`{payload_type}` is no payload type"))?;
        let format = formats.entry((index, payload_type)).or_default();
        if attribute == "rtpmap" {
            let name = value.trim().to_ascii_lowercase();
            if format.name.get_or_insert_with(|| name.clone()) != &name {
                return Err(twice(payload_type));
            }
            continue;
        }
        for (key, value) in distinctive(value) {
            match format.parameters.iter().find(|(k, _)| *k == key) {
                Some((_, old)) if *old != value => return Err(twice(payload_type)),
                Some(_) => {}
                None => format.parameters.push((key, value)),
            }
        }
    }
    let named = formats.into_iter().filter(|(_, format)| format.name.is_some());
    Ok(named
        .map(|((_, payload_type), mut format)| {
            format.parameters.sort_unstable();
            (payload_type, format)
        })
        .collect())
}

/// The parameters that count, in lower case; of a profile and level, the profile (RFC 6184 §8.1).
fn distinctive(parameters: &str) -> impl Iterator<Item = (String, String)> {
    parameters.split(';').filter_map(|parameter| {
        let (key, value) = parameter.trim().split_once('=')?;
        let key = key.to_ascii_lowercase();
        let mut value = value.trim().to_ascii_lowercase();
        if key == "profile-level-id" {
            value = value.chars().take(4).collect();
        }
        DISTINCTIVE.contains(&key.as_str()).then_some((key, value))
    })
}

fn twice(payload_type: u8) -> String {
    format!("payload type {payload_type} stands for two formats; each m-line of a bundle has the same")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sdp(lines: &[&[&str]]) -> Sdp {
        let mut text = vec!["v=0", "o=- 1 2 IN IP4 0.0.0.0", "s=-", "t=0 0"];
        for attributes in lines {
            text.extend(["m=video 9 UDP/TLS/RTP/SAVPF 96 97", "c=IN IP4 0.0.0.0"]);
            text.extend(*attributes);
        }
        (text.join("\r\n") + "\r\n").parse().unwrap()
    }

    #[test]
    fn a_payload_type_stands_for_one_format() {
        let none = Formats::default();
        let h264 = [
            "a=rtpmap:96 H264/90000",
            "a=fmtp:96 profile-level-id=42E01f;packetization-mode=1",
        ];
        let level = [
            "a=rtpmap:96 h264/90000",
            "a=fmtp:96 packetization-mode=1;profile-level-id=42e00b",
        ];
        let repair = ["a=rtpmap:97 rtx/90000", "a=fmtp:97 apt=96"];
        let known = none.with("x", &sdp(&[&h264, &level, &repair])).unwrap();
        let profile = [
            "a=rtpmap:96 H264/90000",
            "a=fmtp:96 profile-level-id=42001f;packetization-mode=1",
        ];
        for bad in [
            &["a=rtpmap:96 VP8/90000"][..],
            &profile[..],
            &["a=rtpmap:96 H264/90000"],
            &["a=rtpmap:97 rtx/90000", "a=fmtp:97 apt=98"],
        ] {
            let error = known.with("x", &sdp(&[bad])).unwrap_err();
            assert!(error.to_string().contains("two formats"), "{error}");
            none.with("x", &sdp(&[bad])).unwrap();
        }
        for bad in [
            &["a=rtpmap:96 VP8/90000", "a=rtpmap:96 VP9/90000"][..],
            &["a=rtpmap:97 rtx/90000", "a=fmtp:97 apt=96", "a=fmtp:97 apt=98"],
            &["a=rtpmap:128 VP8/90000"],
            &["a=rtpmap:x VP8/90000"],
        ] {
            none.with("x", &sdp(&[bad])).unwrap_err();
        }
    }
}
