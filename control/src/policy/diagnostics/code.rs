//! The kinds of fault, by stable name.

use std::fmt;

use serde::{Serialize, Serializer};

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// The kind of a fault: stable names for scripts and for the manual.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code { $($(#[doc = $doc])+ $variant,)+ }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The stable name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// One sentence for people.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+).trim_ascii(),)+ }
            }
        }
    };
}

codes! {
    /// The file cannot be read, or is not a regular file.
    File = "file",
    /// The file is not UTF-8.
    Encoding = "encoding",
    /// The file holds no policy document.
    Empty = "empty",
    /// A limit is exceeded.
    Limit = "limit",
    /// The text is not YAML.
    Syntax = "syntax",
    /// YAML that a policy may not use: tags, merge keys, keys that are not words.
    YamlFeature = "yaml-feature",
    /// The document does not carry the marker `ringfence: 1`.
    NotNative = "not-native",
    /// The document's version is not one that this program reads.
    Version = "version",
    /// A field that does not exist here.
    UnknownField = "unknown-field",
    /// A field that must be given is not.
    MissingField = "missing-field",
    /// A field without a value.
    Blank = "blank",
    /// A mapping, list or word stands where another kind is needed.
    WrongType = "wrong-type",
    /// A word that is none of the legal ones.
    UnknownWord = "unknown-word",
    /// A key that stands twice in one mapping.
    DuplicateKey = "duplicate-key",
    /// Two objects of one kind with the same name.
    DuplicateName = "duplicate-name",
    /// An address that two workloads, or one workload twice, claim.
    DuplicateAddress = "duplicate-address",
    /// A list that says the same thing twice.
    DuplicateValue = "duplicate-value",
    /// A name with characters or of a length that names may not have.
    BadName = "bad-name",
    /// A name or label key that ringfence keeps for itself.
    Reserved = "reserved",
    /// A label key or value with characters or of a length that it may not have.
    BadLabel = "bad-label",
    /// A selector that cannot be understood.
    BadSelector = "bad-selector",
    /// A list without an element: of addresses, ports, values or selectors.
    EmptySet = "empty-set",
    /// Not an IP address.
    BadAddress = "bad-address",
    /// An IPv4 address in the IPv6-mapped form `::ffff:a.b.c.d`.
    MappedAddress = "mapped-address",
    /// An address that no single machine can have: unspecified, multicast or broadcast.
    NotAHost = "not-a-host",
    /// Not an address prefix.
    BadPrefix = "bad-prefix",
    /// An address prefix with bits set beyond its length.
    HostBits = "host-bits",
    /// Not an Ethernet address of a machine.
    BadMac = "bad-mac",
    /// A port specification that cannot be understood.
    BadService = "bad-service",
    /// Not an EtherType that can be passed.
    BadEtherType = "bad-ether-type",
    /// An EtherType that carries IP packets, which then pass unjudged.
    CarriesIp = "carries-ip",
    /// A service that is not defined.
    UnknownService = "unknown-service",
    /// A workload that is not defined.
    UnknownWorkload = "unknown-workload",
    /// A network that is not defined.
    UnknownNetwork = "unknown-network",
    /// A rule that a test names and that is not there.
    UnknownRule = "unknown-rule",
    /// Fields of a rule that contradict each other.
    BadRule = "bad-rule",
    /// Not a whole number, or not one in the range that is asked for.
    BadNumber = "bad-number",
    /// Not a way to revoke: neither `cut`, nor `drain` with a time, nor `keep`.
    BadRevocation = "bad-revocation",
    /// Two tiers at the same place.
    DuplicateOrder = "duplicate-order",
    /// Two listeners of one workload that answer to the same port.
    OverlappingListeners = "overlapping-listeners",
    /// An assertion that is about no flow at all.
    EmptyAssertion = "empty-assertion",
    /// A policy test that cannot be asked: its ends have no addresses of one family.
    BadTest = "bad-test",
    /// A selector that no workload or network of this policy matches.
    MatchesNothing = "matches-nothing",
    /// A rule that no flow between endpoints of this policy matches.
    NeverMatches = "never-matches",
    /// Two rules of one tier and priority that match the same flow and say different things of it.
    Conflict = "conflict",
    /// A rule that decides no flow, because others before it match all that it matches.
    Shadowed = "shadowed",
    /// Something that was not examined, because the work for it has a limit.
    NotExamined = "not-examined",
    /// An assertion that does not hold, or could not be proved.
    Assertion = "assertion",
    /// A feature of another system's policy language that ringfence does not do.
    Unsupported = "unsupported",
    /// Something in another system's policy that was left out, by which it allows less.
    Narrowed = "narrowed",
    /// An object of another system that carries no policy and no inventory.
    Skipped = "skipped",
    /// An address that stands in for one that is not known.
    Placeholder = "placeholder",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::Code;

    #[test]
    fn names_are_unique_and_kebab_case() {
        let mut names: Vec<_> = Code::ALL.iter().map(|code| code.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Code::ALL.len());
        for name in names {
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{name}");
        }
    }
}
