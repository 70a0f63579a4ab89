//! Sources, codecs, sinks and the paced pipelines between them and a peer connection's tracks.
//!
//! Nothing here opens a socket. Codecs that need a C library are features: see the crate's manifest.

pub mod codec;
pub mod devices;
pub mod memory;
pub mod pipeline;
mod resample;
pub mod session;
pub mod sink;
pub mod source;
