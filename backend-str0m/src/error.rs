//! str0m's errors as [`Error`]s.

use str0m::RtcError;
use visavis_core::{Error, ErrorKind};

/// Says whose fault a str0m error is.
pub(crate) fn convert(operation: &'static str, error: RtcError) -> Error {
    let (kind, message) = match &error {
        RtcError::RemoteSdp(_) | RtcError::Sdp(_) => {
            (ErrorKind::InvalidInput, "str0m cannot use the description")
        }
        RtcError::Dtls(_) => (ErrorKind::Transport, "DTLS failed; start a new call"),
        RtcError::Sctp(_) => (ErrorKind::Transport, "SCTP failed; start a new call"),
        RtcError::Ice(_) => (ErrorKind::InvalidInput, "ICE refused it"),
        RtcError::Io(_) | RtcError::Net(_) => (ErrorKind::Network, "the network failed"),
        RtcError::ChangesOutOfOrder => (
            ErrorKind::InvalidState,
            "the answer is not to the latest offer; make a new offer",
        ),
        _ => (ErrorKind::Stack, "str0m reported something unexpected"),
    };
    Error::new(kind, operation, message).with_source(error)
}

/// Whether the connection is lost with this error. Everything else that [`handle_input`](str0m::Rtc::handle_input)
/// reports is about one bad datagram.
pub(crate) fn is_fatal(error: &RtcError) -> bool {
    // dimpl discards what does not parse or authenticate by itself; whatever it reports means: give up.
    matches!(error, RtcError::Dtls(_) | RtcError::RemoteSdp(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fault_is_said_with_the_cause() {
        let error = convert("apply_answer", RtcError::RemoteSdp("no m-lines".into()));
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(error.operation(), "apply_answer");
        assert!(error.to_string().contains("no m-lines"), "{error}");
        assert!(is_fatal(&RtcError::RemoteSdp(String::new())));
        assert!(!is_fatal(&RtcError::NoSenderSource));
    }
}
