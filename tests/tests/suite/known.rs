//! What the libraries cannot do, and nothing above them can mend. A case that passes in spite of this fails the run.

use visavis_tests::{Known, On, Stack};

pub(super) const REMOTE_RELIABILITY: Known = Known {
    stacks: |stacks| stacks.answerer == Stack::WebrtcRs,
    on: On::Both,
    reason: "rtc 0.21.1 forgets the reliability of a channel that the remote peer opens \
             (RTCDataChannelInternal::accept sets max_retransmits and max_packet_life_time to None)",
};

pub(super) const LATE_SCTP: Known = Known {
    stacks: |stacks| stacks.has(Stack::WebrtcRs),
    on: On::Both,
    reason: "rtc 0.21.1 sends SCTP's INIT only when the DTLS handshake completes (handler/sctp.rs, handle_event), and \
             it is the DTLS client towards str0m in either role, so data channels cannot come after media",
};
