//! Descriptions as text (RFC 8866 §5), as `sdp-types` writes them, but in whole strings: it writes each character by
//! itself, which is most of what a description costs.

use sdp_types::{Attribute, Bandwidth, Connection, Session};

/// What [`Sdp`](super::Sdp) keeps of a description, as text.
pub(super) fn write(session: &Session) -> String {
    let mut out = String::with_capacity(2048);
    let origin = &session.origin;
    line(&mut out, &["v=0"]);
    let username = origin.username.as_deref().filter(|name| !name.is_empty());
    let version = origin.sess_version.to_string();
    line(
        &mut out,
        &[
            "o=",
            username.unwrap_or("-"),
            " ",
            &origin.sess_id,
            " ",
            &version,
            " ",
            origin.nettype.as_str(),
            " ",
            origin.addrtype.as_str(),
            " ",
            &origin.unicast_address,
        ],
    );
    line(&mut out, &["s=", &session.session_name]);
    transport(&mut out, &session.connection, &session.bandwidths);
    line(&mut out, &["t=0 0"]);
    attributes(&mut out, &session.attributes);
    for media in &session.medias {
        let port = media.port.to_string();
        let ports = media.num_ports.map(|ports| format!("/{ports}"));
        line(
            &mut out,
            &[
                "m=",
                &media.media,
                " ",
                &port,
                ports.as_deref().unwrap_or_default(),
                " ",
                &media.proto,
                " ",
                &media.fmt,
            ],
        );
        transport(&mut out, &media.connections, &media.bandwidths);
        attributes(&mut out, &media.attributes);
    }
    out
}

fn transport<'a>(
    out: &mut String,
    connections: impl IntoIterator<Item = &'a Connection>,
    bandwidths: &[Bandwidth],
) {
    for connection in connections {
        let (net, address) = (connection.nettype.as_str(), connection.addrtype.as_str());
        line(
            out,
            &["c=", net, " ", address, " ", &connection.connection_address],
        );
    }
    for bandwidth in bandwidths {
        line(
            out,
            &["b=", &bandwidth.bwtype, ":", &bandwidth.bandwidth.to_string()],
        );
    }
}

fn attributes(out: &mut String, attributes: &[Attribute]) {
    for attribute in attributes {
        match &attribute.value {
            Some(value) => line(out, &["a=", &attribute.attribute, ":", value]),
            None => line(out, &["a=", &attribute.attribute]),
        }
    }
}

/// One line of these parts. No part may end it before.
fn line(out: &mut String, parts: &[&str]) {
    for part in parts {
        if part.bytes().any(|byte| matches!(byte, b'\0' | b'\r' | b'\n')) {
            out.extend(part.split(['\0', '\r', '\n']));
        } else {
            out.push_str(part);
        }
    }
    out.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_what_sdp_types_writes() {
        let text = "v=0\r\no=jdoe 289 17 IN IP6 ::1\r\ns=a b\r\nc=IN IP4 192.0.2.1/127\r\nb=AS:128\r\nt=0 0\r\n\
            a=group:BUNDLE 0 1\r\na=ice-lite\r\nm=audio 49170/2 UDP/TLS/RTP/SAVPF 0 111\r\nc=IN IP4 192.0.2.2\r\n\
            c=IN IP6 ::2\r\nb=TIAS:64000\r\na=mid:0\r\na=sendrecv\r\na=note:gr\u{fc}\u{df}e: a=b\r\n\
            m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:1\r\n";
        let session = Session::parse(text.as_bytes()).unwrap();
        assert_eq!(write(&session), text);
        assert_eq!(write(&session), session.to_string());
    }

    #[test]
    fn no_value_begins_another_line() {
        let mut session = Session::parse(b"v=0\r\no=- 1 2 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n").unwrap();
        session.attributes.push(Attribute {
            attribute: "x\0y".into(),
            value: Some("1\r\na=ice-lite\n".into()),
        });
        assert!(write(&session).ends_with("a=xy:1a=ice-lite\r\n"));
        assert_eq!(write(&session), session.to_string());
    }
}
