//! ICE candidates as they travel over signaling (RFC 8839 §5.1, RFC 8840, W3C `RTCIceCandidateInit`).

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::{fmt, net::IpAddr, net::SocketAddr, str::FromStr};

/// The longest candidate line that is read, in bytes; real ones are under 300.
const MAX_LEN: usize = 1024;

/// A trickled candidate, or the end of candidates when [`candidate`](Self::candidate) is empty.
///
/// The JSON form is the browsers' `RTCIceCandidateInit`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Candidate {
    /// The `candidate:…` attribute value; empty for end-of-candidates.
    pub candidate: String,
    /// The mid of the m-line the candidate is for.
    pub sdp_mid: Option<String>,
    /// The index of that m-line.
    pub sdp_m_line_index: Option<u16>,
    /// The ICE generation: the `ice-ufrag` of the description the candidate belongs to.
    pub username_fragment: Option<String>,
}

impl Candidate {
    /// The end of candidates of a generation (RFC 8838 §14).
    pub fn end(ufrag: Option<String>) -> Self {
        Self {
            username_fragment: ufrag,
            sdp_mid: Some(String::new()),
            ..Self::default()
        }
    }

    /// Whether this marks the end of candidates.
    pub fn is_end(&self) -> bool {
        self.candidate.is_empty()
    }

    /// Parses the candidate line.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) with what is wrong and where.
    pub fn parse(&self) -> Result<ParsedCandidate> {
        self.candidate.parse()
    }
}

/// How a candidate was found (RFC 8445 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CandidateType {
    /// An address of an interface.
    Host,
    /// Seen by a STUN server.
    Srflx,
    /// Seen by the remote peer.
    Prflx,
    /// Lent by a TURN server.
    Relay,
}

/// A candidate's transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CandidateTransport {
    /// UDP.
    Udp,
    /// TCP (RFC 6544); neither stack is given these.
    Tcp,
}

/// The parts of a candidate line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsedCandidate {
    /// Groups candidates of the same type, base and server.
    pub foundation: String,
    /// 1 for RTP; with rtcp-mux there is no other.
    pub component: u16,
    /// UDP or TCP.
    pub transport: CandidateTransport,
    /// RFC 8445 §5.1.2.
    pub priority: u32,
    /// A literal address, or a name such as an mDNS `.local` one.
    pub address: String,
    /// The port.
    pub port: u16,
    /// Host, server reflexive, peer reflexive or relayed.
    pub kind: CandidateType,
    /// The generation, where the line carries it.
    pub ufrag: Option<String>,
}

impl ParsedCandidate {
    /// The address and port, or `None` if the address is a name.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        self.address
            .parse::<IpAddr>()
            .ok()
            .map(|ip| SocketAddr::new(ip, self.port))
    }

    /// Why a stack is not given this candidate, or `None` if it is.
    ///
    /// Skipped candidates are not errors: a peer sends every kind it has.
    pub fn skip_reason(&self) -> Option<&'static str> {
        if self.transport != CandidateTransport::Udp {
            return Some("TCP candidates are not spoken");
        }
        if self.component != 1 {
            return Some("rtcp-mux is required, so only component 1 is used");
        }
        let Some(addr) = self.socket_addr() else {
            return Some("the address is a name, not an IP address");
        };
        let ip = addr.ip();
        let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
        if addr.port() == 0 || ip.is_unspecified() || ip.is_multicast() || broadcast {
            return Some("the address cannot be sent to");
        }
        None
    }
}

impl FromStr for ParsedCandidate {
    type Err = Error;

