//! The crypto provider: str0m's aws-lc-rs one with a DTLS part of ours.
//!
//! str0m's own builds a `dimpl::Config` for each peer, and every build runs the self-test of all algorithms
//! (0.85 ms). This one keeps the configurations it has built, sets what `RtcConfig` does not reach (timers, the key
//! exchange, which SRTP profiles are good enough), and mends empty messages on their way out (see [`empty`]).

use crate::{empty, gate::Gate};
use dimpl::{
    KeyingMaterial, NamedGroup, SecurityError,
    crypto::{SupportedKxGroup, aws_lc_rs},
};
use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use str0m::crypto::{
    CryptoError, CryptoProvider,
    dtls::{
        DtlsCert, DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, DtlsVersion, ProtocolVersion,
        SrtpProfile as DimplProfile,
    },
};
use visavis_core::{Error, ErrorKind, KeyExchange, Result, SrtpProfile};

/// The first retransmission of a flight comes after this, ±25 %, then doubling. dimpl's default is 1 s. Longer
/// than a round trip of 300 ms, for webrtc-rs stops its own retransmissions when a duplicate flight arrives.
const FLIGHT_START_RTO: Duration = Duration::from_millis(500);

/// So that the retries last about as long as the handshake may.
const FLIGHT_RETRIES: usize = 16;

/// The whole handshake, from the first `ClientHello`. An answerer writes that with its answer, and somebody may carry the
/// answer to the offerer by hand: giving up is core's. dimpl's default is 40 s.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(12 * 60 * 60);

/// A record's type (RFC 5246 §6.2.1).
const ALERT: u8 = 21;

/// dimpl's profiles. As a DTLS client it offers these in this order, as a server it takes the first that it can.
const PROFILES: [SrtpProfile; 3] = [
    SrtpProfile::AeadAes256Gcm,
    SrtpProfile::AeadAes128Gcm,
    SrtpProfile::Aes128CmSha1_80,
];

/// How a peer's DTLS differs from the default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    /// The groups, best first. Empty: dimpl's.
    groups: Vec<KeyExchange>,
    /// The first so many of [`PROFILES`] are good enough. `None`: all are.
    profiles: Option<usize>,
    /// What the jitter of timers, and whatever else in a handshake is not a key, is drawn from.
    pub(crate) seed: Option<u64>,
}

impl Settings {
    pub(crate) fn set_groups(&mut self, groups: Vec<KeyExchange>) -> Result<()> {
        for group in &groups {
            supported_group(*group)?;
        }
        self.groups = groups;
        Ok(())
    }

    /// dimpl's list and its order are fixed. What is left out at its end can be refused: then nothing that is left
    /// out is ever chosen by us before what is not.
    pub(crate) fn set_profiles(&mut self, profiles: &[SrtpProfile]) -> Result<()> {
        if !PROFILES.starts_with(profiles) {
            let names = PROFILES.map(|profile| profile.to_string()).join(", ");
            return Err(Error::new(
                ErrorKind::NotSupported,
                "with_srtp_profiles",
                format!("str0m's order is fixed; give the first one or more of {names}"),
            ));
        }
        self.profiles = Some(profiles.len());
        Ok(())
    }
}

fn supported_group(group: KeyExchange) -> Result<&'static dyn SupportedKxGroup> {
    let name = NamedGroup::from_u16(group.id());
    let mut known = aws_lc_rs::default_provider().kx_groups.iter().copied();
    known.find(|known| known.name() == name).ok_or_else(|| {
        Error::new(
            ErrorKind::NotSupported,
            "with_key_exchange",
            format!("str0m does not know {group}"),
        )
    })
}

/// Whether a datagram ends the connection, or may: it has a record that is an alert (RFC 6347 §4.1, RFC 5246 §7.2).
pub(crate) fn has_alert(datagram: &[u8]) -> bool {
    let mut rest = datagram;
    while let [kind, _, _, _, _, _, _, _, _, _, _, high, low, body @ ..] = rest {
        if *kind == ALERT {
            return true;
        }
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        rest = body.get(length..).unwrap_or_default();
    }
    false
}

