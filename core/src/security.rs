//! What every stack's builder takes by the same name: SRTP profiles, key exchange, the size of RTP packets, and
//! certificates made ahead.
//!
//! With the same values two stacks do the same work, which a comparison of them needs.

use crate::{Error, Result, lock};
use serde::Serialize;
use std::{
    fmt,
    ops::RangeInclusive,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::Instant;

/// An SRTP protection profile (RFC 5764 §4.1.2, RFC 7714 §14.2). Reads and serializes as its registered name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[non_exhaustive]
pub enum SrtpProfile {
    /// AES-256 in GCM, with a tag of 16 bytes (0x0008).
    #[serde(rename = "SRTP_AEAD_AES_256_GCM")]
    AeadAes256Gcm,
    /// AES-128 in GCM, with a tag of 16 bytes (0x0007).
    #[serde(rename = "SRTP_AEAD_AES_128_GCM")]
    AeadAes128Gcm,
    /// AES-128 in counter mode and HMAC-SHA1, with a tag of 10 bytes (0x0001).
    #[serde(rename = "SRTP_AES128_CM_HMAC_SHA1_80")]
    Aes128CmSha1_80,
    /// The same with a tag of 4 bytes on RTP (0x0002).
    #[serde(rename = "SRTP_AES128_CM_HMAC_SHA1_32")]
    Aes128CmSha1_32,
}

impl SrtpProfile {
    /// Its number in `use_srtp` (RFC 5764 §4.1.2).
    pub fn id(self) -> u16 {
        match self {
            Self::Aes128CmSha1_80 => 0x0001,
            Self::Aes128CmSha1_32 => 0x0002,
            Self::AeadAes128Gcm => 0x0007,
            Self::AeadAes256Gcm => 0x0008,
        }
    }

    /// The profile of this number in `use_srtp` (RFC 5764 §4.1.2), if it is one of these.
    pub fn from_id(id: u16) -> Option<Self> {
        Some(match id {
            0x0001 => Self::Aes128CmSha1_80,
            0x0002 => Self::Aes128CmSha1_32,
            0x0007 => Self::AeadAes128Gcm,
            0x0008 => Self::AeadAes256Gcm,
            _ => return None,
        })
    }
}

impl fmt::Display for SrtpProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AeadAes256Gcm => "SRTP_AEAD_AES_256_GCM",
            Self::AeadAes128Gcm => "SRTP_AEAD_AES_128_GCM",
            Self::Aes128CmSha1_80 => "SRTP_AES128_CM_HMAC_SHA1_80",
            Self::Aes128CmSha1_32 => "SRTP_AES128_CM_HMAC_SHA1_32",
        })
    }
}

/// A named group for the ephemeral key exchange of DTLS (ECDHE, RFC 8422 §5.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[non_exhaustive]
pub enum KeyExchange {
    /// Curve25519 (29, `x25519`).
    X25519,
    /// NIST's P-256 (23, `secp256r1`).
    #[serde(rename = "P-256")]
    P256,
    /// NIST's P-384 (24, `secp384r1`).
    #[serde(rename = "P-384")]
    P384,
}

impl KeyExchange {
    /// Its number in `supported_groups` (RFC 8422 §5.1.1).
    pub fn id(self) -> u16 {
        match self {
            Self::P256 => 23,
            Self::P384 => 24,
            Self::X25519 => 29,
        }
    }

    /// The group of this number in `supported_groups` (RFC 8422 §5.1.1), if it is one of these.
    pub fn from_id(id: u16) -> Option<Self> {
        Some(match id {
            23 => Self::P256,
            24 => Self::P384,
            29 => Self::X25519,
            _ => return None,
        })
    }
}

impl fmt::Display for KeyExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::X25519 => "X25519",
            Self::P256 => "P-256",
            Self::P384 => "P-384",
        })
    }
}

/// A builder's list, best first: each once, and at least one.
///
/// # Errors
///
/// [`InvalidInput`](crate::ErrorKind::InvalidInput) of `operation` for any other list.
pub fn preferences<T: Copy + PartialEq + fmt::Display>(
    operation: &'static str,
    list: &[T],
) -> Result<Vec<T>> {
    if list.is_empty() {
        return Err(Error::invalid_input(
            operation,
            "the list is empty; give at least one",
        ));
    }
    for (i, value) in list.iter().enumerate() {
        if list[..i].contains(value) {
            return Err(Error::invalid_input(operation, format!("{value} is there twice")));
        }
    }
    Ok(list.to_vec())
}

/// How large an RTP packet may be made, in bytes as in [`rtp_payload_size`]: from about what every path carries (576
/// bytes, RFC 1122 §3.3.3) to what one Ethernet frame holds behind the headers of IPv6 and UDP.
pub const RTP_PACKET_SIZES: RangeInclusive<usize> = 608..=1452;

/// The fixed RTP header of 12 bytes, and 20 for header extensions (RFC 8285), which is room for those of browsers.
const RTP_HEADERS: usize = 32;

/// The longest tag of SRTP.
const SRTP_TAG: usize = 16;

