//! The wall clock of sender reports (NTP, RFC 3550 §4), derived from the one clock that all our code reads.

use std::{sync::OnceLock, time::Duration};
use tokio::time::Instant;

/// From NTP's epoch, 1900, to Unix's, 1970.
const UNIX_EPOCH: Duration = Duration::from_secs(2_208_988_800);

/// The wall clock's time at `at`, since 1900. All peers of a process agree on it, also in virtual time.
pub(crate) fn ntp(at: Instant) -> Duration {
    static ANCHOR: OnceLock<(Instant, Duration)> = OnceLock::new();
    let (then, wall) = *ANCHOR.get_or_init(|| {
        #[expect(
            clippy::disallowed_methods,
            reason = "read once; from there the one clock goes on"
        )]
        let unix = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        (Instant::now(), UNIX_EPOCH + unix.unwrap_or_default())
    });
    match at.checked_duration_since(then) {
        Some(since) => wall + since,
        None => wall.saturating_sub(then - at),
    }
}

/// As the 32.32 fixed-point number of an RTCP packet.
pub(crate) fn to_fixed(ntp: Duration) -> u64 {
    let fraction = (u64::from(ntp.subsec_nanos()) << 32) / 1_000_000_000;
    // The seconds wrap in 2036.
    ((ntp.as_secs() & u64::from(u32::MAX)) << 32) | fraction
}

/// From the number of an RTCP packet; what looks older than 1968 is after 2036.
pub(crate) fn from_fixed(fixed: u64) -> Duration {
    let era = if fixed >> 63 == 0 { 1 << 32 } else { 0 };
    let nanos = ((fixed & u64::from(u32::MAX)) * 1_000_000_000 + (1 << 31)) >> 32;
    Duration::from_secs((fixed >> 32) + era) + Duration::from_nanos(nanos)
}

/// The middle 32 bits, in which reception reports name a sender report.
pub(crate) fn middle(fixed: u64) -> u32 {
    (fixed >> 16) as u32
}

/// Units of 1/65536 s as a time.
pub(crate) fn from_short(units: u32) -> Duration {
    Duration::from_nanos((u64::from(units) * 1_000_000_000) >> 16)
}

/// A time in units of 1/65536 s.
pub(crate) fn to_short(time: Duration) -> u32 {
    u32::try_from((time.as_nanos() << 16) / 1_000_000_000).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ntp_goes_both_ways() {
        for nanos in [0, 1, 499_999_999, 999_999_999] {
            let ntp = Duration::new(3_900_000_000, nanos);
            let back = from_fixed(to_fixed(ntp));
            assert!(back.abs_diff(ntp) <= Duration::from_nanos(1), "{ntp:?} {back:?}");
        }
        let late = Duration::from_secs((1 << 32) + 5);
        assert_eq!(from_fixed(to_fixed(late)), late);
        assert_eq!(to_short(from_short(65_536 * 3)), 65_536 * 3);
    }

    #[tokio::test(start_paused = true)]
    async fn the_wall_clock_goes_with_virtual_time() {
        let now = Instant::now();
        let wall = ntp(now);
        assert!(wall > Duration::from_secs(3_800_000_000));
        let hour = Duration::from_secs(3600);
        assert_eq!(ntp(now + hour), wall + hour);
    }
}
