//! How long a silent flow is remembered, milliseconds. All fit an `i32`, so deadlines compare modulo 2^32.

use crate::headers::protocol;

/// SYN seen, no answer: Linux `nf_conntrack_tcp_timeout_syn_sent`.
pub const TCP_SYN_SENT: u32 = 120_000;
/// SYN-ACK seen, handshake not complete: Linux `nf_conntrack_tcp_timeout_syn_recv`.
pub const TCP_SYN_RECEIVED: u32 = 60_000;
/// Established: the least that RFC 5382 REQ-5 allows (2 h 4 min: the default keep-alive of 2 h and its retries).
/// Linux keeps 5 days; in a table that never evicts established flows, dead ones would stay as long.
pub const TCP_ESTABLISHED: u32 = 7_440_000;
/// One side closed: the 4 minutes that RFC 5382 REQ-5 asks of closing sessions. Linux's 60 s for `close_wait` cuts
/// half-closed transfers short.
pub const TCP_CLOSING: u32 = 240_000;
/// Both sides closed, last ACK missing: Linux `nf_conntrack_tcp_timeout_last_ack`.
pub const TCP_LAST_ACK: u32 = 30_000;
/// Both sides closed: Linux `nf_conntrack_tcp_timeout_time_wait`; a new SYN reopens at once.
pub const TCP_TIME_WAIT: u32 = 120_000;
/// Reset: Linux `nf_conntrack_tcp_timeout_close`.
pub const TCP_CLOSED: u32 = 10_000;
/// A datagram flow without a reply: Linux `nf_conntrack_udp_timeout`.
pub const UNREPLIED: u32 = 30_000;
/// A datagram flow with packets both ways: Linux `nf_conntrack_udp_timeout_stream`; RFC 4787 REQ-5 asks for at least
/// 2 min.
pub const REPLIED: u32 = 180_000;
/// ICMP queries and other ICMP messages: Linux `nf_conntrack_icmp_timeout`.
pub const ICMP: u32 = 30_000;
/// Every other protocol, replied or not: Linux `nf_conntrack_generic_timeout`.
pub const OTHER: u32 = 600_000;

/// The time-out of a flow that is not TCP.
#[must_use]
pub const fn datagram(protocol_number: u8, replied: bool) -> u32 {
    match (protocol_number, replied) {
        (protocol::UDP, false) => UNREPLIED,
        (protocol::UDP, true) => REPLIED,
        (protocol::ICMP | protocol::ICMPV6, _) => ICMP,
        _ => OTHER,
    }
}
