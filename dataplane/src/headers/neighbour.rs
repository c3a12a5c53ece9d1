//! Neighbour discovery (RFC 4861): the checks of the message itself. Who may send it is for the packet path.

use super::icmpv6::Context;
use super::{Address, Mac, Neighbour, bytes};
use crate::verdict::DropReason;

const ROUTER_SOLICIT: u8 = 133;
const ROUTER_ADVERT: u8 = 134;
const NEIGHBOUR_SOLICIT: u8 = 135;
const NEIGHBOUR_ADVERT: u8 = 136;

const SOURCE_LINK_ADDRESS: u8 = 1;
const TARGET_LINK_ADDRESS: u8 = 2;

/// Checks what RFC 4861 6.1, 7.1 and 8.1 demand of the bytes and the IPv6 header, but the ICMP checksum. A message
/// with a fragment header, even an atomic one, is invalid (RFC 6980 5).
pub(super) fn parse(kind: u8, code: u8, message: &[u8], context: &Context) -> Result<Neighbour, DropReason> {
    check(kind, code, message, context).ok_or(DropReason::NdInvalid)
}

fn check(kind: u8, code: u8, message: &[u8], context: &Context) -> Option<Neighbour> {
    if context.hop_limit != 255 || code != 0 || context.has_fragment_header {
        return None;
    }
    let fixed_len = match kind {
        ROUTER_SOLICIT => 8,
        ROUTER_ADVERT => 16,
        NEIGHBOUR_SOLICIT | NEIGHBOUR_ADVERT => 24,
        _ => 40,
    };
    let options = message.get(fixed_len..)?;
    let wanted = match kind {
        NEIGHBOUR_ADVERT | 137 => TARGET_LINK_ADDRESS,
        _ => SOURCE_LINK_ADDRESS,
    };
    let link_address = link_address(options, wanted)?;
    let Context { source, destination, .. } = *context;
    let target = match kind {
        ROUTER_SOLICIT | ROUTER_ADVERT => source,
        _ => Address::v6(bytes(message, 8)?),
    };
    let from_nobody = source.is_unspecified_v6();
    let valid = match kind {
        ROUTER_SOLICIT => !(from_nobody && link_address.is_some()),
        ROUTER_ADVERT => source.is_link_local_v6(),
        NEIGHBOUR_SOLICIT => {
            let detection = link_address.is_none() && is_solicited_node(destination);
            is_host(target) && (!from_nobody || detection)
        }
        NEIGHBOUR_ADVERT => {
            let solicited = message[4] & 0x40 != 0;
            is_host(target) && !from_nobody && !(destination.is_multicast() && solicited)
        }
        _ => {
            let toward = Address::v6(bytes(message, 24)?);
            source.is_link_local_v6() && is_host(toward) && (target == toward || target.is_link_local_v6())
        }
    };
    valid.then_some(Neighbour { target, link_address })
}

/// Whether one host may own the address; a mapped IPv4 address would be taken for another host's (see [`Address`]).
const fn is_host(address: Address) -> bool {
    !address.is_multicast() && !address.is_unspecified_v6() && !address.is_v4()
}

/// Whether the address is in `ff02::1:ff00:0/104` (RFC 4291 2.7.1).
const fn is_solicited_node(address: Address) -> bool {
    address.bits() >> 24 == 0xff02_0000_0000_0000_0000_0001_ff00_0000 >> 24
}

/// Walks the options: each must have a length above zero and end inside the message; a link-layer address of the
/// wanted kind must have Ethernet's length and, if repeated, say the same. `None` if invalid.
fn link_address(mut options: &[u8], wanted: u8) -> Option<Option<Mac>> {
    let mut found = None;
    while !options.is_empty() {
        let [kind, units] = *options.first_chunk()?;
        let option = options.get(..usize::from(units) * 8).filter(|option| !option.is_empty())?;
        if kind == wanted {
            let [_, _, mac @ ..]: [u8; 8] = option.try_into().ok()?;
            if found.is_some_and(|earlier| earlier != mac) {
                return None;
            }
            found = Some(mac);
        }
        options = &options[option.len()..];
    }
    Some(found)
}
