//! What a backend's peers have in common: the crypto provider, certificates, and what [`WebrtcRs`](crate::WebrtcRs)'s
//! builder sets.

use crate::{error::ours, media};
use rtc::{
    crypto::{
        ActiveKeyExchange, AeadAlgorithm, AeadCipher, BlockCipherAlgorithm, CbcAlgorithm, CbcCipher,
        CryptoAlgorithm, CryptoError, HashAlgorithm, HmacAlgorithm, KeyExchangeAlgorithm, Mac, PublicKey,
        RTCCrypto, RTCCryptoProvider, RTCRandom, SignatureScheme, SigningKey, StreamCipher,
        StreamCipherAlgorithm, providers::AwsLcRsProvider,
    },
    dtls::extension::extension_use_srtp::SrtpProtectionProfile,
    peer_connection::certificate::{CertificateParams, RTCCertificate},
};
use std::{fmt, sync::Arc};
use visavis_core::{Error, ErrorKind, KeyExchange, Result, SrtpProfile};
use webrtc::peer_connection::SettingEngineBuilder;

/// The library's groups. As a DTLS client it offers these in this order, as a server it takes the client's first.
const GROUPS: [KeyExchange; 3] = [KeyExchange::P256, KeyExchange::X25519, KeyExchange::P384];

/// How the peers of a backend differ from the default.
#[derive(Clone)]
pub(crate) struct Settings {
    /// Best first. Empty: the library's.
    profiles: Vec<SrtpProtectionProfile>,
    crypto: Arc<dyn RTCCryptoProvider>,
    /// The largest payload of an RTP packet, in bytes.
    pub(crate) max_payload: usize,
}

impl Settings {
    pub(crate) fn set_profiles(&mut self, profiles: &[SrtpProfile]) -> Result<()> {
        let known = |profile: &SrtpProfile| match profile {
            SrtpProfile::AeadAes256Gcm => Ok(SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm),
            SrtpProfile::AeadAes128Gcm => Ok(SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm),
            SrtpProfile::Aes128CmSha1_80 => Ok(SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80),
            SrtpProfile::Aes128CmSha1_32 => Ok(SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_32),
            other => {
                let message = format!("webrtc-rs does not know {other}");
                Err(Error::new(ErrorKind::NotSupported, "with_srtp_profiles", message))
            }
        };
        self.profiles = profiles.iter().map(known).collect::<Result<_>>()?;
        Ok(())
    }

    /// The library's list and its order are fixed, but it leaves out what the provider does not have.
    pub(crate) fn set_groups(&mut self, groups: Vec<KeyExchange>) -> Result<()> {
        let in_order: Vec<_> = GROUPS
            .into_iter()
            .filter(|group| groups.contains(group))
            .collect();
        if in_order != groups {
            let names = GROUPS.map(|group| group.to_string()).join(", ");
            return Err(Error::new(
                ErrorKind::NotSupported,
                "with_key_exchange",
                format!("webrtc-rs's order is fixed; give one or more of {names}, in this order"),
            ));
        }
        self.crypto = Arc::new(Narrowed {
            inner: AwsLcRsProvider::new(),
            groups,
        });
        Ok(())
    }

    pub(crate) fn apply(&self, builder: SettingEngineBuilder) -> SettingEngineBuilder {
        builder
            // Whatever else is compiled in: the library would prefer ring.
            .with_crypto_provider(Arc::clone(&self.crypto))
            .with_srtp_protection_profiles(self.profiles.clone())
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            profiles: Vec::new(),
            crypto: Arc::new(AwsLcRsProvider::new()),
            max_payload: media::MAX_PAYLOAD,
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("profiles", &self.profiles)
            .field("max_payload", &self.max_payload)
            .finish_non_exhaustive()
    }
}

/// A new self-signed certificate, as the library makes them.
pub(crate) fn certificate() -> Result<RTCCertificate> {
    let params = CertificateParams::new(vec![format!("{:016x}", media::random())]).map_err(|e| {
        Error::new(ErrorKind::Stack, "engine", "no certificate could be generated").with_source(e)
    })?;
    let provider = AwsLcRsProvider::new();
    RTCCertificate::generate(provider.crypto(), SignatureScheme::EcdsaP256Sha256, params)
        .map_err(ours("engine"))
}

/// aws-lc-rs with some of its groups only.
struct Narrowed {
    inner: AwsLcRsProvider,
    groups: Vec<KeyExchange>,
}

