//! Datagrams that one pass of the driver sends, joined into few system calls.

use std::{mem, net::SocketAddr};
use webrtc::runtime::{EcnCodepoint, Transmit};

/// The most datagrams that one system call takes (`UDP_MAX_SEGMENTS` of Linux).
const MOST: usize = 64;

/// The most bytes that one system call takes: the payload of the largest IPv4 packet.
const MAX_LEN: usize = 65_507;

/// Datagrams in a row to one address: of one length, but for a shorter last one.
#[derive(Debug, Default)]
pub(crate) struct Joined {
    to: Option<(SocketAddr, Option<EcnCodepoint>)>,
    contents: Vec<u8>,
    segment: usize,
    count: usize,
}

impl Joined {
    /// Adds a datagram. `false`: it can only follow in another system call.
    pub(crate) fn push(&mut self, datagram: &Transmit<'_>, most: usize) -> bool {
        let len = datagram.contents.len();
        let to = Some((datagram.destination, datagram.ecn));
        if self.count == 0 {
            (self.to, self.segment) = (to, len);
        } else if self.to != to
            || self.count >= most.min(MOST)
            || len > self.segment
            // A shorter one was the last.
            || !self.contents.len().is_multiple_of(self.segment)
            || self.contents.len() + len > MAX_LEN
        {
            return false;
        }
        self.contents.extend_from_slice(datagram.contents);
        self.count += 1;
        true
    }

    /// What there is to send, as one.
    pub(crate) fn transmit(&self) -> Option<Transmit<'_>> {
        let (destination, ecn) = self.to?;
        Some(Transmit {
            destination,
            ecn,
            contents: &self.contents,
            segment_size: (self.count > 1).then_some(self.segment),
            src_ip: None,
        })
    }

    /// It was sent.
    pub(crate) fn clear(&mut self) {
        let mut contents = mem::take(&mut self.contents);
        contents.clear();
        *self = Self {
            contents,
            ..Self::default()
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(contents: &[u8], port: u16) -> Transmit<'_> {
        Transmit {
            destination: SocketAddr::from(([192, 0, 2, 1], port)),
            ecn: None,
            contents,
            segment_size: None,
            src_ip: None,
        }
    }

    #[test]
    fn equal_ones_and_a_shorter_last_one_go_together() {
        let mut joined = Joined::default();
        assert!(joined.transmit().is_none());
        assert!(joined.push(&datagram(&[1; 9], 1), 64));
        assert_eq!(joined.transmit().unwrap().segment_size, None);
        assert!(joined.push(&datagram(&[2; 9], 1), 64));
        assert!(!joined.push(&datagram(&[3; 10], 1), 64), "longer");
        assert!(!joined.push(&datagram(&[3; 9], 2), 64), "for somebody else");
        assert!(joined.push(&datagram(&[3; 4], 1), 64));
        assert!(!joined.push(&datagram(&[4; 4], 1), 64), "behind a shorter one");
        let transmit = joined.transmit().unwrap();
        assert_eq!(transmit.segment_size, Some(9));
        assert_eq!(transmit.contents, [[1; 9].as_slice(), &[2; 9], &[3; 4]].concat());
        joined.clear();
        assert!(joined.transmit().is_none());
        assert!(joined.push(&datagram(&[4; 4], 2), 64));
    }

    #[test]
    fn no_more_than_a_system_call_takes() {
        let pushed = |len, most| {
            let (mut joined, contents) = (Joined::default(), vec![0; len]);
            (0..100)
                .filter(|_| joined.push(&datagram(&contents, 1), most))
                .count()
        };
        assert_eq!(pushed(100, 8), 8);
        assert_eq!(pushed(100, 1000), MOST);
        assert_eq!(pushed(1200, 64), MAX_LEN / 1200);
    }
}
