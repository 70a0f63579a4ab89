//! webrtc-rs's errors as visavis's: whose fault it is, and the stack's own words behind it.

use visavis_core::{Error, ErrorKind};
use webrtc::error::Error as Stack;

/// An error of a step in which all input is ours.
pub(crate) fn ours(operation: &'static str) -> impl FnOnce(Stack) -> Error {
    move |error| wrap(operation, ErrorKind::Stack, error)
}

/// An error of a step that applies what the remote peer wrote.
pub(crate) fn theirs(operation: &'static str) -> impl FnOnce(Stack) -> Error {
    move |error| wrap(operation, ErrorKind::InvalidInput, error)
}

/// The error of a stack that does something we rely on it not to do.
pub(crate) fn unexpected(operation: &'static str, message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Stack, operation, message)
}

fn wrap(operation: &'static str, otherwise: ErrorKind, error: Stack) -> Error {
    let (kind, message) = match error {
        Stack::ErrConnectionClosed | Stack::ErrDataChannelClosed => return Error::closed(operation),
        Stack::ErrIncorrectSignalingState | Stack::ErrNoRemoteDescription => {
            (ErrorKind::InvalidState, "webrtc-rs is in another signaling state")
        }
        _ if otherwise == ErrorKind::InvalidInput => (otherwise, "webrtc-rs cannot use it"),
        _ => (otherwise, "webrtc-rs failed"),
    };
    Error::new(kind, operation, message).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_whose_fault_it_is() {
        let error = theirs("answer")(Stack::ErrRemoteUfragEmpty);
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(
            ours("make_offer")(Stack::ErrRemoteUfragEmpty).kind(),
            ErrorKind::Stack
        );
        assert_eq!(
            ours("make_offer")(Stack::ErrConnectionClosed).kind(),
            Error::closed("make_offer").kind()
        );
    }
}
