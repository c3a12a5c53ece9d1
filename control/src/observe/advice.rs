//! What to do about each way to lose a frame.

use dataplane::verdict::DropReason;

/// One sentence for the operator.
#[must_use]
pub const fn advice(reason: DropReason) -> &'static str {
    use DropReason as R;
    match reason {
        R::Policy => {
            "if it is wanted, allow it: see the suggested change, or `ringfence explain SRC DST SERVICE`"
        }
        R::Rejected => "as for `policy`; the sender was told, so that it fails at once instead of timing out",
        R::Revoked => "nothing, if the change of policy was meant; else `ringfence policy rollback`",
        R::NoPolicy => "publish a policy: `ringfence policy publish FILE`, or `policy:` in the configuration",
        R::SpoofedSource => {
            "give the workload this address (or MAC address, or wire) in the inventory, or find who forges it; \
             `source_check: known` lets unknown addresses in"
        }
        R::ArpInvalid => "look for a wrong address on the sender, or for ARP spoofing",
        R::NdInvalid => "look for a rogue router or a forged neighbour on that side",
        R::EtherType => "if the protocol is wanted, name its EtherType in the policy (`ether_types`)",
        R::Truncated => {
            "look for a damaged link or a broken sender; the frame is shorter than its headers say"
        }
        R::VlanDepth => "remove a layer of VLAN tags before this wire; two are the most",
        R::IpHeader => "look for a broken or hostile sender; no stack sends this",
        R::IpChecksum => "look for a damaged link, or a sender whose checksum offload is broken",
        R::IpOption => "stop the sender from using source routing or IP options",
        R::ExtensionHeader => {
            "look at what the sender does: more than eight extension headers, or out of order"
        }
        R::TransportHeader => "look for a broken or hostile sender; no stack sends this",
        R::FragmentTiny | R::FragmentOverlap => "look for an attack: no stack fragments like this",
        R::FragmentNoHead => "look for loss on the path before this wire, or lower the sender's packet size",
        R::FragmentTableFull => "look for a flood of fragments, or lower the senders' packet size",
        R::FragmentOfDropped => "nothing here: see why the first fragment was dropped",
        R::TcpNoFlow => {
            "nothing, for stray segments after a connection's end; if connections break, see whether they began before \
             the daemon (`flows.pickup_ms`) or take another way back"
        }
        R::TcpFlags => "look for a port scan",
        R::TcpWindow => "look for a forged segment, or for a path that only this wire sees half of",
        R::TcpChallenge => "look for somebody who tries to reset or take over connections",
        R::TcpState => "look for a path that only this wire sees half of, or for a port used again too soon",
        R::IcmpNoFlow => "nothing, if it is rare; else look for forged errors or asymmetric routing",
        R::FlowTableFull => "raise `flows.capacity`, or look for a flood of new flows",
        R::FlowContended => {
            "nothing, if it is rare: both directions met at one moment, and the sender repeats it"
        }
        R::TransmitFull => "the other port is too slow: look at its link, its queues and `frames_per_queue`",
        R::TooBig => "make the MTU of both ports equal, or lower the sender's",
        R::PortDown => "bring the other port up: `ringfence status` names it",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_one_line_of_advice() {
        for reason in DropReason::ALL {
            let text = advice(*reason);
            assert!(text.len() > 15 && !text.contains("  ") && !text.ends_with('.'), "{reason}: {text}");
        }
    }
}
