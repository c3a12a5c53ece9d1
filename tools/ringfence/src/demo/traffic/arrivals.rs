//! What really arrived at a host, by the counters of its own kernel: stricter than "the program saw nothing",
//! because it counts the lone SYN and the datagram for a closed port, too.

use std::fs;
use std::io;

use lab::{LabError, Namespace};

use crate::demo::question::Service;
use crate::demo::topology::Family;

/// How many packets of the service's protocol have arrived at `host` since it was made.
pub(crate) fn arrivals(
    host: &Namespace,
    service: Service,
    family: Family,
) -> Result<io::Result<u64>, LabError> {
    host.run(|| {
        // Not /proc/net: that shows the network of the process's first thread.
        let old = fs::read_to_string("/proc/thread-self/net/snmp")?;
        let new = fs::read_to_string("/proc/thread-self/net/snmp6")?;
        let count = match (service, family) {
            // One counter for both families.
            (Service::Postgres | Service::Https, _) => table(&old, "Tcp:", "InSegs"),
            (Service::Telemetry, Family::V4) => {
                table(&old, "Udp:", "InDatagrams") + table(&old, "Udp:", "NoPorts")
            }
            (Service::Telemetry, Family::V6) => line(&new, "Udp6InDatagrams") + line(&new, "Udp6NoPorts"),
            (Service::Ping, Family::V4) => table(&old, "Icmp:", "InEchos"),
            (Service::Ping, Family::V6) => line(&new, "Icmp6InEchos"),
        };
        Ok(count)
    })
}

/// A number of `/proc/net/snmp`: a line of names, then a line of numbers, both with the same first word.
fn table(text: &str, protocol: &str, name: &str) -> u64 {
    let mut lines = text.lines().filter(|line| line.starts_with(protocol));
    let (Some(names), Some(numbers)) = (lines.next(), lines.next()) else { return 0 };
    let pair = names.split_whitespace().zip(numbers.split_whitespace()).find(|(found, _)| *found == name);
    pair.and_then(|(_, number)| number.parse().ok()).unwrap_or(0)
}

/// A number of `/proc/net/snmp6`: a name and a number on each line.
fn line(text: &str, name: &str) -> u64 {
    let numbers = text.lines().filter_map(|line| line.split_once(char::is_whitespace));
    let found = numbers.into_iter().find(|(found, _)| *found == name);
    found.and_then(|(_, number)| number.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{line, table};

    #[test]
    fn counters_are_found_by_name() {
        let old = "Tcp: RtoAlgorithm InSegs OutSegs\nTcp: 1 17 9\nUdp: InDatagrams NoPorts\nUdp: 3 4\n";
        assert_eq!((table(old, "Tcp:", "InSegs"), table(old, "Udp:", "NoPorts")), (17, 4));
        assert_eq!(table(old, "Icmp:", "InEchos"), 0);
        let new = "Ip6InReceives                   \t12\nUdp6InDatagrams                 \t5\n";
        assert_eq!((line(new, "Udp6InDatagrams"), line(new, "Udp6NoPorts")), (5, 0));
    }
}
