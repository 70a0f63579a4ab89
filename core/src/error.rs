//! One error type for every stack: whose fault it is, at which operation, and what to do.

use std::fmt;

/// Whose fault an [`Error`] is, and so what can be done about it.
///
/// The W3C name of the corresponding `DOMException` is given where there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The call is not allowed in the current state (`InvalidStateError`): the caller's fault.
    InvalidState,
    /// A description, candidate or parameter is malformed (`SyntaxError`, `InvalidAccessError`): the fault of
    /// whoever wrote it, usually the remote peer.
    InvalidInput,
    /// The local description was changed between create and set (`InvalidModificationError`).
    InvalidModification,
    /// The stack cannot do this (`NotSupportedError`); see [`Capabilities`](crate::Capabilities).
    NotSupported,
    /// A message is larger than the remote peer's `a=max-message-size`, or than ours (RFC 8841 §6.1).
    MessageTooLarge,
    /// A bounded queue is full; try again when it has drained.
    WouldBlock,
    /// The data channel closed while it was waited for.
    Closed,
    /// Something did not happen in time.
    Timeout,
    /// A socket or an interface failed: the machine's or the network's fault.
    Network,
    /// The transport failed: ICE, DTLS or SCTP could not be established or was lost.
    Transport,
    /// A limit that protects this process was reached (candidates, channels, m-lines).
    LimitExceeded,
    /// There is no such device or file (`NotFoundError` of `getUserMedia`).
    NotFound,
    /// The device or file may not be used (`NotAllowedError`).
    NotAllowed,
    /// The device or file is busy or broken (`NotReadableError`).
    NotReadable,
    /// A codec could not encode or decode: damaged media, or something that it does not know.
    Media,
    /// The stack below reported something unexpected.
    Stack,
}

/// The error of every operation in visavis.
///
/// Reads as `operation: message`, with the source's own words behind it where there is a source.
#[derive(Debug, thiserror::Error)]
pub struct Error {
    kind: ErrorKind,
    operation: &'static str,
    message: String,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// A result with visavis's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `operation` (the name of the call, in snake case), with what was wrong and what to do.
    pub fn new(kind: ErrorKind, operation: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind,
            operation,
            message: message.into(),
            source: None,
        }
    }

    /// The same with the underlying error.
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// A call in the wrong state. The text is the same on every stack.
    pub(crate) fn invalid_state(operation: &'static str, state: impl fmt::Display, needs: &str) -> Self {
        Self::new(
            ErrorKind::InvalidState,
            operation,
            format!("the state is {state}; {needs}"),
        )
    }

    /// Something the peer or the caller wrote that cannot be used.
    pub fn invalid_input(operation: &'static str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidInput, operation, message)
    }

    /// The peer connection is closed.
    pub fn closed(operation: &'static str) -> Self {
        Self::invalid_state(operation, "closed", "create a new peer connection")
    }

    /// Whose fault it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The call that failed, in snake case.
    pub fn operation(&self) -> &'static str {
        self.operation
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.operation, self.message)?;
        if let Some(source) = &self.source {
            write!(f, " ({source})")?;
        }
        Ok(())
    }
}