/// The provider that every peer with these settings shares.
pub(crate) fn crypto_provider(settings: &Settings) -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        dtls_provider: shared(settings),
        ..str0m_aws_lc_rs::default_provider()
    })
}

/// A new self-signed certificate.
pub(crate) fn certificate() -> Result<DtlsCert> {
    dimpl::certificate::generate_self_signed_certificate().map_err(|e| {
        Error::new(ErrorKind::Stack, "engine", "no certificate could be generated").with_source(e)
    })
}

/// Does the work that the first peer with these settings would otherwise wait for: 25 ms for the first in a process,
/// then 1 ms for each other configuration.
pub(crate) fn warm_up(settings: &Settings, mtu: usize) {
    if let Err(e) = shared(settings).config(Some(mtu)) {
        tracing::warn!(error = %e, "DTLS cannot be configured");
    }
}

/// The configurations with these settings. They live as long as the process, for str0m takes providers that do, and
/// there are only so many lists of three groups and three profiles.
fn shared(settings: &Settings) -> &'static SharedConfigs {
    static ALL: Mutex<Vec<&SharedConfigs>> = Mutex::new(Vec::new());
    let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = all.iter().find(|known| known.settings == *settings) {
        return known;
    }
    let new = Box::leak(Box::new(SharedConfigs::new(settings.clone())));
    all.push(new);
    new
}

#[derive(Debug)]
struct SharedConfigs {
    settings: Settings,
    /// The groups of the settings, in their order.
    groups: Option<&'static [&'static dyn SupportedKxGroup]>,
    /// One for each MTU asked for; in practice one.
    configs: Mutex<Vec<(Option<usize>, Arc<dimpl::Config>)>>,
}

impl SharedConfigs {
    fn new(settings: Settings) -> Self {
        let groups = settings
            .groups
            .iter()
            .filter_map(|group| supported_group(*group).ok());
        let groups: Vec<_> = groups.collect();
        Self {
            groups: (!groups.is_empty()).then(|| &*groups.leak()),
            settings,
            configs: Mutex::default(),
        }
    }

    fn config(&self, mtu: Option<usize>) -> Result<Arc<dimpl::Config>, CryptoError> {
        let mut configs = self.configs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, config)) = configs.iter().find(|(m, _)| *m == mtu) {
            return Ok(Arc::clone(config));
        }
        let mut builder = dimpl::Config::builder()
            // ICE has proved that the peer receives what we send, so a cookie proves nothing more.
            .use_server_cookie(false)
            .flight_start_rto(FLIGHT_START_RTO)
            .flight_retries(FLIGHT_RETRIES)
            .handshake_timeout(HANDSHAKE_TIMEOUT);
        if let Some(mtu) = mtu {
            builder = builder.mtu(mtu);
        }
        if let Some(seed) = self.settings.seed {
            builder = builder.dangerously_set_rng_seed(seed);
        }
        if let Some(kx_groups) = self.groups {
            // The builder's own list is a filter; the order is the provider's.
            builder = builder.with_crypto_provider(dimpl::crypto::CryptoProvider {
                kx_groups,
                ..aws_lc_rs::default_provider()
            });
        }
        let config = Arc::new(builder.build()?);
        configs.push((mtu, Arc::clone(&config)));
        Ok(config)
    }
}

impl DtlsProvider for SharedConfigs {
    fn generate_certificate(&self) -> Option<DtlsCert> {
        certificate().ok()
    }

