//! The words that all stages share: epoch, rule, verdict, drop reason.

mod answer;

use core::fmt;

pub use answer::{Answer, DraftAnswers, Terms};

/// The number of a published policy table, below 2^31. The first is 1; 0 means "none yet". Never reused within a
/// process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u32);

/// The rule, or named default, that caused a decision: an index into the list of names that the table's compiler
/// returned beside the table. The ids below [`RuleId::FIRST`] are the named defaults, the same in every table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(pub u32);

impl RuleId {
    /// `default/deny`: a managed endpoint in mode `full`, and nothing matched.
    pub const DEFAULT_DENY: Self = Self(0);
    /// `default/quarantine`: a workload without labels, and no infrastructure rule matched.
    pub const QUARANTINE: Self = Self(1);
    /// `default/unmanaged`: neither end is a workload, and nothing matched.
    pub const UNMANAGED_DENY: Self = Self(2);
    /// `default/unmanaged-peer`: this gate's endpoint is no workload but the other end is; that end's gate decides.
    pub const UNMANAGED_PASS: Self = Self(3);
    /// `default/selective`: a workload in mode `selective`, and no deny matched.
    pub const SELECTIVE_PASS: Self = Self(4);
    /// `default/off`: a workload in mode `off`; no rule was looked at.
    pub const OFF_PASS: Self = Self(5);
    /// `default/draining`: policy allows a live flow no more, and the rule that had allowed it lets it live for some
    /// seconds yet.
    pub const DRAINING: Self = Self(6);
    /// `default/kept`: policy allows a live flow no more, and the rule that had allowed it lets it live to its end.
    pub const KEPT: Self = Self(7);
    /// The first id of a rule that a user (or the infrastructure tier) wrote.
    pub const FIRST: Self = Self(8);

    /// Names of the ids below [`RuleId::FIRST`], in order.
    pub const DEFAULT_NAMES: [&'static str; 8] = [
        "default/deny",
        "default/quarantine",
        "default/unmanaged",
        "default/unmanaged-peer",
        "default/selective",
        "default/off",
        "default/draining",
        "default/kept",
    ];
}

/// The two places where a flow is decided: its source's egress gate, then its destination's ingress gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Gate {
    /// Leaving the source.
    Egress,
    /// Entering the destination.
    Ingress,
}

impl Gate {
    /// `egress` or `ingress`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Egress => "egress",
            Self::Ingress => "ingress",
        }
    }
}

/// The answer of policy for a new flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// Both gates are open.
    Allow,
    /// At least one gate is closed; frames are dropped silently.
    Deny,
    /// At least one gate is closed, and the sender is told: TCP by RST, the rest by an ICMP error.
    Reject,
}

impl Verdict {
    /// `allow`, `deny` or `reject`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Reject => "reject",
        }
    }

    /// Whether both gates are open.
    #[must_use]
    pub const fn is_allow(self) -> bool {
        matches!(self, Self::Allow)
    }
}

/// What becomes of a live flow once policy allows it no more; said by the rule that had allowed it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnRevoke {
    /// Both directions die at the next packet.
    #[default]
    Cut,
    /// It lives on for so many seconds, then it is cut.
    Drain(u16),
    /// It lives on until it ends by itself.
    Keep,
}

/// A verdict with its cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What happens to the flow.
    pub verdict: Verdict,
    /// The gate that decided: for a deny the gate that is closed (egress first), for an allow the ingress gate
    /// unless that one passed by a default and the egress gate by a rule.
    pub gate: Gate,
    /// The rule or default that opened or closed `gate`.
    pub rule: RuleId,
    /// A gate in mode `observe` would have denied; `potential` is the rule or default that would have.
    pub potential: Option<RuleId>,
    /// For an allow: what the rule says of the flow's end, should a later policy not allow it.
    pub on_revoke: OnRevoke,
}

/// Which wire of this process; an index, at most [`WireId::MAX_WIRES`] - 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WireId(pub u16);

impl WireId {
    /// The most wires one process serves.
    pub const MAX_WIRES: u16 = 1024;
}

/// The side of a wire a frame came in on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Towards the workloads the wire protects.
    Inside,
    /// Towards the network.
    Outside,
}

