//! Kubernetes labels and label selectors, and the keys under which an endpoint carries what Kubernetes knows about it
//! besides its own labels.

use super::object::{Object, word};
use crate::policy::diagnostics::{Code, Finding, Sink, Span, quote};
use crate::policy::source::Word;
use crate::policy::source::yaml::Node;
use crate::policy::valid::{Labels, Requirement, Selector};
use crate::policy::validate::RESERVED_KEYS;

/// The key that holds the name of an endpoint's namespace.
pub(super) const NAMESPACE: &str = "k8s/namespace";
/// The key that holds what an endpoint is: `pod` or `node`.
pub(super) const KIND: &str = "k8s/kind";
/// The key that holds the name of a pod's service account.
pub(super) const SERVICE_ACCOUNT: &str = "k8s/service-account";
/// The key that holds the name of the object that makes a pod: its owner, or the controller that stands for its pods.
pub(super) const OWNER: &str = "k8s/owner";
/// The key that holds the kind of that object.
pub(super) const OWNER_KIND: &str = "k8s/owner-kind";
/// The key under which a listener carries the name of its container port.
pub(super) const PORT: &str = "k8s/port";
/// What Kubernetes puts on every namespace (KEP-2161).
pub(super) const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// The key under which an endpoint carries the label `key` of its namespace. A key with a prefix of its own keeps it:
/// `k8s.namespace/team`, `k8s.namespace.kubernetes.io/metadata.name`.
pub(super) fn of_namespace(key: &str) -> String {
    below("k8s.namespace", key)
}

/// As [`of_namespace`], for the labels of a node.
pub(super) fn of_node(key: &str) -> String {
    below("k8s.node", key)
}

/// The key under which an endpoint carries its own label `key`: the key itself, unless the native language has a
/// meaning of its own for that word.
pub(super) fn of_pod(key: &str) -> String {
    if RESERVED_KEYS.contains(&key) { below("k8s.label", key) } else { key.to_owned() }
}

fn below(scope: &str, key: &str) -> String {
    let separator = if key.contains('/') { '.' } else { '/' };
    format!("{scope}{separator}{key}")
}

