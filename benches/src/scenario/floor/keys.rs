//! The cryptography of a handshake, both sides of it, one after the other on one thread.

use crate::{metric::Metric, outcome::Outcome, work::Visit};
use aws_lc_rs::{
    agreement::{EphemeralPrivateKey, PublicKey, UnparsedPublicKey, X25519, agree_ephemeral},
    error::Unspecified,
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _, Signature,
        UnparsedPublicKey as VerifyingKey,
    },
};
use tokio::time::Instant;

/// Bytes of what a server signs: two random values and its key (RFC 8422 §5.4).
const KEY_EXCHANGE: usize = 32 + 32 + 4 + 32;

/// Bytes of what a client signs: about all messages so far, of which most are two certificates.
const TRANSCRIPT: usize = 1_500;

/// About as many bytes has a self-signed certificate without its signature.
const CERTIFICATE: usize = 250;

/// How many handshakes are timed together: one takes a fraction of a millisecond.
const BATCH: u32 = 10;

/// Handshakes without packets. Unless `certificates_ahead`, each makes the certificates of both sides.
pub(super) async fn run(
    visit: &Visit,
    certificates_ahead: bool,
    outcome: &mut Outcome,
) -> Result<(), String> {
    let failed = |_: Unspecified| "the cryptography library failed".to_owned();
    let rng = SystemRandom::new();
    let ahead = [certificate(&rng), certificate(&rng)];
    let [Ok(server), Ok(client)] = &ahead else {
        return Err("no certificate could be made".to_owned());
    };
    let once = || {
        if certificates_ahead {
            handshake(&rng, server, client)
        } else {
            handshake(&rng, &certificate(&rng)?, &certificate(&rng)?)
        }
    };
    outcome
        .measure(visit, async || {
            let began = Instant::now();
            for _ in 0..BATCH {
                once().map_err(failed)?;
            }
            let took = began.elapsed() / BATCH;
            Ok(vec![(Metric::Total, took.as_secs_f64() * 1_000.0)])
        })
        .await;
    Ok(())
}

/// A key pair and a signature with it as in a self-signed certificate.
fn certificate(rng: &SystemRandom) -> Result<EcdsaKeyPair, Unspecified> {
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)?;
    key.sign(rng, &[1; CERTIFICATE])?;
    Ok(key)
}

/// What ECDHE with ECDSA and certificates on both sides needs (RFC 8422 §2.2, RFC 5246 §7.4): a key pair and an
/// agreement on each side, what each signs and what each verifies. The rest, key derivation and two records, is hashing
/// of a few kilobytes.
fn handshake(rng: &SystemRandom, server: &EcdsaKeyPair, client: &EcdsaKeyPair) -> Result<(), Unspecified> {
    let (server_secret, server_share) = share(rng)?;
    let key_exchange = [2; KEY_EXCHANGE];
    let signed = server.sign(rng, &key_exchange)?;
    verify(server, &key_exchange, &signed)?;
    let (client_secret, client_share) = share(rng)?;
    let transcript = [3; TRANSCRIPT];
    let client_signed = client.sign(rng, &transcript)?;
    let client_premaster = agree(client_secret, &server_share)?;
    let server_premaster = agree(server_secret, &client_share)?;
    verify(client, &transcript, &client_signed)?;
    (client_premaster == server_premaster)
        .then_some(())
        .ok_or(Unspecified)
}

fn share(rng: &SystemRandom) -> Result<(EphemeralPrivateKey, PublicKey), Unspecified> {
    let secret = EphemeralPrivateKey::generate(&X25519, rng)?;
    let share = secret.compute_public_key()?;
    Ok((secret, share))
}

fn agree(secret: EphemeralPrivateKey, share: &PublicKey) -> Result<[u8; 32], Unspecified> {
    let peer = UnparsedPublicKey::new(&X25519, share.as_ref());
    agree_ephemeral(secret, peer, Unspecified, |premaster| {
        premaster.try_into().map_err(|_| Unspecified)
    })
}

/// The verifier has the key from a certificate, as bytes.
fn verify(signer: &EcdsaKeyPair, message: &[u8], signature: &Signature) -> Result<(), Unspecified> {
    let key = VerifyingKey::new(&ECDSA_P256_SHA256_ASN1, signer.public_key().as_ref());
    key.verify(message, signature.as_ref())
}
