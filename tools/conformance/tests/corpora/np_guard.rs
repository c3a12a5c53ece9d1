//! The connectivity that np-guard's analyser expects of 141 directories of manifests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use control::policy::diagnostics::{Code, Severity};
use control::policy::valid::{ServiceRange, Workload};

use crate::estate::{Estate, SCTP, TCP, UDP, shown};
use crate::tally::Tally;

/// Directories that must be refused: their manifests have faults.
const FAULTY: &[&str] = &[
    "bad_netpols",
    "document_with_syntax_error",
    "malformed-pod-example-3",
    "np_bad_path_test_2",
    "onlineboutique_with_pods_severe_error",
];

/// Addresses from here on stand in for unknown ones, and belong to nobody outside.
const OUTSIDE_END: u32 = 240 << 24;

pub(crate) fn tally(folder: &Path) -> Tally {
    let mut tally = Tally::new(
        "np-guard",
        "an ordered pair of workloads, or of a workload and the outside, over all ports",
    );
    let outputs = folder.join("test_outputs/connlist");
    let mut names: Vec<String> = fs::read_dir(folder.join("tests"))
        .expect("the corpus holds tests")
        .map(|entry| entry.expect("a directory entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    for name in names {
        let expected = ["connlist", "exposure"]
            .iter()
            .find_map(|kind| fs::read_to_string(outputs.join(format!("{name}_{kind}_output.txt"))).ok());
        directory(&folder.join("tests").join(&name), &name, expected.as_deref(), &mut tally);
    }
    tally
}

fn directory(path: &Path, name: &str, expected: Option<&str>, tally: &mut Tally) {
    let loaded = Estate::load(&[path.to_owned()]);
    let faulty = FAULTY.contains(&name) || name.contains("_bad_path_");
    match (loaded, expected) {
        (Err(faults), _) if faults.iter().any(|one| one.code == Code::Unsupported) => {
            let fault = faults.iter().find(|one| one.code == Code::Unsupported).expect("just found");
            let cases = expected.map_or(1, |text| lines(text).count());
            tally.skip(format!("refused: {}", fault.message), cases);
        }
        (Err(_), _) if faulty => tally.count(None),
        (Err(faults), None) => {
            let first = faults.iter().find(|one| one.severity == Severity::Error).expect("a fault");
            tally.skip(format!("refused, and nothing is expected of it: {}", first.code.meaning()), 1);
        }
        (Err(faults), _) => tally.count(Some(format!("{name} is refused: {faults}"))),
        (Ok(_), _) if faulty => tally.count(Some(format!("{name} is not refused"))),
        (Ok(estate), Some(expected)) => compare(&estate, name, expected, tally),
        (Ok(_), None) => tally.count(None),
    }
}

/// What the analyser says of one pair.
type Conn = Vec<ServiceRange>;

/// The lines about connections: the part before other analyses.
fn lines(text: &str) -> impl Iterator<Item = (&str, &str, &str)> {
    let text = text.split("Exposure Analysis Result:").next().unwrap_or("");
    text.lines().filter_map(|line| {
        let (source, rest) = line.split_once(" => ")?;
        let (destination, conn) = rest.rsplit_once(" : ")?;
        Some((source.trim(), destination.trim(), conn.trim()))
    })
}

fn conn(text: &str) -> Conn {
    let whole = |protocol: u32| ServiceRange { first: protocol << 16 | 1, last: protocol << 16 | 0xffff };
    if text == "All Connections" {
        return [TCP, UDP, SCTP].map(whole).into();
    }
    let mut protocol = 0;
    let mut all = Vec::new();
    for part in text.split(',') {
        let (name, ports) = part.split_once(' ').unwrap_or(("", part));
        protocol = match name {
            "TCP" => TCP,
            "UDP" => UDP,
            "SCTP" => SCTP,
            "" => protocol,
            other => panic!("the protocol {other} of {text}"),
        };
        let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
        let port = |text: &str| text.parse::<u32>().unwrap_or_else(|_| panic!("the port {text}"));
        all.push(ServiceRange { first: protocol << 16 | port(first), last: protocol << 16 | port(last) });
    }
    all
}

/// `namespace/name[Kind]` as the analyser folds pods.
fn folded(workload: &Workload) -> String {
    let label = |key: &str| workload.labels.get(key).and_then(|values| values.first());
    let namespace = label("k8s/namespace").expect("a pod has a namespace");
    match (label("k8s/owner"), label("k8s/owner-kind")) {
        (Some(name), kind) => format!("{namespace}/{name}[{}]", kind.map_or("Pod", String::as_str)),
        _ => format!("{}[Pod]", workload.name),
    }
}

fn outside(peer: &str) -> Option<(u32, u32)> {
    let (first, last) = peer.strip_suffix("[External]")?.split_once('-')?;
    let bits = |text: &str| text.parse::<Ipv4Addr>().map(Ipv4Addr::to_bits).expect("an address");
    Some((bits(first), bits(last)))
}

fn compare(estate: &Estate, name: &str, expected: &str, tally: &mut Tally) {
    let mut peers: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
    for workload in &estate.policy.workloads {
        let v4 = workload.addresses.iter().find(|address| address.is_ipv4()).expect("an IPv4 address");
        peers.entry(folded(workload)).or_default().push(*v4);
    }
    let mut pairs: BTreeMap<(&str, &str), Conn> = BTreeMap::new();
    let mut from_outside: BTreeMap<&str, Vec<((u32, u32), Conn)>> = BTreeMap::new();
    let mut to_outside: BTreeMap<&str, Vec<((u32, u32), Conn)>> = BTreeMap::new();
    let mut more = Vec::new();
    for (source, destination, text) in lines(expected) {
        if source.starts_with('{') {
            tally.skip("what Ingress and Route objects add is not policy", 1);
            continue;
        }
        let conn = conn(text);
        more.extend(conn.iter().copied());
        let inside = if outside(source).is_some() { destination } else { source };
        if [source, destination].iter().any(|peer| outside(peer).is_none() && !peers.contains_key(*peer)) {
            tally.count(Some(format!("{name}: {source} => {destination}: no such workload")));
            continue;
        }
        match (outside(source), outside(destination)) {
            (Some(range), _) => from_outside.entry(inside).or_default().push((range, conn)),
            (_, Some(range)) => to_outside.entry(inside).or_default().push((range, conn)),
            _ => {
                pairs.insert((source, destination), conn);
            }
        }
    }
    let probes = estate.probes(&more);
    let addresses = outside_addresses(estate, from_outside.values().chain(to_outside.values()).flatten());
    for (source, from) in &peers {
        for (destination, to) in peers.iter().filter(|(other, _)| *other != source) {
            let conn = pairs.get(&(source.as_str(), destination.as_str())).cloned().unwrap_or_default();
            let all = from.iter().flat_map(|from| to.iter().map(|to| (*from, *to, &conn)));
            tally.count(
                wrong(estate, all, &probes).map(|how| format!("{name}: {source} => {destination}: {how}")),
            );
        }
    }
    let empty = Vec::new();
    for (peer, own) in &peers {
        for (known, inward) in [(&from_outside, true), (&to_outside, false)] {
            let known = known.get(peer.as_str()).unwrap_or(&empty);
            let nothing = Conn::new();
            let conn = |address: u32| {
                let found = known.iter().find(|((first, last), _)| (*first..=*last).contains(&address));
                found.map_or(&nothing, |(_, conn)| conn)
            };
            let all = addresses.iter().flat_map(|address| own.iter().map(move |own| (*address, *own)));
            let all = all.map(|(address, own)| {
                let far = IpAddr::V4(Ipv4Addr::from_bits(address));
                let (from, to) = if inward { (far, own) } else { (own, far) };
                (from, to, conn(address))
            });
            let way = if inward { "from outside" } else { "to outside" };
            tally.count(wrong(estate, all, &probes).map(|how| format!("{name}: {peer} {way}: {how}")));
        }
    }
}

/// Addresses outside: one of every stretch that neither policy nor expectation tells apart, unless a pod has it.
fn outside_addresses<'a>(estate: &Estate, ranges: impl Iterator<Item = &'a ((u32, u32), Conn)>) -> Vec<u32> {
    let mut cuts: BTreeSet<u32> = [1].into();
    cuts.extend(ranges.flat_map(|((first, last), _)| [*first, last.wrapping_add(1)]));
    for prefix in estate.policy.networks.iter().flat_map(|network| &network.prefixes) {
        if let IpAddr::V4(first) = prefix.address {
            let size = u32::MAX.checked_shr(prefix.len.into()).unwrap_or(0);
            cuts.extend([first.to_bits(), (first.to_bits() | size).wrapping_add(1)]);
        }
    }
    let taken = |address: u32| {
        let address = IpAddr::V4(Ipv4Addr::from_bits(address));
        estate.policy.workloads.iter().any(|workload| workload.addresses.contains(&address))
    };
    cuts.into_iter().filter(|address| *address < OUTSIDE_END && !taken(*address)).collect()
}

/// How ringfence differs from what is expected.
fn wrong<'a>(
    estate: &Estate,
    flows: impl Iterator<Item = (IpAddr, IpAddr, &'a Conn)>,
    probes: &[u32],
) -> Option<String> {
    for (source, destination, conn) in flows {
        for service in probes {
            let expected = conn.iter().any(|range| (range.first..=range.last).contains(service));
            if estate.allows(source, destination, *service) != expected {
                let word = if expected { "allowed" } else { "denied" };
                return Some(format!("{source} -> {destination} {} should be {word}", shown(*service)));
            }
        }
    }
    None
}
