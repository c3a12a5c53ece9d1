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

/// Stretches of addresses outside, with what is said between each and a workload.
type Outside<'t> = BTreeMap<&'t str, Vec<Stretch>>;
type Stretch = ((u32, u32), Conn);

/// What the analyser says of a directory.
#[derive(Default)]
struct Expected<'t> {
    pairs: BTreeMap<(&'t str, &'t str), Conn>,
    from_outside: Outside<'t>,
    to_outside: Outside<'t>,
    /// Every range of ports in it.
    ranges: Conn,
    /// Lines about what is no policy.
    others: usize,
}

fn expected(text: &str) -> Expected<'_> {
    let mut all = Expected::default();
    for (source, destination, text) in lines(text) {
        if source.starts_with('{') {
            all.others += 1;
            continue;
        }
        let conn = conn(text);
        all.ranges.extend(conn.iter().copied());
        match (outside(source), outside(destination)) {
            (Some(range), _) => all.from_outside.entry(destination).or_default().push((range, conn)),
            (_, Some(range)) => all.to_outside.entry(source).or_default().push((range, conn)),
            _ => {
                all.pairs.insert((source, destination), conn);
            }
        }
    }
    all
}

/// The workloads as the analyser folds them, with their IPv4 addresses.
type Peers = BTreeMap<String, Vec<IpAddr>>;

fn compare(estate: &Estate, name: &str, text: &str, tally: &mut Tally) {
    let mut peers = Peers::new();
    for workload in &estate.policy.workloads {
        let v4 = workload.addresses.iter().find(|address| address.is_ipv4()).expect("an IPv4 address");
        peers.entry(folded(workload)).or_default().push(*v4);
    }
    let expected = expected(text);
    if expected.others > 0 {
        tally.skip("what Ingress and Route objects add is not policy", expected.others);
    }
    let outside = expected.from_outside.keys().chain(expected.to_outside.keys());
    let named = expected.pairs.keys().flat_map(|(source, destination)| [source, destination]).chain(outside);
    let missing: BTreeSet<&&str> = named.filter(|peer| !peers.contains_key(**peer)).collect();
    missing.iter().for_each(|peer| tally.count(Some(format!("{name}: there is no workload {peer}"))));
    let probes = estate.probes(&expected.ranges);
    between_workloads(estate, name, &peers, &expected, &probes, tally);
    with_outside(estate, name, &peers, &expected, &probes, tally);
}

fn between_workloads(
    estate: &Estate,
    name: &str,
    peers: &Peers,
    expected: &Expected<'_>,
    probes: &[u32],
    tally: &mut Tally,
) {
    let nothing = Conn::new();
    for (source, from) in peers {
        for (destination, to) in peers.iter().filter(|(other, _)| *other != source) {
            let conn = expected.pairs.get(&(source.as_str(), destination.as_str())).unwrap_or(&nothing);
            let all = from.iter().flat_map(|from| to.iter().map(|to| (*from, *to, conn)));
            let wrong = wrong(estate, all, probes);
            tally.count(wrong.map(|how| format!("{name}: {source} => {destination}: {how}")));
        }
    }
}

fn with_outside(
    estate: &Estate,
    name: &str,
    peers: &Peers,
    expected: &Expected<'_>,
    probes: &[u32],
    tally: &mut Tally,
) {
    let stretches = expected.from_outside.values().chain(expected.to_outside.values()).flatten();
    let addresses = outside_addresses(estate, stretches);
    let (none, nothing) = (Vec::new(), Conn::new());
    for (peer, own) in peers {
        for (known, inward) in [(&expected.from_outside, true), (&expected.to_outside, false)] {
            let known = known.get(peer.as_str()).unwrap_or(&none);
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
            tally.count(wrong(estate, all, probes).map(|how| format!("{name}: {peer} {way}: {how}")));
        }
    }
}

/// Addresses outside: one of every stretch that neither policy nor expectation tells apart, unless a pod has it.
fn outside_addresses<'a>(estate: &Estate, ranges: impl Iterator<Item = &'a Stretch>) -> Vec<u32> {
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
