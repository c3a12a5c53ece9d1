//! Real traffic from real kernel sockets, opened inside the hosts' namespaces.

pub(crate) mod echo;
pub(crate) mod http;
pub(crate) mod probe;
pub(crate) mod raw;
pub(crate) mod stream;
pub(crate) mod turns;
pub(crate) mod witness;

/// `len` bytes that differ from their neighbours and from those of another `seed`, so that a lost, repeated or
/// swapped piece cannot go unseen.
pub(crate) fn pattern(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        // xorshift64: any generator would do, nobody is to be surprised.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_be_bytes());
    }
    bytes.truncate(len);
    bytes
}
