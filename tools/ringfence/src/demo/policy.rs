//! The demo's policy, and the changes it makes to it.

/// The policy that is enforced unless another is given: a file of the repository, so that everybody can read it.
pub(crate) const TEXT: &str = include_str!("../../../../config/policies/demo.yaml");

/// The policy without the rule called `name`; `None` if there is no such rule. Understands only a list of rules
/// whose items begin with `  - name: NAME`, which is how the demo's policy is written.
pub(crate) fn without_rule(text: &str, name: &str) -> Option<String> {
    let mut kept = String::new();
    let mut found = false;
    let mut inside = false;
    for line in text.lines() {
        if line.starts_with("  - ") || !line.starts_with(' ') && !line.is_empty() {
            inside = line.trim_end() == format!("  - name: {name}");
            found |= inside;
        }
        if !inside {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    found.then_some(kept)
}

/// The policy with one more rule that decides nothing in the demo.
pub(crate) fn with_idle_rule(text: &str) -> String {
    format!(
        "{}\n  - name: idle\n    from: {{role: nobody}}\n    to: {{role: nobody}}\n    service: tcp/1\n",
        text.trim_end()
    )
}

/// The policy with two applications that are only observed, so that there is something to find on the map: what passes
/// between them is allowed by no rule yet.
pub(crate) fn observing(text: &str) -> String {
    format!(
        "{}\n\n# Only observed so far: what no rule allows passes, and is told as potentially blocked.\nenforcement:\n  \
         - {{select: {{app: reports}}, egress: observe}}\n  - {{select: {{app: crm, role: web}}, ingress: observe}}\n",
        text.trim_end()
    )
}

/// The policy with a rule that contradicts itself: no daemon may accept it.
pub(crate) fn broken(text: &str) -> String {
    format!(
        "{}\n  - name: broken\n    from: {{role: web}}\n    to: {{role: db}}\n    service: tcp/70000\n",
        text.trim_end()
    )
}

#[cfg(test)]
mod tests {
    use control::policy::{SourceFile, load_texts};

    use super::{TEXT, broken, observing, with_idle_rule, without_rule};

    #[test]
    fn only_the_broken_policy_is_refused() {
        let table = [
            ("as it is", TEXT.to_owned(), true),
            ("without a rule", without_rule(TEXT, "shop-to-db").unwrap(), true),
            ("with an idle rule", with_idle_rule(TEXT), true),
            ("with two that are observed", observing(TEXT), true),
            ("broken", broken(TEXT), false),
        ];
        for (name, text, accepted) in table {
            let loaded = load_texts(&[SourceFile { name: "demo.yaml".into(), text }]);
            assert_eq!(loaded.is_ok(), accepted, "{name}: {:?}", loaded.err());
        }
    }

    #[test]
    fn a_rule_is_taken_out_whole_and_alone() {
        let left = without_rule(TEXT, "shop-to-db").unwrap();
        assert!(!left.contains("shop-to-db\n"), "{left}");
        assert_eq!(left.matches("  - name: ").count() + 1, TEXT.matches("  - name: ").count());
        assert!(left.contains("  - name: crm-to-db\n    from: {role: web, app: crm}\n"), "{left}");
        assert!(left.contains("\nrules:\n"), "{left}");
        assert_eq!(without_rule(TEXT, "no-such-rule"), None);
    }
}
