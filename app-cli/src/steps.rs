//! What each step of a call is called and what it is for, and what to try when it is not reached.

use visavis_core::{IceMode, Mark, Side};

/// The step's name for people.
pub(crate) fn label(mark: Mark) -> &'static str {
    match mark {
        Mark::PeerCreated => "peer created",
        Mark::MediaReady => "media ready",
        Mark::OfferCreated => "offer created",
        Mark::LocalDescriptionSet => "local description set",
        Mark::RemoteDescriptionSet => "remote description set",
        Mark::AnswerCreated => "answer created",
        Mark::FirstCandidate => "first candidate",
        Mark::GatheringComplete => "gathering complete",
        Mark::IceConnected => "ICE connected",
        Mark::DtlsConnected => "DTLS connected",
        Mark::SctpUp => "SCTP up",
        Mark::ChannelOpen => "data channel open",
        Mark::FirstPacket => "first media packet",
        Mark::FirstFrameDecoded => "first frame decoded",
        other => other.name(),
    }
}

/// A plain sentence on what the step is for.
pub(crate) fn sentence(side: Side, mark: Mark, ice: IceMode) -> &'static str {
    use Side::{Answerer, Offerer};
    match (mark, side) {
        (Mark::PeerCreated, _) => {
            "A peer connection exists and its UDP sockets are bound. Nothing has been sent."
        }
        (Mark::MediaReady, _) => {
            "The sources of sound and pictures start, with one common time 0, so that what belongs together stays \
             together."
        }
        (Mark::OfferCreated, _) => {
            "The offer is a text (SDP) that says what this peer wants, such as pictures or a data channel, and how to \
             know it: ICE credentials and the fingerprint of its certificate."
        }
        (Mark::AnswerCreated, _) => {
            "The answer says what of the offer is accepted, with this side's own ICE credentials and fingerprint."
        }
        (Mark::LocalDescriptionSet, Offerer) => {
            "The offerer commits to its offer, sends it over signaling and begins to look for its own addresses."
        }
        (Mark::LocalDescriptionSet, Answerer) => {
            "The answerer commits to its answer and sends it back. Both will keep to what was agreed."
        }
        (Mark::RemoteDescriptionSet, Offerer) => {
            "The answer has arrived: both sides know what was agreed and whom to expect."
        }
        (Mark::RemoteDescriptionSet, Answerer) => {
            "The offer has arrived by signaling: here a queue in memory, elsewhere a server, a chat, a QR code."
        }
        (Mark::FirstCandidate, _) if ice == IceMode::Full => {
            "A candidate is an address to try this peer at. It waits to travel inside the description (full ICE)."
        }
        (Mark::FirstCandidate, _) => {
            "A candidate is an address to try this peer at. It is sent at once, without waiting for more (trickle)."
        }
        (Mark::GatheringComplete, _) => {
            "This peer has found all its candidates and says that no more will come."
        }
        (Mark::IceConnected, _) => {
            "ICE tried pairs of addresses with STUN requests, and one works both ways: there is a path."
        }
        (Mark::DtlsConnected, _) => {
            "DTLS, the TLS of UDP, agreed on keys, and the certificate has the fingerprint that was promised: from \
             here on all is encrypted."
        }
        (Mark::SctpUp, _) => {
            "SCTP runs inside DTLS and gives packets what they lack: streams, order, retransmission, a window."
        }
        (Mark::ChannelOpen, Offerer) => {
            "The channel was announced to the other side (DCEP) on a stream of its own. Messages may be sent."
        }
        (Mark::ChannelOpen, Answerer) => {
            "The announcement (DCEP) came with the channel's name and its rules. It is open on this side too."
        }
        (Mark::FirstPacket, _) => {
            "The first packet of sound or pictures has arrived: RTP, encrypted (SRTP) with keys that DTLS agreed on."
        }
        (Mark::FirstFrameDecoded, _) => {
            "All packets of a keyframe were put together and decoded: the first picture is there to be seen."
        }
        _ => "",
    }
}

/// The step that a call fails at when it was set up and then broke.
pub(crate) const MESSAGES: &str = "messages";

/// The step that a call fails at whose pictures or sound are not as they were sent.
pub(crate) const MEDIA: &str = "media";

/// The step that a call fails at whose sources cannot be opened.
pub(crate) const SOURCES: &str = "media_ready";

/// What to try when a call failed at this step, which is a [`Mark`]'s name, [`MESSAGES`] or [`MEDIA`].
pub(crate) fn advice(step: &str) -> &'static str {
    match step {
        "peer_created" => {
            "no socket could be bound. The address after --bind must be one of this machine (see `ip addr`) and \
             its port free; without --bind it is 127.0.0.1."
        }
        "offer_created" | "answer_created" | "local_description_set" | "remote_description_set" => {
            "the two sides did not agree on descriptions. `-v` shows which one was refused and why; \
             `visavis sdp diff` shows what each stack writes."
        }
        "first_candidate" | "gathering_complete" => {
            "a peer found no address of its own. Name one with --bind, such as 127.0.0.1."
        }
        "ice_connected" => {
            "no pair of addresses let UDP through both ways. Look for a firewall that blocks UDP (`nft list \
             ruleset`). With --bind: name an address that the other side can reach; without it the call stays on \
             127.0.0.1. `-vv` shows the checks."
        }
        "dtls_connected" => {
            "there is a path, but no keys. Either large packets are lost on it (without --bind the call stays on \
             127.0.0.1), or the certificate did not have the fingerprint in the description; `-vv` shows the \
             handshake."
        }
        "sctp_up" | "channel_open" => {
            "the path is secure, but the data channel did not open. Packets may be lost (try a longer --timeout); \
             `--pair` with the same stack twice tells whether the stacks disagree; `-vv` shows more."
        }
        MESSAGES => {
            "the call was up and then broke: the network went away, or texts were lost. Run it again with `-vv`."
        }
        SOURCES => {
            "`visavis devices` lists what there is, and how to get what this build lacks. `--video pattern --audio \
             tone` needs no device and no file."
        }
        MEDIA => {
            "the call was up, but pictures or sound were not as they were sent. A machine that is too busy does that \
             too: try a smaller --size, a lower --fps or a release build. `-v` shows more."
        }
        _ => "run it again with `-vv` for a log of what happened.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_has_a_name_and_a_sentence() {
        for mark in Mark::ALL {
            assert_ne!(label(mark), mark.name());
            for side in [Side::Offerer, Side::Answerer] {
                for ice in [IceMode::Trickle, IceMode::Full] {
                    assert!(sentence(side, mark, ice).ends_with('.'), "{mark:?}");
                }
            }
        }
    }

    #[test]
    fn the_advice_knows_the_steps_by_name() {
        for mark in visavis_core::CallFailure::STEPS {
            assert_ne!(advice(mark.name()), advice("anything else"), "{mark:?}");
        }
        assert_eq!(SOURCES, Mark::MediaReady.name());
    }
}