impl Narrowed {
    fn has(&self, algorithm: KeyExchangeAlgorithm) -> bool {
        let group = match algorithm {
            KeyExchangeAlgorithm::X25519 => KeyExchange::X25519,
            KeyExchangeAlgorithm::P256 => KeyExchange::P256,
            KeyExchangeAlgorithm::P384 => KeyExchange::P384,
            _ => return false,
        };
        self.groups.contains(&group)
    }
}

impl RTCCryptoProvider for Narrowed {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn crypto(&self) -> &dyn RTCCrypto {
        self
    }

    fn random(&self) -> &dyn RTCRandom {
        self.inner.random()
    }
}

impl RTCCrypto for Narrowed {
    fn supports(&self, algorithm: CryptoAlgorithm) -> bool {
        let has = match algorithm {
            CryptoAlgorithm::KeyExchange(group) => self.has(group),
            _ => true,
        };
        has && self.inner.crypto().supports(algorithm)
    }

    fn start_key_exchange(
        &self,
        algorithm: KeyExchangeAlgorithm,
    ) -> Result<Box<dyn ActiveKeyExchange>, CryptoError> {
        // A server may choose what was not offered.
        if !self.has(algorithm) {
            return Err(CryptoError::UnsupportedAlgorithm(CryptoAlgorithm::KeyExchange(
                algorithm,
            )));
        }
        self.inner.crypto().start_key_exchange(algorithm)
    }

    // All others as they are.

    fn hash(&self, algorithm: HashAlgorithm, data: &[u8]) -> Result<Vec<u8>, CryptoError> {
        self.inner.crypto().hash(algorithm, data)
    }

    fn block_encrypt(
        &self,
        algorithm: BlockCipherAlgorithm,
        key: &[u8],
        block: &mut [u8],
    ) -> Result<(), CryptoError> {
        self.inner.crypto().block_encrypt(algorithm, key, block)
    }

    fn new_hmac(&self, algorithm: HmacAlgorithm, key: &[u8]) -> Result<Box<dyn Mac>, CryptoError> {
        self.inner.crypto().new_hmac(algorithm, key)
    }

    fn new_stream_cipher(
        &self,
        algorithm: StreamCipherAlgorithm,
        key: &[u8],
    ) -> Result<Box<dyn StreamCipher>, CryptoError> {
        self.inner.crypto().new_stream_cipher(algorithm, key)
    }

    fn new_aead(&self, algorithm: AeadAlgorithm, key: &[u8]) -> Result<Box<dyn AeadCipher>, CryptoError> {
        self.inner.crypto().new_aead(algorithm, key)
    }

    fn new_cbc(&self, algorithm: CbcAlgorithm, key: &[u8]) -> Result<Box<dyn CbcCipher>, CryptoError> {
        self.inner.crypto().new_cbc(algorithm, key)
    }

    fn generate_signing_key(&self, scheme: SignatureScheme) -> Result<Arc<dyn SigningKey>, CryptoError> {
        self.inner.crypto().generate_signing_key(scheme)
    }

    fn import_signing_key(
        &self,
        scheme: SignatureScheme,
        pkcs8_der: &[u8],
    ) -> Result<Arc<dyn SigningKey>, CryptoError> {
        self.inner.crypto().import_signing_key(scheme, pkcs8_der)
    }

    fn verify_signature(
        &self,
        scheme: SignatureScheme,
        public_key: PublicKey<'_>,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), CryptoError> {
        self.inner
            .crypto()
            .verify_signature(scheme, public_key, message, signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_left_out_and_not_reordered() {
        let mut settings = Settings::default();
        let has = |settings: &Settings, group| {
            let algorithm = CryptoAlgorithm::KeyExchange(group);
            let started = settings.crypto.crypto().start_key_exchange(group).is_ok();
            assert_eq!(settings.crypto.crypto().supports(algorithm), started);
            started
        };
        assert!(has(&settings, KeyExchangeAlgorithm::P256));
        settings
            .set_groups(vec![KeyExchange::X25519, KeyExchange::P384])
            .unwrap();
        assert!(has(&settings, KeyExchangeAlgorithm::X25519));
        assert!(has(&settings, KeyExchangeAlgorithm::P384));
        assert!(!has(&settings, KeyExchangeAlgorithm::P256));
        let error = settings.set_groups(vec![KeyExchange::X25519, KeyExchange::P256]);
        assert_eq!(error.unwrap_err().kind(), ErrorKind::NotSupported);
        assert!(
            !has(&settings, KeyExchangeAlgorithm::P256),
            "nothing changes on an error"
        );
    }
}
