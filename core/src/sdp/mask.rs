//! Masks what changes from run to run in a session description, so that two of them can be compared.

use std::collections::HashMap;

/// `sdp` with each volatile value replaced by a name, the same value always by the same name, such as `<mid-1>`:
/// the session id and version, ICE credentials, fingerprints, mids, SSRCs, stream and track ids, CNAMEs, ports,
/// candidate foundations, SNAP's SCTP init. Lines end in `\n`.
pub fn mask(sdp: &str) -> String {
    let mut mask = Mask::default();
    let mut out = String::with_capacity(sdp.len());
    for line in sdp.lines() {
        out.push_str(&mask.line(line.trim_end()));
        out.push('\n');
    }
    out
}

/// The names given so far.
#[derive(Debug, Default)]
struct Mask {
    names: HashMap<(&'static str, String), usize>,
    counts: HashMap<&'static str, usize>,
}

impl Mask {
    fn name(&mut self, kind: &'static str, value: &str) -> String {
        let count = self.counts.entry(kind).or_default();
        let number = *self.names.entry((kind, value.to_owned())).or_insert_with(|| {
            *count += 1;
            *count
        });
        format!("<{kind}-{number}>")
    }

    fn line(&mut self, line: &str) -> String {
        match line.split_once('=') {
            Some(("o", value)) => format!("o={}", origin(value)),
            Some(("m", value)) => format!("m={}", self.media(value)),
            Some(("a", value)) => match value.split_once(':') {
                Some((name, value)) => format!("a={name}:{}", self.attribute(name, value)),
                None => line.to_owned(),
            },
            _ => line.to_owned(),
        }
    }

    /// 9 is the discard port of trickle ICE, 0 rejects the m-line: both are meant.
    fn port(&mut self, value: &str) -> String {
        match value {
            "0" | "9" => value.to_owned(),
            port => self.name("port", port),
        }
    }

    fn media(&mut self, value: &str) -> String {
        let mut fields = fields(value);
        if let Some(port) = fields.get_mut(1) {
            *port = self.port(port);
        }
        fields.join(" ")
    }

    fn attribute(&mut self, name: &str, value: &str) -> String {
        match name {
            "ice-ufrag" => "<ufrag>".to_owned(),
            "ice-pwd" => "<pwd>".to_owned(),
            "sctp-init" | "tls-id" => format!("<{name}>"),
            "fingerprint" => {
                let hash = value.split(' ').next().unwrap_or_default();
                format!("{hash} <fingerprint>")
            }
            "mid" => self.name("mid", value),
            "group" => self.tokens("mid", value),
            "msid" => self.streams(value),
            "msid-semantic" => self.semantic(value),
            "ssrc-group" => self.tokens("ssrc", value),
            "ssrc" => self.ssrc(value),
            "rtcp" => {
                let mut fields = fields(value);
                fields[0] = self.port(&fields[0]);
                fields.join(" ")
            }
            "candidate" | "remote-candidates" => self.candidate(value),
            _ => value.to_owned(),
        }
    }

    /// All but the first.
    fn tokens(&mut self, kind: &'static str, value: &str) -> String {
        let mut fields = fields(value);
        for field in fields.iter_mut().skip(1) {
            *field = self.name(kind, field);
        }
        fields.join(" ")
    }

    /// A stream, then a track; `-` is no stream.
    fn streams(&mut self, value: &str) -> String {
        let mut fields = fields(value);
        for (field, kind) in fields.iter_mut().zip(["stream", "track"]) {
            if field != "-" {
                *field = self.name(kind, field);
            }
        }
        fields.join(" ")
    }

    /// `WMS`, then streams, `*` being all.
    fn semantic(&mut self, value: &str) -> String {
        let mut fields = fields(value.trim_start());
        for field in fields.iter_mut().skip(1).filter(|f| *f != "*") {
            *field = self.name("stream", field);
        }
        fields.join(" ")
    }

    fn ssrc(&mut self, value: &str) -> String {
        let (ssrc, attribute) = value.split_once(' ').unwrap_or((value, ""));
        let ssrc = self.name("ssrc", ssrc);
        let attribute = match attribute.split_once(':') {
            Some(("cname", cname)) => format!("cname:{}", self.name("cname", cname)),
            Some(("msid", streams)) => format!("msid:{}", self.streams(streams)),
            Some(("mslabel", stream)) => format!("mslabel:{}", self.name("stream", stream)),
            Some(("label", track)) => format!("label:{}", self.name("track", track)),
            _ => attribute.to_owned(),
        };
        format!("{ssrc} {attribute}").trim_end().to_owned()
    }

