//! Parts of a policy as the native language writes them, for explanations and listings.

use std::fmt;

use super::valid::{Action, Mode, OnRevoke, Prefix, Requirement, Selector};

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.requirements.as_slice() {
            [] => return f.write_str("any"),
            [Requirement::AnyWorkload] => return f.write_str("any-workload"),
            [Requirement::NoWorkload] => return f.write_str("no-workload"),
            _ => {}
        }
        // A key stands once in a mapping; what else is said of it goes into the long form.
        let mut seen: Vec<&str> = Vec::new();
        let (short, long): (Vec<_>, Vec<_>) = self.requirements.iter().partition(|one| {
            let first = !seen.contains(&one.key());
            seen.push(one.key());
            first
        });
        let short: Vec<String> = short.iter().map(ToString::to_string).collect();
        write!(f, "{{{}", short.join(", "))?;
        if !long.is_empty() {
            let long: Vec<String> = long.iter().map(|one| Expression(one).to_string()).collect();
            write!(f, ", matchExpressions: [{}]", long.join(", "))?;
        }
        f.write_str("}")
    }
}

impl Requirement {
    /// What stands before the colon.
    fn key(&self) -> &str {
        match self {
            Self::In(key, _) | Self::NotIn(key, _) | Self::Exists(key) | Self::NotExists(key) => key,
            Self::Workload(_) | Self::AnyWorkload | Self::NoWorkload => "workload",
            Self::Network(_) | Self::NotNetwork(_) => "network",
        }
    }
}

/// A requirement in the form of Kubernetes.
struct Expression<'a>(&'a Requirement);

impl fmt::Display for Expression<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (operator, values): (_, &[String]) = match self.0 {
            Requirement::In(_, values) | Requirement::Workload(values) | Requirement::Network(values) => {
                ("In", values)
            }
            Requirement::NotIn(_, values) | Requirement::NotNetwork(values) => ("NotIn", values),
            Requirement::Exists(_) | Requirement::AnyWorkload => ("Exists", &[]),
            Requirement::NotExists(_) | Requirement::NoWorkload => ("DoesNotExist", &[]),
        };
        write!(f, "{{key: {}, operator: {operator}", Scalar(self.0.key()))?;
        if !values.is_empty() {
            let values: Vec<String> = values.iter().map(|value| Scalar(value).to_string()).collect();
            write!(f, ", values: [{}]", values.join(", "))?;
        }
        f.write_str("}")
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
            Self::AnyWorkload => f.write_str("workload: {exists: true}"),
            Self::NotNetwork(names) => write!(f, "network: {{not: {}}}", Values(names)),
            Self::NoWorkload => f.write_str("workload: {exists: false}"),
        }
    }
}

/// One word, or several in brackets.
pub(super) struct Values<'a>(pub(super) &'a [String]);

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
pub(super) struct Scalar<'a>(pub(super) &'a str);

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
    /// `allow`, `deny`, `reject` or `pass`.
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

/// What becomes of a live flow, as a rule says it.
pub(super) fn revocation(on_revoke: OnRevoke) -> String {
    match on_revoke {
        OnRevoke::Cut => "cut".to_owned(),
        OnRevoke::Drain(seconds) => format!("drain {seconds}s"),
        OnRevoke::Keep => "keep".to_owned(),
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
