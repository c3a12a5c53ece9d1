//! Endpoint selectors: label selectors whose keys may say where a label comes from (`k8s:app`, `any:app`,
//! `reserved:world`).

use super::super::labels::{
    LabelSelector, NAMESPACE, SERVICE_ACCOUNT, Term, all_of, any_pod, check_key, of_namespace, of_pod,
    selector_with,
};
use super::super::object::unsupported;
use super::{Peer, Subject};
use crate::policy::diagnostics::{Sink, Span, quote};
use crate::policy::source::yaml::Node;
use crate::policy::source::{Spanned, Word};
use crate::policy::valid::Requirement;

/// Labels that Cilium gives endpoints of Kubernetes.
const NAMESPACE_LABEL: &str = "io.kubernetes.pod.namespace";
const NAMESPACE_LABELS: &str = "io.cilium.k8s.namespace.labels.";
const ACCOUNT_LABEL: &str = "io.cilium.k8s.policy.serviceaccount";
const CLUSTER_LABEL: &str = "io.cilium.k8s.policy.cluster";

/// What a key means.
enum Key<'k> {
    /// A label by our name.
    Label(String),
    /// A reserved identity, such as `world`.
    Reserved(&'k str),
    /// What no endpoint of Kubernetes has, or what is not known here.
    Unknown,
}

fn key(written: &str) -> Key<'_> {
    let (source, rest) = written.split_once(':').unwrap_or(("any", written));
    match (source, rest) {
        ("reserved", name) => Key::Reserved(name),
        ("k8s" | "any", CLUSTER_LABEL) => Key::Unknown,
        ("k8s" | "any", NAMESPACE_LABEL) => Key::Label(NAMESPACE.to_owned()),
        ("k8s" | "any", ACCOUNT_LABEL) => Key::Label(SERVICE_ACCOUNT.to_owned()),
        ("k8s" | "any", rest) => Key::Label(match rest.strip_prefix(NAMESPACE_LABELS) {
            Some(label) => of_namespace(label),
            None => of_pod(rest),
        }),
        _ => Key::Unknown,
    }
}

fn check(word: &Word, sink: &mut Sink<'_>) {
    let rest = word.value.split_once(':').map_or(word.value.as_str(), |(_, rest)| rest);
    check_key(&Spanned { value: rest.to_owned(), span: word.span }, sink);
}

/// A selector by our names, or the one reserved identity that it means.
enum Meaning {
    Labels(Vec<Requirement>),
    Reserved(String),
}

fn meaning(selector: &LabelSelector, span: Span, sink: &mut Sink<'_>) -> Option<Meaning> {
    let mut all = Vec::with_capacity(selector.terms.len());
    for term in &selector.terms {
        let (Term::In(written, _)
        | Term::NotIn(written, _)
        | Term::Exists(written)
        | Term::NotExists(written)) = term;
        match key(written) {
            Key::Label(name) => {
                let one = LabelSelector { terms: vec![term.clone()] };
                all.extend(one.requirements(|_| name.clone()));
            }
            Key::Reserved(name) => {
                let says_so = matches!(term, Term::Exists(_))
                    || matches!(term, Term::In(_, values) if values.iter().all(String::is_empty));
                if selector.terms.len() > 1 || !says_so {
                    let text = "a reserved identity beside other requirements is not supported";
                    unsupported(span, text, sink);
                    return None;
                }
                return Some(Meaning::Reserved(name.to_owned()));
            }
            Key::Unknown => {
                let text =
                    format!("the label {} is not supported: it is not known of a pod here", quote(written));
                unsupported(span, text, sink);
                return None;
            }
        }
    }
    Some(Meaning::Labels(all))
}

/// Whom a policy selects.
pub(super) fn subject(node: Node<'_>, namespace: Option<&str>, sink: &mut Sink<'_>) -> Option<Subject> {
    let span = node.span;
    match meaning(&selector_with(node, check, sink)?, span, sink)? {
        Meaning::Reserved(_) => Some(Subject::Nobody(span)),
        Meaning::Labels(mut all) => {
            all.push(match namespace {
                Some(name) => Requirement::In(NAMESPACE.to_owned(), vec![name.to_owned()]),
                None => any_pod(),
            });
            Some(Subject::Endpoints(all_of(all)))
        }
    }
}

/// Another end: of the policy's own namespace unless it says something about namespaces itself.
pub(super) fn peer(node: Node<'_>, namespace: Option<&str>, sink: &mut Sink<'_>) -> Option<Peer> {
    let span = node.span;
    match meaning(&selector_with(node, check, sink)?, span, sink)? {
        Meaning::Reserved(name) => Some(Peer::Entity(Spanned { value: name, span })),
        Meaning::Labels(mut all) => {
            let own = match namespace {
                Some(name) if !all.iter().any(is_about_namespace) => {
                    Requirement::In(NAMESPACE.to_owned(), vec![name.to_owned()])
                }
                _ => any_pod(),
            };
            all.push(own);
            Some(Peer::Endpoints(all_of(all)))
        }
    }
}

fn is_about_namespace(one: &Requirement) -> bool {
    let (Requirement::In(key, _)
    | Requirement::NotIn(key, _)
    | Requirement::Exists(key)
    | Requirement::NotExists(key)) = one
    else {
        return false;
    };
    key == NAMESPACE || key.starts_with("k8s.namespace")
}