    /// `foundation component transport priority address port typ …`, and `name value` pairs.
    fn candidate(&mut self, value: &str) -> String {
        let mut fields = fields(value);
        if let Some(foundation) = fields.first_mut() {
            *foundation = self.name("foundation", foundation);
        }
        if let Some(port) = fields.get_mut(5) {
            *port = self.port(port);
        }
        for index in 6..fields.len().saturating_sub(1) {
            match fields[index].as_str() {
                "rport" => fields[index + 1] = self.port(&fields[index + 1]),
                "ufrag" => "<ufrag>".clone_into(&mut fields[index + 1]),
                _ => {}
            }
        }
        fields.join(" ")
    }
}

fn fields(value: &str) -> Vec<String> {
    value.split(' ').map(str::to_owned).collect()
}

/// `username id version …`
fn origin(value: &str) -> String {
    let mut fields = fields(value);
    for (field, name) in fields
        .iter_mut()
        .skip(1)
        .zip(["<session-id>", "<session-version>"])
    {
        name.clone_into(field);
    }
    fields.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(line: &str) -> String {
        mask(line).trim_end().to_owned()
    }

    #[test]
    fn the_same_value_has_the_same_name() {
        let masked = mask(
            "a=group:BUNDLE q7a 0\r\na=mid:q7a\r\na=ssrc-group:FID 11 22\r\na=ssrc:22 cname:x/+\r\na=mid:0\r\n",
        );
        assert_eq!(
            masked,
            "a=group:BUNDLE <mid-1> <mid-2>\na=mid:<mid-1>\na=ssrc-group:FID <ssrc-1> <ssrc-2>\n\
             a=ssrc:<ssrc-2> cname:<cname-1>\na=mid:<mid-2>\n"
        );
    }

    #[test]
    fn what_is_volatile_is_masked() {
        for (line, masked) in [
            (
                "o=- 6829 2 IN IP4 0.0.0.0",
                "o=- <session-id> <session-version> IN IP4 0.0.0.0",
            ),
            ("a=ice-ufrag:aB3+", "a=ice-ufrag:<ufrag>"),
            ("a=ice-pwd:0123456789abcdef012345", "a=ice-pwd:<pwd>"),
            (
                "a=fingerprint:sha-256 AA:BB",
                "a=fingerprint:sha-256 <fingerprint>",
            ),
            ("a=msid:s t", "a=msid:<stream-1> <track-1>"),
            ("a=msid:- t", "a=msid:- <track-1>"),
            ("a=msid-semantic: WMS s", "a=msid-semantic:WMS <stream-1>"),
            ("a=msid-semantic:WMS *", "a=msid-semantic:WMS *"),
            (
                "m=audio 50123 UDP/TLS/RTP/SAVPF 111",
                "m=audio <port-1> UDP/TLS/RTP/SAVPF 111",
            ),
            ("a=rtcp:50123 IN IP4 0.0.0.0", "a=rtcp:<port-1> IN IP4 0.0.0.0"),
            (
                "a=candidate:842 1 udp 2130706431 127.0.0.1 50123 typ srflx raddr 127.0.0.1 rport 50124 ufrag x",
                "a=candidate:<foundation-1> 1 udp 2130706431 127.0.0.1 <port-1> typ srflx raddr 127.0.0.1 rport \
                 <port-2> ufrag <ufrag>",
            ),
        ] {
            assert_eq!(one(line), masked);
        }
    }

    #[test]
    fn what_is_meant_stays() {
        for line in [
            "v=0",
            "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
            "m=video 0 UDP/TLS/RTP/SAVPF 96",
            "a=rtcp:9 IN IP4 0.0.0.0",
            "a=rtpmap:111 opus/48000/2",
            "a=fmtp:111 minptime=10;useinbandfec=1",
            "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level",
            "a=sctp-port:5000",
            "a=sendrecv",
            "a=candidate:",
            "not sdp",
            "",
        ] {
            let expected = line.replace("a=candidate:", "a=candidate:<foundation-1>");
            assert_eq!(one(line), expected);
        }
    }
}
