//! Parts of a policy as the native language writes them, for explanations and listings.

use std::fmt;

use super::valid::{Action, Mode, Prefix, Requirement, Selector};

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.requirements.as_slice() {
            [] => f.write_str("any"),
            [Requirement::AnyWorkload] => f.write_str("any-workload"),
            [Requirement::NoWorkload] => f.write_str("no-workload"),
            all => {
                f.write_str("{")?;
                // With other requirements beside it, "is a workload" has no form of its own in the language.
                for (at, one) in all.iter().enumerate() {
                    write!(f, "{}{one}", if at == 0 { "" } else { ", " })?;
                }
                f.write_str("}")
            }
        }
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::In(key, values) => write!(f, "{}: {}", Scalar(key), Values(values)),
            Self::NotIn(key, values) => write!(f, "{}: {{not: {}}}", Scalar(key), Values(values)),
            Self::Exists(key) => write!(f, "{}: {{exists: true}}", Scalar(key)),
            Self::NotExists(key) => write!(f, "{}: {{exists: false}}", Scalar(key)),
            Self::Workload(names) => write!(f, "workload: {}", Values(names)),
            Self::Network(names) => write!(f, "network: {}", Values(names)),
            Self::AnyWorkload => f.write_str("any-workload"),
            Self::NotNetwork(names) => write!(f, "network: {{not: {}}}", Values(names)),
            Self::NoWorkload => f.write_str("no-workload"),
        }
    }
}

/// One word, or several in brackets.
struct Values<'a>(&'a [String]);

impl fmt::Display for Values<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [only] = self.0 {
            return Scalar(only).fmt(f);
        }
        f.write_str("[")?;
        for (at, word) in self.0.iter().enumerate() {
            write!(f, "{}{}", if at == 0 { "" } else { ", " }, Scalar(word))?;
        }
        f.write_str("]")
    }
}

/// A word, quoted if YAML would read it as nothing.
struct Scalar<'a>(&'a str);

impl fmt::Display for Scalar<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if matches!(self.0, "" | "~" | "null" | "Null" | "NULL") {
            write!(f, "\"{}\"", self.0)
        } else {
            f.write_str(self.0)
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.len)
    }
}

impl Action {
    /// `allow` or `deny`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Reject => "reject",
            Self::Pass => "pass",
        }
    }
}

impl Mode {
    /// The word for it in a policy.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Observe => "observe",
            Self::Selective => "selective",
            Self::Full => "full",
        }
    }
}
