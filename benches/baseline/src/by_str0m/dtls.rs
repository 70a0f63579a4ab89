//! str0m's crypto provider with a DTLS part that keeps its configuration. str0m's own builds one for each peer, and
//! each time that runs the self-test of every algorithm.

use std::{
    fmt,
    sync::{Arc, LazyLock, Mutex, PoisonError},
    time::Instant,
};
use str0m::crypto::{
    CryptoError, CryptoProvider,
    dtls::{DtlsCert, DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, DtlsVersion, ProtocolVersion},
};

/// The provider that all tuned peers share.
pub(super) fn provider() -> Arc<CryptoProvider> {
    static SHARED: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
        Arc::new(CryptoProvider {
            dtls_provider: &DTLS,
            ..str0m_aws_lc_rs::default_provider()
        })
    });
    Arc::clone(&SHARED)
}

/// A new self-signed certificate.
pub(super) fn certificate() -> Option<DtlsCert> {
    dimpl::certificate::generate_self_signed_certificate().ok()
}

/// Builds the configuration that peers ask for.
pub(super) fn warm_up() -> Result<(), CryptoError> {
    DTLS.config(Some(str0m::DATAGRAM_MTU_TARGET)).map(drop)
}

static DTLS: SharedConfig = SharedConfig(Mutex::new(None));

/// The configuration for the MTU that was asked for last; in practice there is one.
#[derive(Debug)]
struct SharedConfig(Mutex<Option<(Option<usize>, Arc<dimpl::Config>)>>);

impl SharedConfig {
    fn config(&self, mtu: Option<usize>) -> Result<Arc<dimpl::Config>, CryptoError> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, config)) = kept.as_ref().filter(|(m, _)| *m == mtu) {
            return Ok(Arc::clone(config));
        }
        // As str0m's own, so that the protocol is the same: ICE has proved the peer's address already.
        let mut builder = dimpl::Config::builder().use_server_cookie(false);
        if let Some(mtu) = mtu {
            builder = builder.mtu(mtu);
        }
        let config = Arc::new(builder.build()?);
        *kept = Some((mtu, Arc::clone(&config)));
        Ok(config)
    }
}

impl DtlsProvider for SharedConfig {
    fn generate_certificate(&self) -> Option<DtlsCert> {
        certificate()
    }

    fn new_dtls(
        &self,
        cert: &DtlsCert,
        now: Instant,
        version: DtlsVersion,
        mtu: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, CryptoError> {
        let (config, cert) = (self.config(mtu)?, cert.clone());
        let dtls = match version {
            DtlsVersion::Dtls12 => dimpl::Dtls::new_12(config, cert, now),
            DtlsVersion::Dtls13 => dimpl::Dtls::new_13(config, cert, now),
            _ => dimpl::Dtls::new_auto(config, cert, now),
        };
        Ok(Box::new(Instance(dtls)))
    }
}

struct Instance(dimpl::Dtls);

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance").finish_non_exhaustive()
    }
}

impl DtlsInstance for Instance {
    fn set_active(&mut self, active: bool) {
        self.0.set_active(active);
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        self.0.handle_packet(packet)
    }

    fn poll_output<'a>(&mut self, buf: &'a mut [u8]) -> DtlsOutput<'a> {
        self.0.poll_output(buf)
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.0.handle_timeout(now)
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<usize, DtlsImplError> {
        self.0.send_application_data(data)
    }

    fn is_active(&self) -> bool {
        self.0.is_active()
    }

    fn protocol_version(&self) -> Option<ProtocolVersion> {
        self.0.protocol_version()
    }

    fn is_closing(&self) -> bool {
        self.0.is_closing()
    }

    fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        self.0.close()
    }
}