    fn new_dtls(
        &self,
        cert: &DtlsCert,
        now: Instant,
        version: DtlsVersion,
        mtu: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, CryptoError> {
        let config = self.config(mtu)?;
        let cert = cert.clone();
        let dtls = match version {
            DtlsVersion::Dtls12 => dimpl::Dtls::new_12(config, cert, now),
            DtlsVersion::Dtls13 => dimpl::Dtls::new_13(config, cert, now),
            DtlsVersion::Auto => dimpl::Dtls::new_auto(config, cert, now),
            other => return Err(CryptoError::Other(format!("DTLS version {other} is not known"))),
        };
        let accepted = self.settings.profiles.map(|count| &PROFILES[..count]);
        Ok(Box::new(Instance {
            dtls,
            accepted,
            keys: None,
            refused: None,
            gate: Gate::current(),
            scratch: Vec::new(),
            now,
        }))
    }
}

struct Instance {
    dtls: dimpl::Dtls,
    /// The SRTP profiles that are good enough. `None`: all are.
    accepted: Option<&'static [SrtpProfile]>,
    /// The next output.
    keys: Option<(KeyingMaterial, DimplProfile)>,
    /// A profile was negotiated that is not.
    refused: Option<DimplProfile>,
    gate: Arc<Gate>,
    /// What is polled, until the gate has looked at it.
    scratch: Vec<u8>,
    now: Instant,
}

impl Instance {
    fn accepts(&self, profile: DimplProfile) -> bool {
        let profile = match profile {
            DimplProfile::AEAD_AES_256_GCM => SrtpProfile::AeadAes256Gcm,
            DimplProfile::AEAD_AES_128_GCM => SrtpProfile::AeadAes128Gcm,
            DimplProfile::AES128_CM_SHA1_80 => SrtpProfile::Aes128CmSha1_80,
            _ => return false,
        };
        self.accepted.is_none_or(|accepted| accepted.contains(&profile))
    }

    /// dimpl says that it is connected, and then with which keys: nobody hears of a connection that is refused.
    fn connected(&mut self) -> DtlsOutput<'static> {
        // What needs a buffer is kept for the next call.
        if self.accepted.is_some()
            && let DtlsOutput::KeyingMaterial(keys, profile) = self.dtls.poll_output(&mut [])
        {
            if !self.accepts(profile) {
                tracing::warn!(
                    ?profile,
                    "the remote peer chose an SRTP profile that is not accepted"
                );
                self.refused = Some(profile);
                return DtlsOutput::Timeout(self.now);
            }
            self.keys = Some((keys, profile));
        }
        DtlsOutput::Connected
    }

    fn check(&self) -> Result<(), DtlsImplError> {
        match self.refused {
            None => Ok(()),
            Some(_) => Err(SecurityError::NoMutuallyAcceptableCipherSuite.into()),
        }
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance").finish_non_exhaustive()
    }
}

impl DtlsInstance for Instance {
    fn set_active(&mut self, active: bool) {
        self.dtls.set_active(active);
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        self.check()?;
        self.dtls.handle_packet(packet)
    }

