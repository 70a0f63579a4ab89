//! What stands between signaling and a peer connection.
//!
//! [`mdns`] makes literal addresses of the `.local` names that browsers write into their candidates, for any
//! [`Signaling`](visavis_core::Signaling).

#![forbid(unsafe_code)]

pub mod mdns;
