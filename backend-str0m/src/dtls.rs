//! The crypto provider: str0m's aws-lc-rs one with a DTLS part of ours.
//!
//! str0m's own builds a `dimpl::Config` for each peer, and every build runs the self-test of all algorithms
//! (0.85 ms). This one keeps the configurations it has built, sets the timers that `RtcConfig` does not reach,
//! and mends empty messages on their way out (see [`empty`]).

use crate::empty;
use std::{
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};
use str0m::crypto::{
    CryptoError, CryptoProvider,
    dtls::{DtlsCert, DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, DtlsVersion, ProtocolVersion},
};

/// The first retransmission of a flight comes after this, ±25 %, then doubling. dimpl's default is 1 s. Longer
/// than a round trip of 300 ms, for webrtc-rs stops its own retransmissions when a duplicate flight arrives.
const FLIGHT_START_RTO: Duration = Duration::from_millis(500);

/// So that the retries last about as long as the handshake may.
const FLIGHT_RETRIES: usize = 6;

/// The whole handshake, from the first `ClientHello`. dimpl's default is 40 s.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);

/// The provider that every peer of this crate shares.
pub(crate) fn crypto_provider() -> Arc<CryptoProvider> {
    static SHARED: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(SHARED.get_or_init(|| {
        Arc::new(CryptoProvider {
            dtls_provider: &DTLS,
            ..str0m_aws_lc_rs::default_provider()
        })
    }))
}

/// A new self-signed certificate.
pub(crate) fn certificate() -> visavis_core::Result<DtlsCert> {
    dimpl::certificate::generate_self_signed_certificate().map_err(|e| {
        visavis_core::Error::new(
            visavis_core::ErrorKind::Stack,
            "engine",
            "no certificate could be generated",
        )
        .with_source(e)
    })
}

/// Does the work that the first peer of a process would otherwise wait for (25 ms).
pub(crate) fn warm_up() {
    if let Err(e) = DTLS.config(Some(str0m::DATAGRAM_MTU_TARGET)) {
        tracing::warn!(error = %e, "DTLS cannot be configured");
    }
}

static DTLS: SharedConfigs = SharedConfigs {
    configs: Mutex::new(Vec::new()),
};

#[derive(Debug)]
struct SharedConfigs {
    /// One for each MTU asked for; in practice one.
    configs: Mutex<Vec<(Option<usize>, Arc<dimpl::Config>)>>,
}

impl SharedConfigs {
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
        Ok(Box::new(Instance { dtls }))
    }
}

struct Instance {
    dtls: dimpl::Dtls,
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
        self.dtls.handle_packet(packet)
    }

    fn poll_output<'a>(&mut self, buf: &'a mut [u8]) -> DtlsOutput<'a> {
        self.dtls.poll_output(buf)
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.dtls.handle_timeout(now)
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<usize, DtlsImplError> {
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
        let configs = SharedConfigs {
            configs: Mutex::default(),
        };
        let first = configs.config(Some(1200)).unwrap();
        assert!(Arc::ptr_eq(&first, &configs.config(Some(1200)).unwrap()));
        assert!(!Arc::ptr_eq(&first, &configs.config(Some(1100)).unwrap()));
        assert_eq!(first.mtu(), 1200);
        assert!(!first.use_server_cookie());
        assert_eq!(first.flight_start_rto(), FLIGHT_START_RTO);
        assert_eq!(first.handshake_timeout(), HANDSHAKE_TIMEOUT);
    }

    #[test]
    fn an_instance_is_made_for_every_version() {
        let provider = crypto_provider();
        let cert = certificate().unwrap();
        let now = tokio::time::Instant::now().into_std();
        for version in [DtlsVersion::Dtls12, DtlsVersion::Dtls13, DtlsVersion::Auto] {
            let dtls = provider.dtls_provider.new_dtls(&cert, now, version, Some(1200));
            assert!(dtls.is_ok(), "{version}");
        }
    }
}
