//! Packets of SCTP, as they are between it and DTLS.

/// The common header: ports, verification tag, checksum (RFC 9260 §3.1).
pub(crate) const HEADER: usize = 12;

/// The types of chunks that are looked at (RFC 9260 §3.2).
pub(crate) const DATA: u8 = 0;
pub(crate) const SACK: u8 = 3;
pub(crate) const HEARTBEAT: u8 = 4;
pub(crate) const HEARTBEAT_ACK: u8 = 5;

/// The chunks of a packet, without their padding.
pub(crate) fn chunks(packet: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = packet.get(HEADER..).unwrap_or_default();
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_be_bytes([*rest.get(2)?, *rest.get(3)?]));
        let chunk = rest.get(..length).filter(|c| c.len() >= 4)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(chunk)
    })
}

/// Pads the last chunk.
pub(crate) fn pad(packet: &mut Vec<u8>) {
    packet.resize(packet.len().next_multiple_of(4), 0);
}

/// The checksum (RFC 9260 appendix A).
static CRC32C: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI);

/// Writes the checksum of a packet that was changed.
pub(crate) fn seal(packet: &mut [u8]) {
    packet[8..HEADER].fill(0);
    let checksum = CRC32C.checksum(packet);
    packet[8..HEADER].copy_from_slice(&checksum.to_le_bytes());
}
