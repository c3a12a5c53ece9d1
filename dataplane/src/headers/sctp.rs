//! The SCTP common header (RFC 9260 3.1).

use super::Ports;
use crate::verdict::DropReason;

/// Reads the common header at the start of `packet`; `short` is why one that ends early is dropped. Port 0 is invalid
/// (RFC 9260 3.1).
pub(super) fn parse(packet: &[u8], short: DropReason) -> Result<Ports, DropReason> {
    let [s0, s1, d0, d1, ..]: [u8; 12] = *packet.first_chunk().ok_or(short)?;
    let ports = Ports { source: u16::from_be_bytes([s0, s1]), destination: u16::from_be_bytes([d0, d1]) };
    if ports.source == 0 || ports.destination == 0 {
        return Err(DropReason::TransportHeader);
    }
    Ok(ports)
}
