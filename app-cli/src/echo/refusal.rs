//! What a request that fails is answered with.

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;
use visavis_core::{Error, ErrorKind};

/// A status and, as JSON, what was wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) text: String,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self {
            status,
            text: text.into(),
        }
    }

    /// The request is not what it should be.
    pub(super) fn bad(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text)
    }

    /// The stack or this machine could not answer an offer that reads well.
    pub(super) fn of(error: &Error) -> Self {
        let status = match error.kind() {
            ErrorKind::InvalidInput | ErrorKind::LimitExceeded => StatusCode::BAD_REQUEST,
            ErrorKind::NotSupported | ErrorKind::Stack => StatusCode::UNPROCESSABLE_ENTITY,
            ErrorKind::Network => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, format!("the offer cannot be answered: {error}"))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let json = json!({ "error": self.text }).to_string();
        (self.status, [(header::CONTENT_TYPE, "application/json")], json).into_response()
    }
}