/// Whether an object's own label would be taken for one of the keys above.
pub(super) fn is_reserved(key: &str) -> bool {
    let Some((prefix, _)) = key.rsplit_once('/') else { return false };
    prefix == "k8s"
        || ["k8s.namespace", "k8s.node", "k8s.label"].iter().any(|scope| {
            prefix.strip_prefix(scope).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
}

/// A selector over labels: all terms must hold; without any, it selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LabelSelector {
    pub(super) terms: Vec<Term>,
}

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Term {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    NotExists(String),
}

impl LabelSelector {
    /// The conditions, with every key renamed by `key`.
    pub(super) fn requirements(&self, key: impl Fn(&str) -> String) -> Vec<Requirement> {
        let one = |term: &Term| match term {
            Term::In(name, values) => Requirement::In(key(name), values.clone()),
            Term::NotIn(name, values) => Requirement::NotIn(key(name), values.clone()),
            Term::Exists(name) => Requirement::Exists(key(name)),
            Term::NotExists(name) => Requirement::NotExists(key(name)),
        };
        self.terms.iter().map(one).collect()
    }
}

/// A selector whose requirements are `parts`, in canonical order.
pub(super) fn all_of(parts: impl IntoIterator<Item = Requirement>) -> Selector {
    let mut requirements: Vec<_> = parts.into_iter().collect();
    requirements.sort_unstable();
    requirements.dedup();
    Selector { requirements }
}

/// Whether labels of its own alone satisfy a selector; it must have no other kinds of requirement.
pub(super) fn holds(selector: &Selector, labels: &Labels) -> bool {
    selector.requirements.iter().all(|one| match one {
        Requirement::In(key, values) => {
            labels.get(key).is_some_and(|own| values.iter().any(|value| own.contains(value)))
        }
        Requirement::NotIn(key, values) => {
            labels.get(key).is_none_or(|own| !values.iter().any(|value| own.contains(value)))
        }
        Requirement::Exists(key) => labels.contains_key(key),
        Requirement::NotExists(key) => !labels.contains_key(key),
        _ => false,
    })
}

/// Every pod.
pub(super) fn any_pod() -> Requirement {
    Requirement::In(KIND.to_owned(), vec!["pod".to_owned()])
}

/// Reads `matchLabels` and `matchExpressions`.
pub(super) fn selector(node: Node<'_>, sink: &mut Sink<'_>) -> Option<LabelSelector> {
    selector_with(node, check_key, sink)
}

/// As [`selector`], where `check` reports what is no key.
pub(super) fn selector_with(
    node: Node<'_>,
    check: fn(&Word, &mut Sink<'_>),
    sink: &mut Sink<'_>,
) -> Option<LabelSelector> {
    let mut object = Object::open(node, "a label selector", sink)?;
    let before = sink.errors();
    let mut terms = Vec::new();
    for (key, value) in object.map("matchLabels", sink).unwrap_or_default() {
        check(&key, sink);
        check_value(&value, sink);
        terms.push(Term::In(key.value, vec![value.value]));
    }
    for item in object.list("matchExpressions", sink).unwrap_or_default() {
        terms.extend(expression(item, check, sink));
    }
    object.finish(sink);
    // What cannot be read must not select more than was meant.
    (sink.errors() == before).then_some(LabelSelector { terms })
}

fn expression(node: Node<'_>, check: fn(&Word, &mut Sink<'_>), sink: &mut Sink<'_>) -> Option<Term> {
    let mut object = Object::open(node, "a match expression", sink)?;
    let span = object.span;
    let key = object.need("key", sink).and_then(|node| word(node, sink));
    let operator = object.need("operator", sink).and_then(|node| word(node, sink));
    let values = object.words("values", sink).unwrap_or_default();
    object.finish(sink);
    let (key, operator) = (key?, operator?);
    check(&key, sink);
    values.iter().for_each(|value| check_value(value, sink));
    let key = key.value;
    let term = match operator.value.as_str() {
        "In" => Term::In(key, some(&values, span, sink)?),
        "NotIn" => Term::NotIn(key, some(&values, span, sink)?),
        "Exists" => Term::Exists(key),
        "DoesNotExist" => Term::NotExists(key),
        other => {
            let legal = ["In", "NotIn", "Exists", "DoesNotExist"];
            let text = format!("there is no operator {}", quote(other));
            sink.push(Finding::error(Code::UnknownWord, operator.span, text).legal(legal));
            return None;
        }
    };
    if matches!(term, Term::Exists(_) | Term::NotExists(_)) && !values.is_empty() {
        let text = format!("the operator {} takes no values", quote(&operator.value));
        sink.push(Finding::error(Code::BadSelector, span, text));
        return None;
    }
    Some(term)
}

fn some(values: &[Word], span: Span, sink: &mut Sink<'_>) -> Option<Vec<String>> {
    if values.is_empty() {
        sink.push(Finding::error(Code::EmptySet, span, "this operator needs at least one value"));
        return None;
    }
    let mut values: Vec<String> = values.iter().map(|value| value.value.clone()).collect();
    values.sort_unstable();
    values.dedup();
    Some(values)
}

/// Reports a word that is no label key (Kubernetes, "Labels and Selectors", syntax).
pub(super) fn check_key(key: &Word, sink: &mut Sink<'_>) {
    let (prefix, name) = key.value.rsplit_once('/').map_or((None, key.value.as_str()), |(p, n)| (Some(p), n));
    let prefix_is_good = prefix.is_none_or(|prefix| {
        prefix.len() <= 253 && is_plain(prefix, |b| b == b'.' || b == b'-') && !prefix.contains('/')
    });
    if !prefix_is_good || !is_word(name) {
        let text = format!("{} cannot be a label key", quote(&key.value));
        sink.push(Finding::error(Code::BadLabel, key.span, text));
    }
}

/// Reports a word that is no label value; an empty one is.
pub(super) fn check_value(value: &Word, sink: &mut Sink<'_>) {
    if !value.value.is_empty() && !is_word(&value.value) {
        let text = format!("{} cannot be a label value", quote(&value.value));
        sink.push(Finding::error(Code::BadLabel, value.span, text));
    }
}

fn is_word(text: &str) -> bool {
    text.len() <= 63 && is_plain(text, |b| b".-_".contains(&b))
}

/// Whether `text` begins and ends with a letter or digit and holds only those and what `inner` accepts.
pub(super) fn is_plain(text: &str, inner: impl Fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    let ends = bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric);
    ends && bytes.iter().all(|&b| b.is_ascii_alphanumeric() || inner(b))
}

#[cfg(test)]
mod tests {
    use super::{is_reserved, of_namespace, of_node};

    #[test]
    fn keys_of_namespaces_and_nodes_cannot_be_mistaken_for_own_labels() {
        let table = [("team", "k8s.namespace/team"), ("example.org/team", "k8s.namespace.example.org/team")];
        for (key, expected) in table {
            assert_eq!(of_namespace(key), expected);
            assert!(is_reserved(expected) && is_reserved(&of_node(key)), "{key}");
        }
        for own in
            ["app", "k8s", "k8s-app", "k8s.io/name", "k8s.ovn.org/x", "k8s.nodes/x", "app.kubernetes.io/k8s"]
        {
            assert!(!is_reserved(own), "{own}");
        }
    }
}
