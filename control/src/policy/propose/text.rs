//! A plan in the policy language: a file to stand beside those of the policy.

use std::fmt::Write;

use super::{Plan, Terms};
use crate::observe::names::service_name;
use crate::policy::shown::Scalar;

/// Refusals that are written out.
const REFUSED_MAX: usize = 20;

/// The text of `plan`; `about` says in a line what it was made from.
#[must_use]
pub fn text(plan: &Plan, terms: &Terms, about: &str) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write(plan, terms, about, &mut text);
    text
}

fn write(plan: &Plan, terms: &Terms, about: &str, text: &mut String) -> std::fmt::Result {
    let (allows, unseen) =
        plan.rules.iter().fold((0u64, 0u64), |sum, rule| (sum.0 + rule.allows, sum.1 + rule.unseen));
    writeln!(text, "# Proposed {about}.")?;
    let rules = counted(plan.rules.len() as u64, "rule");
    writeln!(text, "# Tightness {} over {}: {rules}.", terms.tightness.name(), terms.keys.join(", "))?;
    writeln!(
        text,
        "# Allowed {} of source, destination and service, {unseen} unseen.",
        if allows == 1 { "is 1 tuple".to_owned() } else { format!("are {allows} tuples") }
    )?;
    if !plan.exact {
        writeln!(text, "# They are few, but it is not proved that fewer would not do.")?;
    }
    text.push_str("ringfence: 1\n");
    if !plan.networks.is_empty() {
        text.push_str("\n# Addresses that neither a workload nor a network has: give them names that mean something.\nnetworks:\n");
        for (name, prefix) in &plan.networks {
            writeln!(text, "  - {{name: {name}, cidrs: [\"{prefix}\"]}}")?;
        }
    }
    text.push_str(if plan.rules.is_empty() { "\nrules: []\n" } else { "\nrules:\n" });
    for rule in &plan.rules {
        let already = match rule.already {
            0 => String::new(),
            all if all == rule.flows => ", all of them allowed already".into(),
            some => format!(", {some} of them allowed already"),
        };
        writeln!(
            text,
            "  # {} seen{already}; allows {}, {} unseen.",
            counted(rule.flows, "flow"),
            counted(rule.allows, "tuple"),
            rule.unseen
        )?;
        writeln!(text, "  - name: {}", Scalar(&rule.name))?;
        writeln!(text, "    from: {}", rule.from)?;
        writeln!(text, "    to: {}", rule.to)?;
        let services: Vec<String> = rule.services.iter().map(ToString::to_string).collect();
        match services.as_slice() {
            [only] if !only.contains(',') => writeln!(text, "    service: {only}")?,
            several => writeln!(text, "    service: [{}]", several.join(", "))?,
        }
    }
    if !plan.refused.is_empty() {
        text.push_str("\n# Not proposed:\n");
        for one in plan.refused.iter().take(REFUSED_MAX) {
            writeln!(
                text,
                "#   {} -> {} {}, {}: {}",
                one.source,
                one.destination,
                service_name(one.service),
                counted(one.flows, "flow"),
                one.why
            )?;
        }
        if plan.refused.len() > REFUSED_MAX {
            writeln!(text, "#   and {} more", plan.refused.len() - REFUSED_MAX)?;
        }
    }
    Ok(())
}

/// `1 rule`, `2 rules`.
fn counted(number: u64, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}
