//! Empty messages, which sctp-proto 0.10 cannot send.
//!
//! An empty message travels as one zero byte with a payload protocol identifier of its own (RFC 8831 §6.6). str0m
//! sets the identifier but passes no byte, and sctp-proto then makes no chunk yet counts the stream sequence
//! number, so that the peer waits for ever for the message and for all behind it. The identifier cannot be set
//! through str0m's API. So an empty message is written as a random [`token`] that only this process knows, and
//! each chunk that carries the token is replaced, after SCTP and before DTLS, with what should have been sent.

use crate::sctp::{DATA, HEADER, chunks, pad, seal};
use std::{
    hash::{BuildHasher, RandomState},
    sync::OnceLock,
};

/// The length of a token; a real message of this length is compared with it.
pub(crate) const TOKEN_LEN: usize = 16;

const DATA_HEADER: usize = 16;
const BEGINNING_AND_ENDING: u8 = 0b11;
const PPID_STRING: u32 = 51;
const PPID_BINARY: u32 = 53;
const PPID_STRING_EMPTY: u32 = 56;
const PPID_BINARY_EMPTY: u32 = 57;

/// What stands for an empty message between str0m and DTLS.
pub(crate) fn token() -> &'static [u8; TOKEN_LEN] {
    static TOKEN: OnceLock<[u8; TOKEN_LEN]> = OnceLock::new();
    TOKEN.get_or_init(|| {
        let random = RandomState::new();
        let mut token = [0; TOKEN_LEN];
        token[..8].copy_from_slice(&random.hash_one(1).to_le_bytes());
        token[8..].copy_from_slice(&random.hash_one(2).to_le_bytes());
        token
    })
}

/// The SCTP packet with each token replaced by an empty message, or `None` if it has none.
pub(crate) fn mend(packet: &[u8]) -> Option<Vec<u8>> {
    chunks(packet).any(is_token).then(|| {
        let mut mended = packet[..HEADER].to_vec();
        for chunk in chunks(packet) {
            let start = mended.len();
            mended.extend_from_slice(chunk);
            if is_token(chunk) {
                let ppid = match ppid(chunk) {
                    PPID_STRING => PPID_STRING_EMPTY,
                    _ => PPID_BINARY_EMPTY,
                };
                mended.truncate(start + DATA_HEADER);
                mended[start + 2..start + 4].copy_from_slice(&(DATA_HEADER as u16 + 1).to_be_bytes());
                mended[start + 12..start + 16].copy_from_slice(&ppid.to_be_bytes());
                mended.push(0);
            }
            pad(&mut mended);
        }
        seal(&mut mended);
        mended
    })
}

fn is_token(chunk: &[u8]) -> bool {
    chunk.len() == DATA_HEADER + TOKEN_LEN
        && chunk[0] == DATA
        && chunk[1] & BEGINNING_AND_ENDING == BEGINNING_AND_ENDING
        && matches!(ppid(chunk), PPID_STRING | PPID_BINARY)
        && chunk[DATA_HEADER..] == token()[..]
}

fn ppid(chunk: &[u8]) -> u32 {
    chunk[12..16].iter().fold(0, |ppid, b| ppid << 8 | u32::from(*b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(ppid: u32, payload: &[u8]) -> Vec<u8> {
        let mut chunk = vec![DATA, BEGINNING_AND_ENDING];
        chunk.extend_from_slice(&((DATA_HEADER + payload.len()) as u16).to_be_bytes());
        chunk.extend_from_slice(&[0, 0, 0, 9, 0, 1, 0, 2]);
        chunk.extend_from_slice(&ppid.to_be_bytes());
        chunk.extend_from_slice(payload);
        chunk.resize(chunk.len().next_multiple_of(4), 0);
        chunk
    }

    #[test]
    fn only_tokens_are_replaced() {
        let mut packet = vec![7; HEADER];
        packet.extend(data(PPID_BINARY, b"abc"));
        assert_eq!(mend(&packet), None);
        packet.extend(data(PPID_STRING, token()));
        packet.extend(data(PPID_BINARY, token()));
        packet.extend(data(PPID_STRING, b"0123456789abcdef"));
        let mended = mend(&packet).unwrap();
        let chunks: Vec<_> = chunks(&mended).collect();
        assert_eq!(chunks.len(), 4);
        assert_eq!(&chunks[0][DATA_HEADER..], b"abc");
        assert_eq!(
            (ppid(chunks[1]), &chunks[1][DATA_HEADER..]),
            (PPID_STRING_EMPTY, &[0][..])
        );
        assert_eq!(
            (ppid(chunks[2]), &chunks[2][DATA_HEADER..]),
            (PPID_BINARY_EMPTY, &[0][..])
        );
        assert_eq!(&chunks[3][DATA_HEADER..], b"0123456789abcdef");
        assert_eq!(&chunks[1][4..12], &[0, 0, 0, 9, 0, 1, 0, 2]);
        assert_eq!(&mended[..8], &packet[..8]);
    }

    #[test]
    fn a_malformed_packet_is_left_alone() {
        for packet in [
            &[][..],
            &[0; 5],
            &[0; HEADER],
            &[0; HEADER + 3],
            &[0; HEADER + 40],
        ] {
            assert_eq!(mend(packet), None);
        }
        let mut truncated = vec![0; HEADER];
        truncated.extend_from_slice(&data(PPID_STRING, token())[..20]);
        assert_eq!(mend(&truncated), None);
    }
}