    fn poll_output<'a>(&mut self, buf: &'a mut [u8]) -> DtlsOutput<'a> {
        if let Some((keys, profile)) = self.keys.take() {
            return DtlsOutput::KeyingMaterial(keys, profile);
        }
        if let Some(len) = self.gate.take_due(buf) {
            return DtlsOutput::ApplicationData(&buf[..len]);
        }
        if let Some(acknowledgement) = self.gate.take_acknowledgement()
            && let Err(e) = self.dtls.send_application_data(&acknowledgement)
        {
            // SCTP acknowledges again.
            tracing::debug!(error = %e, "an acknowledgement is not sent");
        }
        self.scratch.resize(buf.len(), 0);
        loop {
            return match self.dtls.poll_output(&mut self.scratch) {
                DtlsOutput::ApplicationData(packet) => match self.gate.pass(packet, buf) {
                    Some(len) => DtlsOutput::ApplicationData(&buf[..len]),
                    None => continue,
                },
                DtlsOutput::Packet(packet) => {
                    let out = &mut buf[..packet.len()];
                    out.copy_from_slice(packet);
                    DtlsOutput::Packet(out)
                }
                DtlsOutput::PeerCert(der) => {
                    let out = &mut buf[..der.len()];
                    out.copy_from_slice(der);
                    DtlsOutput::PeerCert(out)
                }
                DtlsOutput::Connected => self.connected(),
                DtlsOutput::KeyingMaterial(keys, profile) => DtlsOutput::KeyingMaterial(keys, profile),
                DtlsOutput::BufferTooSmall { needed } => DtlsOutput::BufferTooSmall { needed },
                DtlsOutput::CloseNotify => DtlsOutput::CloseNotify,
                DtlsOutput::Timeout(at) => DtlsOutput::Timeout(at),
                // dimpl has no other.
                _ => continue,
            };
        }
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.now = now;
        self.check()?;
        self.dtls.handle_timeout(now)
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<usize, DtlsImplError> {
        self.check()?;
        if self.gate.defer(data) {
            return Ok(data.len());
        }
        let Some(mended) = empty::mend(data) else {
            return self.dtls.send_application_data(data);
        };
        let accepted = self.dtls.send_application_data(&mended)?;
        // The caller compares with what it gave.
        Ok(if accepted == mended.len() {
            data.len()
        } else {
            accepted.min(data.len() - 1)
        })
    }

    fn is_active(&self) -> bool {
        self.dtls.is_active()
    }

    fn protocol_version(&self) -> Option<ProtocolVersion> {
        self.dtls.protocol_version()
    }

    fn is_closing(&self) -> bool {
        self.dtls.is_closing()
    }

    fn is_closed(&self) -> bool {
        self.dtls.is_closed()
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        self.dtls.close()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_share_one_configuration() {
        let configs = SharedConfigs::new(Settings::default());
        let first = configs.config(Some(1200)).unwrap();
        assert!(Arc::ptr_eq(&first, &configs.config(Some(1200)).unwrap()));
        assert!(!Arc::ptr_eq(&first, &configs.config(Some(1100)).unwrap()));
        assert_eq!(first.mtu(), 1200);
        assert!(!first.use_server_cookie());
        assert_eq!(first.flight_start_rto(), FLIGHT_START_RTO);
        assert_eq!(first.handshake_timeout(), HANDSHAKE_TIMEOUT);
    }

    #[test]
    fn settings_have_configurations_of_their_own() {
        let mut settings = Settings::default();
        settings
            .set_groups(vec![KeyExchange::P384, KeyExchange::X25519])
            .unwrap();
        let configs = shared(&settings);
        assert!(std::ptr::eq(configs, shared(&settings)));
        assert!(!std::ptr::eq(configs, shared(&Settings::default())));
        let config = configs.config(None).unwrap();
        let names: Vec<_> = config.kx_groups().map(SupportedKxGroup::name).collect();
        assert_eq!(names, [NamedGroup::Secp384r1, NamedGroup::X25519]);
    }

    #[test]
    fn only_what_dimpl_prefers_can_be_chosen() {
        let mut settings = Settings::default();
        for count in 1..=PROFILES.len() {
            settings.set_profiles(&PROFILES[..count]).unwrap();
            assert_eq!(settings.profiles, Some(count));
        }
        for refused in [&PROFILES[1..], &[SrtpProfile::Aes128CmSha1_32]] {
            let error = settings.set_profiles(refused).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotSupported);
        }
    }

    #[test]
    fn an_alert_is_found_behind_other_records() {
        let record = |kind: u8, length: u8| {
            let mut record = vec![kind, 254, 253, 0, 1, 0, 0, 0, 0, 0, 9, 0, length];
            record.resize(13 + usize::from(length), ALERT);
            record
        };
        let (data, alert) = (record(23, 40), record(ALERT, 26));
        assert!(has_alert(&alert));
        assert!(has_alert(&[data.clone(), alert.clone()].concat()));
        assert!(!has_alert(&[data.clone(), data.clone()].concat()));
        assert!(!has_alert(&[]) && !has_alert(&data[..20]) && !has_alert(&alert[..12]));
    }

    #[test]
    fn an_instance_is_made_for_every_version() {
        let provider = crypto_provider(&Settings::default());
        let cert = certificate().unwrap();
        let now = tokio::time::Instant::now().into_std();
        for version in [DtlsVersion::Dtls12, DtlsVersion::Dtls13, DtlsVersion::Auto] {
            let dtls = provider.dtls_provider.new_dtls(&cert, now, version, Some(1200));
            assert!(dtls.is_ok(), "{version}");
        }
    }
}
