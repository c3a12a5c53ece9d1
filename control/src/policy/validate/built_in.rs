//! What ringfence brings itself: the infrastructure tier, and names of EtherTypes.

use std::collections::HashMap;

use super::Context;
use super::enforcement::unknown_word;
use crate::policy::diagnostics::{Code, Finding, Span, quote};
use crate::policy::service;
use crate::policy::source::{Spanned, Word, Words};
use crate::policy::valid::{Action, Gates, Origin, Requirement, Rule, Selector};

/// A rule of the infrastructure tier.
pub(crate) struct BuiltIn {
    /// Its name, after `infrastructure/`.
    pub(crate) name: &'static str,
    /// What it is for.
    pub(crate) meaning: &'static str,
    /// What is spoken.
    services: &'static [&'static str],
    /// Whether only workloads may begin; otherwise any address may, even the unspecified one.
    from_workloads: bool,
}

/// The infrastructure tier. Multicast listener messages go with neighbour discovery, which cannot work without them
/// (RFC 4861 7.2.1).
pub(crate) const BUILT_IN: &[BuiltIn] = &[
    BuiltIn {
        name: "dns",
        meaning: "Names: UDP and TCP port 53, from every workload.",
        services: &["udp/53", "tcp/53"],
        from_workloads: true,
    },
    BuiltIn {
        name: "dhcp",
        meaning: "Addresses: DHCP (UDP ports 67 and 68) and DHCPv6 (UDP ports 546 and 547).",
        services: &["udp/67-68", "udp/546-547"],
        from_workloads: false,
    },
    BuiltIn {
        name: "ntp",
        meaning: "Time: UDP port 123, from every workload.",
        services: &["udp/123"],
        from_workloads: true,
    },
    BuiltIn {
        name: "neighbour-discovery",
        meaning: "IPv6 on the link: router and neighbour messages (ICMPv6 types 133 to 136) and multicast listener \
                  messages (130 to 132, and 143).",
        services: &["icmpv6/133-136", "icmpv6/130-132", "icmpv6/143"],
        from_workloads: false,
    },
    BuiltIn {
        name: "igmp",
        meaning: "IPv4 multicast membership: IGMP.",
        services: &["igmp"],
        from_workloads: false,
    },
];

/// The rules that are not turned off.
pub(super) fn infrastructure(switches: &[(Word, Spanned<bool>)], context: &mut Context<'_, '_>) -> Vec<Rule> {
    let mut seen: HashMap<&str, (Span, bool)> = HashMap::new();
    for (name, on) in switches {
        if !BUILT_IN.iter().any(|rule| rule.name == name.value) {
            unknown_word(name, "a built-in rule", BUILT_IN.iter().map(|rule| rule.name), context);
        }
        if let Some((first, _)) = seen.insert(&name.value, (name.span, on.value)) {
            let text = format!("the built-in rule {} is switched twice", quote(&name.value));
            context.sink.push(Finding::error(Code::DuplicateName, name.span, text).also(first, "first here"));
        }
    }
    let on = |rule: &&BuiltIn| seen.get(rule.name).is_none_or(|(_, on)| *on);
    BUILT_IN.iter().filter(on).map(built).collect()
}

fn built(rule: &BuiltIn) -> Rule {
    let mut services: Vec<_> = rule.services.iter().filter_map(|text| text.parse().ok()).collect();
    service::normalise(&mut services);
    let from = if rule.from_workloads { vec![Requirement::AnyWorkload] } else { Vec::new() };
    Rule {
        name: format!("infrastructure/{}", rule.name),
        from: vec![Selector { requirements: from }],
        to: vec![Selector::default()],
        services,
        action: Action::Allow,
        gates: Gates { egress: true, ingress: true },
        origin: Origin { file: "<built-in>".into(), line: 1, column: 1 },
        ..Rule::default()
    }
}

/// EtherTypes that have a name here (IEEE 802 registry).
const ETHER_TYPES: &[(&str, u16)] = &[
    ("aoe", 0x88a2),
    ("cfm", 0x8902),
    ("eapol", 0x888e),
    ("ethercat", 0x88a4),
    ("fcoe", 0x8906),
    ("fip", 0x8914),
    ("goose", 0x88b8),
    ("lldp", 0x88cc),
    ("macsec", 0x88e5),
    ("profinet", 0x8892),
    ("ptp", 0x88f7),
    ("roce", 0x8915),
    ("slow-protocols", 0x8809),
    ("wake-on-lan", 0x0842),
];

/// EtherTypes that are judged by what they carry, so that passing them by number means nothing.
const JUDGED: &[(u16, &str)] = &[
    (0x0800, "IPv4 is judged by rules"),
    (0x86dd, "IPv6 is judged by rules"),
    (0x0806, "ARP is checked against the inventory"),
    (0x8100, "VLAN tags are looked through"),
    (0x88a8, "VLAN tags are looked through"),
];

/// EtherTypes whose frames carry IP packets or whole frames: MPLS, PPPoE sessions, NSH, transparent bridging.
const CARRIERS: &[u16] = &[0x8847, 0x8848, 0x8864, 0x894f, 0x6558];

/// The names of EtherTypes.
fn ether_type_names() -> impl Iterator<Item = &'static str> + Clone {
    ETHER_TYPES.iter().map(|(name, _)| *name)
}

/// The EtherTypes that pass, sorted, each once.
pub(super) fn ether_types(words: &Words, context: &mut Context<'_, '_>) -> Vec<u16> {
    let mut types: Vec<u16> = words.0.iter().filter_map(|word| ether_type(word, context)).collect();
    types.sort_unstable();
    types.dedup();
    types
}

fn ether_type(word: &Word, context: &mut Context<'_, '_>) -> Option<u16> {
    let text = word.value.as_str();
    if let Some((_, number)) = ETHER_TYPES.iter().find(|(name, _)| *name == text) {
        return Some(*number);
    }
    let Some(digits) = text.strip_prefix("0x") else {
        unknown_word(
            word,
            "the name of an EtherType, nor a number such as `0x88cc`",
            ether_type_names(),
            context,
        );
        return None;
    };
    let number = u16::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+'));
    // Below 0x0600 the field is a length (IEEE 802.3, 3.2.6).
    let Some(number) = number.filter(|number| *number >= 0x0600) else {
        let message = format!("{} is not an EtherType: those run from 0x0600 to 0xffff", quote(text));
        context.error(Code::BadEtherType, word.span, message);
        return None;
    };
    if let Some((_, why)) = JUDGED.iter().find(|(judged, _)| *judged == number) {
        context.error(
            Code::BadEtherType,
            word.span,
            format!("{} cannot be passed as a whole: {why}", quote(text)),
        );
        return None;
    }
    if CARRIERS.contains(&number) {
        let message = format!("frames of EtherType {} carry IP packets, which no rule will see", quote(text));
        context.sink.push(Finding::warning(Code::CarriesIp, word.span, message));
    }
    Some(number)
}
