//! The least that some of the work costs on this machine, without any stack: what is above it is the stacks' part.

mod keys;
mod packets;

use crate::{
    outcome::Outcome,
    work::{Network, Visit, Work},
};

/// Does the bare work of a visit of an [`Arm::Floor`](crate::work::Arm::Floor):
///
/// - [`Work::Frames`]: each frame as UDP datagrams over loopback with 1,200 bytes of it each, sealed and opened with
///   AES-256-GCM as SRTP does (RFC 7714). With `segmentation` several go and come in a system call, otherwise one.
/// - [`Work::Handshake`] on loopback, without `segmentation`: the keys and signatures of both sides of a DTLS 1.2
///   handshake with ECDHE over X25519, P-256 certificates on both sides and no packets.
///
/// # Errors
///
/// For other work, for which no floor is known, and when the machine has no sockets.
pub async fn run(visit: &Visit, segmentation: bool, outcome: &mut Outcome) -> Result<(), String> {
    match visit.work {
        Work::Frames { content, window } => packets::run(visit, content, window, segmentation, outcome).await,
        Work::Handshake {
            network: Network::Loopback,
            certificates_ahead,
            ..
        } if !segmentation => keys::run(visit, certificates_ahead, outcome).await,
        work => Err(format!("there is no {} of {work}", visit.arm)),
    }
}
