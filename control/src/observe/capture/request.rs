//! What a capture asks for, in the words of people, and what that means to the workers.

use std::net::IpAddr;
use std::time::Duration;

use dataplane::address::Address;
use dataplane::capture::{Ends, Fates, Filter};
use dataplane::verdict::{DropReason, Side, WireId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Limits;
use crate::engine::InForce;
use crate::policy::service;
use crate::policy::valid::ValidPolicy;

/// Longest frame there is, bytes.
const FRAME_MAX: u32 = 4096;

/// What to capture; all that is given must hold.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CaptureRequest)]
pub struct Request {
    /// `dropped`, `forwarded` or `any` frames; dropped ones unless told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frames: Option<String>,
    /// Dropped for one of these reasons, by their stable names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// Decided by this rule or default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// From or to this workload, by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    /// From or to a workload with this label, as `key=value`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// From or to this address, or this prefix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// From or to this port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Of this protocol: a name as policy has them, or a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// That came in on this wire, by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wire: Option<String>,
    /// That came in on this side, `inside` or `outside`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub side: Option<String>,
    /// Ends after so many packets; 10,000 unless told, at most 10,000,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packets: Option<u64>,
    /// Ends after so many bytes of packets; 1 GiB unless told, at most 1 TiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Ends after so many seconds, 1 to 3600; 60 unless told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u32>,
    /// At most so many bytes of each frame, 14 to 4096; all of it unless told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snap_len: Option<u32>,
    /// At most so many packets a second; any number unless told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<u32>,
}

/// A request that makes sense.
#[derive(Debug)]
pub struct Plan {
    /// What workers are told.
    pub filter: Filter,
    /// The rule or default, by name.
    pub rule: Option<String>,
    /// When it ends.
    pub limits: Limits,
}

/// What is wrong with a request, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestError(pub String);

fn refuse<T>(message: String) -> Result<T, RequestError> {
    Err(RequestError(message))
}

fn within(name: &str, given: Option<u64>, default: u64, least: u64, most: u64) -> Result<u64, RequestError> {
    let value = given.unwrap_or(default);
    if (least..=most).contains(&value) {
        return Ok(value);
    }
    refuse(format!("`{name}` is {value}; it must be {least} to {most}"))
}

impl Request {
    /// Checks it against the policy in force and the names of the wires, by [`WireId`].
    ///
    /// # Errors
    /// What is not known, and what would have been.
    pub fn check(&self, now: Option<&InForce>, wires: &[String]) -> Result<Plan, RequestError> {
        let fates = match self.frames.as_deref() {
            None | Some("dropped") => Fates::Dropped,
            Some("forwarded") => Fates::Forwarded,
            Some("any") => Fates::Any,
            Some(other) => {
                return refuse(format!(
                    "`frames` cannot be `{other}`: it is `dropped`, `forwarded` or `any`"
                ));
            }
        };
        if let Some(rule) = &self.rule
            && !now.is_some_and(|now| now.rules.iter().any(|info| *info.name == **rule))
        {
            return refuse(format!("no rule or default `{rule}` is in force; `ringfence rules` lists them"));
        }
        let snap_len =
            within("snap_len", self.snap_len.map(u64::from), FRAME_MAX.into(), 14, FRAME_MAX.into())?;
        let rate = within("rate", self.rate.map(u64::from), 0, 0, u32::MAX.into())?;
        let filter = Filter {
            fates,
            reasons: self.reasons()?,
            wire: self.wire(wires)?,
            side: self.side()?,
            ends: self.ends(now.map(|now| &*now.policy))?,
            protocol: self.protocol()?,
            port: self.port,
            snap_len: usize::try_from(snap_len).unwrap_or(usize::MAX),
            rate: u32::try_from(rate).unwrap_or(u32::MAX),
        };
        let limits = Limits {
            packets: within("packets", self.packets, 10_000, 1, 10_000_000)?,
            bytes: within("bytes", self.bytes, 1 << 30, 1, 1 << 40)?,
            time: Duration::from_secs(within("seconds", self.seconds.map(u64::from), 60, 1, 3600)?),
        };
        Ok(Plan { filter, rule: self.rule.clone(), limits })
    }

    fn reasons(&self) -> Result<u64, RequestError> {
        let mut bits = 0;
        for name in &self.reasons {
            match DropReason::ALL.iter().find(|reason| reason.name() == name) {
                Some(reason) => bits |= Filter::reason_bit(*reason),
                None => {
                    let all: Vec<_> = DropReason::ALL.iter().map(|reason| reason.name()).collect();
                    return refuse(format!("there is no reason `{name}`; legal are {}", all.join(", ")));
                }
            }
        }
        Ok(bits)
    }

    fn wire(&self, wires: &[String]) -> Result<Option<WireId>, RequestError> {
        let Some(wanted) = &self.wire else { return Ok(None) };
        match (0u16..).zip(wires).find(|(_, name)| *name == wanted) {
            Some((id, _)) => Ok(Some(WireId(id))),
            None => refuse(format!("there is no wire `{wanted}`; there are {}", wires.join(", "))),
        }
    }

    fn side(&self) -> Result<Option<Side>, RequestError> {
        match self.side.as_deref() {
            None => Ok(None),
            Some("inside") => Ok(Some(Side::Inside)),
            Some("outside") => Ok(Some(Side::Outside)),
            Some(other) => refuse(format!("`side` cannot be `{other}`: it is `inside` or `outside`")),
        }
    }

    fn protocol(&self) -> Result<Option<u8>, RequestError> {
        let Some(name) = &self.protocol else { return Ok(None) };
        let key = name.parse::<u8>().ok().map(|number| u32::from(number) << 16);
        let key = key.or_else(|| service::parse_one(name).ok());
        // Protocols with ports need one to be a service.
        let key = key.or_else(|| service::parse_one(&format!("{name}/1")).ok());
        match key.and_then(|key| u8::try_from(key >> 16).ok()) {
            Some(number) => Ok(Some(number)),
            None => {
                refuse(format!("`{name}` is no protocol: tcp, udp, sctp, icmp, icmpv6, gre, or a number"))
            }
        }
    }

    /// A set of addresses for each thing that is asked of the ends.
    fn ends(&self, policy: Option<&ValidPolicy>) -> Result<Vec<Ends>, RequestError> {
        let mut all = Vec::new();
        let workloads = policy.map_or(&[][..], |policy| &policy.workloads);
        if let Some(name) = &self.workload {
            let Some(workload) = workloads.iter().find(|workload| workload.name == *name) else {
                return refuse(format!("there is no workload `{name}`; `ringfence workloads` lists them"));
            };
            let addresses = workload.addresses.iter().map(|address| Address::from(*address));
            all.push(Ends::new(addresses.collect(), Vec::new()));
        }
        if let Some(label) = &self.label {
            let Some((key, value)) = label.split_once('=') else {
                return refuse("`label` must be `key=value`".into());
            };
            let has = workloads.iter().filter(|one| one.labels.get(key).is_some_and(|v| v.contains(value)));
            let addresses: Vec<_> = has.flat_map(|one| &one.addresses).map(|a| Address::from(*a)).collect();
            if addresses.is_empty() {
                return refuse(format!("no workload has the label `{label}`"));
            }
            all.push(Ends::new(addresses, Vec::new()));
        }
        if let Some(text) = &self.address {
            match prefix(text) {
                Some(prefix) => all.push(Ends::new(Vec::new(), vec![prefix])),
                None => return refuse(format!("`{text}` is neither an address nor a prefix")),
            }
        }
        Ok(all)
    }
}

/// An address or prefix as bits and mask.
fn prefix(text: &str) -> Option<(u128, u128)> {
    let (address, len) = match text.split_once('/') {
        Some((address, len)) => (address, Some(len.parse::<u32>().ok()?)),
        None => (text, None),
    };
    let address = address.parse::<IpAddr>().ok()?.to_canonical();
    let most = if address.is_ipv4() { 32 } else { 128 };
    let len = len.unwrap_or(most);
    if len > most {
        return None;
    }
    let mask = u128::MAX.checked_shl(most - len).unwrap_or(0);
    // IPv4 is mapped, and must not match everything when its own prefix is empty.
    let mask = if address.is_ipv4() && len == 0 { u128::MAX << 32 } else { mask };
    Some((Address::from(address).bits() & mask, mask))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_bits_of_the_mapped_address() {
        for (text, inside, outside) in [
            ("10.0.0.1", "10.0.0.1", "10.0.0.2"),
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("0.0.0.0/0", "9.9.9.9", "fd00::1"),
            ("fd00::/16", "fd00:1::", "fd01::"),
            ("::/0", "fd00::1", "fd00::1"),
        ] {
            let (bits, mask) = prefix(text).unwrap();
            let holds =
                |address: &str| Address::from(address.parse::<IpAddr>().unwrap()).bits() & mask == bits;
            assert!(holds(inside), "{text}");
            assert!(!holds(outside) || inside == outside, "{text}");
        }
        for text in ["", "x", "10.0.0.0/33", "fd00::/129", "10.0.0.1/-1"] {
            assert_eq!(prefix(text), None, "{text}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_what_would() {
        let some = |text: &str| Some(text.to_owned());
        let wires = ["a".to_owned()];
        for (name, request, words) in [
            (
                "frames",
                Request { frames: some("x"), ..Request::default() },
                "`dropped`, `forwarded` or `any`",
            ),
            (
                "reason",
                Request { reasons: vec!["x".into()], ..Request::default() },
                "legal are policy, rejected",
            ),
            ("rule", Request { rule: some("x"), ..Request::default() }, "no rule or default `x`"),
            ("workload", Request { workload: some("x"), ..Request::default() }, "no workload `x`"),
            ("label", Request { label: some("x"), ..Request::default() }, "key=value"),
            ("a label of nobody", Request { label: some("x=y"), ..Request::default() }, "no workload has"),
            ("address", Request { address: some("x"), ..Request::default() }, "neither an address"),
            ("protocol", Request { protocol: some("x"), ..Request::default() }, "no protocol"),
            ("wire", Request { wire: some("x"), ..Request::default() }, "there are a"),
            ("side", Request { side: some("x"), ..Request::default() }, "`inside` or `outside`"),
            ("packets", Request { packets: Some(0), ..Request::default() }, "it must be 1 to"),
            ("seconds", Request { seconds: Some(3601), ..Request::default() }, "1 to 3600"),
            ("snap_len", Request { snap_len: Some(13), ..Request::default() }, "14 to 4096"),
        ] {
            let RequestError(message) = request.check(None, &wires).unwrap_err();
            assert!(message.contains(words), "{name}: {message}");
        }
        for (protocol, number) in [("tcp", 6), ("udp", 17), ("icmp", 1), ("gre", 47), ("99", 99)] {
            let request = Request { protocol: some(protocol), wire: some("a"), ..Request::default() };
            let plan = request.check(None, &wires).unwrap();
            assert_eq!((plan.filter.protocol, plan.filter.wire), (Some(number), Some(WireId(0))));
        }
    }
}