    fn from_str(line: &str) -> Result<Self> {
        let bad = |what: &str| {
            Err(Error::invalid_input(
                "add_ice_candidate",
                format!("bad candidate line: {what}"),
            ))
        };
        if line.len() > MAX_LEN {
            return bad("it is longer than 1024 bytes");
        }
        if line.contains(['\r', '\n', '\0']) {
            return bad("it has a line break or a NUL inside");
        }
        let line = line.strip_prefix("a=").unwrap_or(line);
        let line = line.strip_prefix("candidate:").unwrap_or(line);
        let mut words = line.split_ascii_whitespace();
        let (Some(foundation), Some(component), Some(transport), Some(priority), Some(address), Some(port)) = (
            words.next(),
            words.next(),
            words.next(),
            words.next(),
            words.next(),
            words.next(),
        ) else {
            return bad("it has fewer than the eight parts of RFC 8839 §5.1");
        };
        if foundation.len() > 32
            || !foundation
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"+/-_=".contains(&b))
        {
            return bad("the foundation is not 1 to 32 ice-chars");
        }
        let Ok(component) = component.parse::<u16>() else {
            return bad("the component is not a number");
        };
        let transport = match transport.to_ascii_lowercase().as_str() {
            "udp" => CandidateTransport::Udp,
            "tcp" => CandidateTransport::Tcp,
            _ => return bad("the transport is neither udp nor tcp"),
        };
        let Ok(priority) = priority.parse::<u32>() else {
            return bad("the priority is not a 32-bit number");
        };
        let is_name = |a: &str| {
            a.len() <= 253
                && a.bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
        };
        if address.parse::<IpAddr>().is_err() && !is_name(address) {
            return bad("the address is neither an IP address nor a name");
        }
        let Ok(port) = port.parse::<u16>() else {
            return bad("the port is not a number up to 65535");
        };
        if words.next() != Some("typ") {
            return bad("`typ` is missing after the port");
        }
        let kind = match words.next() {
            Some("host") => CandidateType::Host,
            Some("srflx") => CandidateType::Srflx,
            Some("prflx") => CandidateType::Prflx,
            Some("relay") => CandidateType::Relay,
            _ => return bad("the type is not host, srflx, prflx or relay"),
        };
        let mut ufrag = None;
        while let (Some(name), Some(value)) = (words.next(), words.next()) {
            if name == "ufrag" {
                ufrag = Some(value.to_owned());
            }
        }
        Ok(Self {
            foundation: foundation.to_owned(),
            component,
            transport,
            priority,
            address: address.to_owned(),
            port,
            kind,
            ufrag,
        })
    }
}

impl fmt::Display for CandidateType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "host",
            Self::Srflx => "srflx",
            Self::Prflx => "prflx",
            Self::Relay => "relay",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_browsers_write() {
        let line = "candidate:842163049 1 udp 1677729535 203.0.113.7 46154 typ srflx raddr 10.0.0.17 rport 46154 \
                    generation 0 ufrag EEtu network-id 3";
        let parsed: ParsedCandidate = line.parse().unwrap();
        assert_eq!(parsed.kind, CandidateType::Srflx);
        assert_eq!(parsed.socket_addr(), Some("203.0.113.7:46154".parse().unwrap()));
        assert_eq!(parsed.ufrag.as_deref(), Some("EEtu"));
        assert_eq!(parsed.skip_reason(), None);
    }

    #[test]
    fn skips_what_no_stack_is_given() {
        for line in [
            "candidate:1 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active",
            "candidate:1 1 udp 2113937151 1f4712db-ea17-4bcf-a596-105139dfd8bf.local 54596 typ host",
            "candidate:1 1 udp 2113937151 224.0.0.1 5000 typ host",
            "candidate:1 1 udp 2113937151 192.0.2.1 0 typ host",
            "candidate:1 2 udp 2113937151 192.0.2.1 5000 typ host",
        ] {
            assert!(
                line.parse::<ParsedCandidate>().unwrap().skip_reason().is_some(),
                "{line}"
            );
        }
    }

    #[test]
    fn refuses_what_is_malformed() {
        for line in [
            "candidate:",
            "candidate:1 1 udp 2113937151 192.0.2.1 70000 typ host",
            "candidate:1 1 sctp 2113937151 192.0.2.1 7000 typ host",
            "candidate:1 1 udp 2113937151 192.0.2.1 7000 host",
            "candidate:1 1 udp -5 192.0.2.1 7000 typ host",
            "candidate:1 1 udp 1 192.0.2.1\r\na=x 7000 typ host",
        ] {
            assert!(line.parse::<ParsedCandidate>().is_err(), "{line}");
        }
    }
}
