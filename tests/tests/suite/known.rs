//! What the libraries cannot do, and nothing above them can mend. A case that passes in spite of this fails the run.

use visavis_tests::{Known, On, Stack};

pub(super) const REMOTE_RELIABILITY: Known = Known {
    stacks: |stacks| stacks.answerer == Stack::WebrtcRs,
    on: On::Both,
    reason: "rtc 0.21.1 forgets the reliability of a channel that the remote peer opens \
             (RTCDataChannelInternal::accept sets max_retransmits and max_packet_life_time to None)",
    finding: 24,
};

pub(super) const LATE_SCTP: Known = Known {
    stacks: |stacks| stacks.has(Stack::WebrtcRs),
    on: On::Both,
    reason: "rtc 0.21.1 sends SCTP's INIT only when the DTLS handshake completes (handler/sctp.rs, handle_event), and \
             it is the DTLS client towards str0m in either role, so data channels cannot come after media",
    finding: 25,
};

pub(super) const LONGEST_NAMES: Known = Known {
    stacks: |stacks| stacks.offerer == Stack::Str0m,
    on: On::Both,
    reason: "str0m 0.25.0 writes DCEP's OPEN into a buffer of 1,500 bytes, so label and protocol of a channel that is \
             announced in-band have 1,488 at most; a longer one is refused with an error",
    finding: 26,
};

pub(super) const ANSWERERS_ROLE: Known = Known {
    stacks: |stacks| stacks.answerer == Stack::WebrtcRs,
    on: On::Both,
    reason: "rtc 0.21.1 answers `a=setup:active` whatever the offer says (peer_connection/mod.rs, create_answer), so an \
             offerer that is the DTLS client already finds another one",
    finding: 27,
};
