//! An offer as it comes in the body of a request: everything that can be wrong with it is found out, and said, before
//! it costs a socket.

use super::refusal::Refusal;
use visavis_core::{Codec, MediaKind, Sdp, SdpType, SessionDescription};

/// An offer that can be answered.
#[derive(Debug)]
pub(super) struct Offer {
    pub(super) description: SessionDescription,
    sdp: Sdp,
}

/// What the remote peer sends on an m-line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sent {
    /// The first codec it lists that visavis knows.
    pub(super) codec: Codec,
}

impl Offer {
    /// Reads and checks a body.
    pub(super) fn read(body: &[u8]) -> Result<Self, Refusal> {
        let mut description: SessionDescription = serde_json::from_slice(body).map_err(|error| {
            Refusal::bad(format!(
                "the body is not the JSON of an offer, {{\"type\": \"offer\", \"sdp\": \"v=0...\"}}: {error}"
            ))
        })?;
        if description.kind != SdpType::Offer {
            return Err(Refusal::bad(format!(
                "the type is `{}`; an offer is answered here",
                description.kind
            )));
        }
        description.sdp = normalised(&description.sdp);
        let sdp = description
            .sdp
            .parse::<Sdp>()
            .and_then(|sdp| sdp.check().map(|()| sdp))
            .map_err(|error| Refusal::bad(format!("the offer's SDP cannot be used: {error}")))?;
        if sdp.sections().all(|section| section.is_rejected()) {
            return Err(Refusal::bad(
                "the offer's SDP cannot be used: every m-line is rejected (port 0)",
            ));
        }
        Ok(Self { description, sdp })
    }

    /// What the remote peer sends on the m-line with this mid; `None` for nothing, or nothing that is known.
    pub(super) fn sent(&self, mid: &str) -> Option<Sent> {
        let section = self.sdp.sections().find(|s| s.mid() == Some(mid))?;
        let is_media = section.kind().is_some_and(|kind| kind != MediaKind::Application);
        if !is_media || section.is_rejected() || !section.direction().sends() {
            return None;
        }
        // Only the first: what is sent back must be of the codec that comes.
        let codec = section.codecs().into_iter().next()?;
        Some(Sent { codec })
    }
}

/// Lines end in CR LF (RFC 8866 §5), which files and shells do not keep.
fn normalised(sdp: &str) -> String {
    sdp.lines().flat_map(|line| [line.trim_end(), "\r\n"]).collect()
}