/// The largest payload, in bytes, that a frame is cut into for RTP packets of at most `packet_size` bytes.
///
/// The packet is what UDP carries: the RTP header with its extensions, the payload with its codec's descriptor, and
/// SRTP's tag. 32 bytes are kept for the header and 16 for the tag, and the payload is a multiple of 16, a cipher's
/// block, for some stacks cut so: every stack that follows this makes as many packets of a frame, but for what their
/// descriptors of VP9 differ by. A packet is never larger than `packet_size`, save that one sent again (RFC 4588) has
/// two bytes more.
///
/// # Errors
///
/// [`InvalidInput`](crate::ErrorKind::InvalidInput) of `operation` outside of [`RTP_PACKET_SIZES`].
pub fn rtp_payload_size(operation: &'static str, packet_size: usize) -> Result<usize> {
    if !RTP_PACKET_SIZES.contains(&packet_size) {
        let (least, most) = (RTP_PACKET_SIZES.start(), RTP_PACKET_SIZES.end());
        let message = format!("{packet_size} bytes; give {least} to {most}");
        return Err(Error::invalid_input(operation, message));
    }
    Ok((packet_size - RTP_HEADERS - SRTP_TAG) / 16 * 16)
}

/// What was made ahead is not used when it is older: some certificates are valid for two days.
const MAX_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// Things of which the next is made before it is asked for, such as certificates. Each is given out once. Clones share
/// what is made.
pub struct Ahead<T> {
    make: fn() -> Result<T>,
    /// `None`: nothing is made ahead.
    next: Option<Arc<Slot<T>>>,
}

/// What was made, and when.
type Slot<T> = Mutex<Option<(T, Instant)>>;

impl<T: Send + 'static> Ahead<T> {
    /// Makes the first one now.
    pub fn new(make: fn() -> Result<T>) -> Self {
        let first = make().ok().map(|made| (made, Instant::now()));
        Self {
            make,
            next: Some(Arc::new(Mutex::new(first))),
        }
    }

    /// Makes each when it is asked for.
    pub fn never(make: fn() -> Result<T>) -> Self {
        Self { make, next: None }
    }

    /// The same ahead, or not.
    #[must_use]
    pub fn with_ahead(self, ahead: bool) -> Self {
        match (ahead, &self.next) {
            (true, None) => Self::new(self.make),
            (false, Some(_)) => Self::never(self.make),
            _ => self,
        }
    }

    /// Takes the one that was made, or makes one now if there is none, and has the next one made by a task of the
    /// current Tokio runtime.
    ///
    /// # Errors
    ///
    /// What making one fails with.
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime, if anything is made ahead.
    pub fn take(&self) -> Result<T> {
        let Some(next) = &self.next else {
            return (self.make)();
        };
        let ready = lock(next).take();
        let (make, next) = (self.make, Arc::clone(next));
        tokio::spawn(async move {
            let made = make().ok().map(|made| (made, Instant::now()));
            *lock(&next) = made;
        });
        match ready {
            Some((ready, at)) if at.elapsed() < MAX_AGE => Ok(ready),
            _ => (self.make)(),
        }
    }
}

impl<T> Clone for Ahead<T> {
    fn clone(&self) -> Self {
        Self {
            make: self.make,
            next: self.next.clone(),
        }
    }
}

impl<T> fmt::Debug for Ahead<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // There may be a private key in it.
        let ready = self.next.as_ref().map(|next| lock(next).is_some());
        f.debug_struct("Ahead")
            .field("ready", &ready)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn lists_and_sizes_are_checked() {
        use KeyExchange::{P256, X25519};
        assert_eq!(preferences("t", &[X25519, P256]).unwrap(), [X25519, P256]);
        for bad in [&[][..], &[P256, X25519, P256]] {
            assert_eq!(preferences("t", bad).unwrap_err().kind(), ErrorKind::InvalidInput);
        }
        assert_eq!(rtp_payload_size("t", 1200).unwrap(), 1152);
        assert_eq!(rtp_payload_size("t", 1199).unwrap(), 1136);
        assert_eq!(rtp_payload_size("t", 608).unwrap(), 560);
        for bad in [0, 607, 1453, usize::MAX] {
            assert!(rtp_payload_size("t", bad).is_err());
        }
    }

    #[test]
    fn names_and_numbers_are_the_registered_ones() {
        for id in 0..=u16::MAX {
            assert!(SrtpProfile::from_id(id).is_none_or(|profile| profile.id() == id));
            assert!(KeyExchange::from_id(id).is_none_or(|group| group.id() == id));
        }
        for (id, name) in [(1, "SRTP_AES128_CM_HMAC_SHA1_80"), (8, "SRTP_AEAD_AES_256_GCM")] {
            assert_eq!(SrtpProfile::from_id(id).unwrap().to_string(), name);
        }
        assert_eq!(KeyExchange::from_id(29).unwrap().to_string(), "X25519");
        assert_eq!(SrtpProfile::from_id(0), None);
        assert_eq!(KeyExchange::from_id(25), None);
    }

    #[tokio::test(start_paused = true)]
    async fn each_is_given_out_once_and_none_too_old() {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let made = || COUNT.load(Ordering::Relaxed);
        let ahead = Ahead::new(|| Ok(COUNT.fetch_add(1, Ordering::Relaxed)));
        let other = ahead.clone();
        assert_eq!(made(), 1);
        assert_eq!(ahead.take().unwrap(), 0);
        assert_eq!(other.take().unwrap(), 1, "the next was not there yet");
        tokio::task::yield_now().await;
        assert_eq!(made(), 4, "two tasks made one each");
        assert_eq!(other.take().unwrap(), 3);
        tokio::task::yield_now().await;
        tokio::time::advance(MAX_AGE).await;
        assert_eq!(ahead.take().unwrap(), 5, "4 is too old");
        let never = ahead.with_ahead(false);
        tokio::task::yield_now().await;
        let before = made();
        assert_eq!(never.take().unwrap(), before);
        tokio::task::yield_now().await;
        assert_eq!(made(), before + 1);
        assert!(other.with_ahead(true).next.is_some());
    }
}