impl Side {
    /// `inside` or `outside`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inside => "inside",
            Self::Outside => "outside",
        }
    }

    /// The other side.
    #[must_use]
    pub const fn peer(self) -> Self {
        match self {
            Self::Inside => Self::Outside,
            Self::Outside => Self::Inside,
        }
    }
}

macro_rules! drop_reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// Why a frame was lost: closed, one counter each. There is no other way to lose a frame.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum DropReason { $($(#[doc = $doc])+ $variant,)+ }

        impl DropReason {
            /// Every reason, in counter order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];
            /// How many reasons there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The stable name: in counters, JSON and on the terminal.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// One sentence for people, from the variant's documentation.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+),)+ }
            }
        }
    };
}

drop_reasons! {
    /// Policy denies the flow; the rule or default is recorded beside.
    Policy = "policy",
    /// Policy denies the flow by a rule that has the sender told: TCP by RST, the rest by an ICMP error.
    Rejected = "rejected",
    /// A live flow was cut because the policy in force no longer allows it.
    Revoked = "revoked",
    /// No policy table has been published yet.
    NoPolicy = "no_policy",
    /// The source address belongs to no workload behind this side, or to another MAC address or wire.
    SpoofedSource = "spoofed_source",
    /// An ARP message whose sender does not own the address it claims, or that is malformed (RFC 826).
    ArpInvalid = "arp_invalid",
    /// A neighbour discovery message that RFC 4861 7.1 or RFC 6105 forbids here.
    NdInvalid = "nd_invalid",
    /// An EtherType that is not IPv4, IPv6 or ARP and that the policy does not name.
    EtherType = "ether_type",
    /// The frame ends before a header it promises.
    Truncated = "truncated",
    /// More than two VLAN tags.
    VlanDepth = "vlan_depth",
    /// An IP header that contradicts itself: version, header length, total length, or source address.
    IpHeader = "ip_header",
    /// The IPv4 header checksum is wrong (RFC 1122 3.2.1.2: discard silently).
    IpChecksum = "ip_checksum",
    /// IPv4 source routing or another option that is not passed, or IPv6 routing header type 0 (RFC 5095).
    IpOption = "ip_option",
    /// More IPv6 extension headers than the limit, or out of the order RFC 8200 4.1 demands.
    ExtensionHeader = "extension_header",
    /// A transport header that contradicts itself.
    TransportHeader = "transport_header",
    /// A first fragment without the whole transport header (RFC 1858, RFC 7112).
    FragmentTiny = "fragment_tiny",
    /// A fragment that overlaps another of its datagram (RFC 5722).
    FragmentOverlap = "fragment_overlap",
    /// A later fragment whose first one did not come in time.
    FragmentNoHead = "fragment_no_head",
    /// The table of fragmented datagrams is full.
    FragmentTableFull = "fragment_table_full",
    /// A fragment of a datagram whose first fragment was dropped.
    FragmentOfDropped = "fragment_of_dropped",
    /// A TCP segment that opens nothing and belongs to no flow.
    TcpNoFlow = "tcp_no_flow",
    /// TCP flags that no stack sends: SYN with FIN or RST, or none of SYN, RST and ACK.
    TcpFlags = "tcp_flags",
    /// A TCP segment outside the window or with an invalid acknowledgement.
    TcpWindow = "tcp_window",
    /// A RST or SYN inside a flow that fails the checks of RFC 5961.
    TcpChallenge = "tcp_challenge",
    /// A TCP segment that does not fit the state of its flow.
    TcpState = "tcp_state",
    /// An ICMP error about a flow that is not here, or a reply nobody asked for.
    IcmpNoFlow = "icmp_no_flow",
    /// The bucket of the flow table is full of flows that must not be evicted.
    FlowTableFull = "flow_table_full",
    /// Another worker held the flow, or ended it, at that very moment.
    FlowContended = "flow_contended",
    /// The transmit ring of the other port stayed full.
    TransmitFull = "transmit_full",
    /// The frame is larger than the other port can send.
    TooBig = "too_big",
    /// The other port is down or gone.
    PortDown = "port_down",
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
