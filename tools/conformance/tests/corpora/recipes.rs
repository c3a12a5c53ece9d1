//! The recipes' prose: what `wget` of one pod from another says once the policy is applied.

use std::fs;
use std::path::Path;

use control::policy::{SourceFile, load_texts, service};

use crate::estate::Estate;
use crate::tally::Tally;

/// The pods that the recipes start, one after the other: namespace, name, labels.
const PODS: &[(&str, &str, &str)] = &[
    ("default", "web", "app: web"),
    ("default", "bookstore-api", "app: bookstore, role: api"),
    ("default", "frontend", "app: bookstore, role: frontend"),
    ("default", "test", ""),
    ("default", "monitoring", "type: monitoring"),
    ("default", "apiserver", "app: apiserver"),
    ("default", "scraper", "role: monitoring"),
    ("default", "db", "app: bookstore, role: db"),
    ("default", "inventory", "app: inventory, role: web"),
    ("default", "other", "app: other"),
    ("default", "foo", "app: foo"),
    ("foo", "test", ""),
    ("secondary", "test", ""),
    ("dev", "test", ""),
    ("prod", "test", ""),
    ("other", "test", ""),
    ("other", "monitoring", "type: monitoring"),
    ("kube-system", "dns", "k8s-app: kube-dns"),
];

/// The labels that the recipes give namespaces.
const NAMESPACES: &[(&str, &str)] =
    &[("dev", "purpose: testing"), ("prod", "purpose: production"), ("other", "team: operations")];

/// File, source, destination, what is asked, whether an answer comes.
const ANSWERS: &[(&str, &str, &str, &str, bool)] = &[
    ("01-deny-all-traffic-to-an-application-0", "default/test", "default/web", "tcp/80", false),
    ("02-limit-traffic-to-an-application-0", "default/test", "default/bookstore-api", "tcp/80", false),
    ("02-limit-traffic-to-an-application-0", "default/frontend", "default/bookstore-api", "tcp/80", true),
    ("02a-allow-all-traffic-to-an-application-0", "default/test", "default/web", "tcp/80", true),
    (
        "03-deny-all-non-whitelisted-traffic-in-the-namespace-0",
        "default/test",
        "default/web",
        "tcp/80",
        false,
    ),
    ("04-deny-traffic-from-other-namespaces-0", "foo/test", "default/web", "tcp/80", false),
    ("04-deny-traffic-from-other-namespaces-0", "default/test", "default/web", "tcp/80", true),
    ("05-allow-traffic-from-all-namespaces-0", "secondary/test", "default/web", "tcp/80", true),
    ("06-allow-traffic-from-a-namespace-0", "dev/test", "default/web", "tcp/80", false),
    ("06-allow-traffic-from-a-namespace-0", "prod/test", "default/web", "tcp/80", true),
    (
        "07-allow-traffic-from-some-pods-in-another-namespace-0",
        "default/test",
        "default/web",
        "tcp/80",
        false,
    ),
    (
        "07-allow-traffic-from-some-pods-in-another-namespace-0",
        "default/monitoring",
        "default/web",
        "tcp/80",
        false,
    ),
    ("07-allow-traffic-from-some-pods-in-another-namespace-0", "other/test", "default/web", "tcp/80", false),
    (
        "07-allow-traffic-from-some-pods-in-another-namespace-0",
        "other/monitoring",
        "default/web",
        "tcp/80",
        true,
    ),
    ("08-allow-external-traffic-0", "203.0.113.5", "default/web", "tcp/80", true),
    ("09-allow-traffic-only-to-a-port-0", "default/test", "default/apiserver", "tcp/8000", false),
    ("09-allow-traffic-only-to-a-port-0", "default/test", "default/apiserver", "tcp/5000", false),
    ("09-allow-traffic-only-to-a-port-0", "default/scraper", "default/apiserver", "tcp/8000", false),
    ("09-allow-traffic-only-to-a-port-0", "default/scraper", "default/apiserver", "tcp/5000", true),
    ("10-allowing-traffic-with-multiple-selectors-0", "default/inventory", "default/db", "tcp/6379", true),
    ("10-allowing-traffic-with-multiple-selectors-0", "default/other", "default/db", "tcp/6379", false),
    ("11-deny-egress-traffic-from-an-application-0", "default/foo", "kube-system/dns", "udp/53", false),
    ("11-deny-egress-traffic-from-an-application-1", "default/foo", "kube-system/dns", "udp/53", true),
    ("11-deny-egress-traffic-from-an-application-1", "default/foo", "default/web", "tcp/80", false),
    ("11-deny-egress-traffic-from-an-application-1", "default/foo", "93.184.216.34", "tcp/80", false),
    (
        "12-deny-all-non-whitelisted-traffic-from-the-namespace-0",
        "default/test",
        "default/web",
        "tcp/80",
        false,
    ),
    ("14-deny-external-egress-traffic-0", "default/foo", "93.184.216.34", "tcp/80", false),
];

/// Recipe 14 says that a pod of the cluster answers, but its policy only allows DNS.
const CONTRADICTIONS: usize = 1;

pub(crate) fn tally(folder: &Path) -> Tally {
    let mut tally = Tally::new("recipes-ahmetb", "an answer that the prose tells of");
    let inventory = SourceFile { name: "pods.yaml".to_owned(), text: inventory() };
    for (file, source, destination, spoken, expected) in ANSWERS {
        let text =
            fs::read_to_string(folder.join(format!("{file}.yaml"))).expect("the corpus holds the recipe");
        let policy = SourceFile { name: format!("{file}.yaml"), text };
        let estate = match Estate::of(load_texts(&[inventory.clone(), policy])) {
            Ok(estate) => estate,
            Err(faults) => {
                tally.count(Some(format!("{file} is refused: {faults}")));
                continue;
            }
        };
        let end =
            |word: &str| word.parse().unwrap_or_else(|_| estate.workload(word).expect("a pod").addresses[0]);
        let key = service::parse_one(spoken).expect("a service");
        let answer = estate.allows(end(source), end(destination), key);
        tally.count(
            (answer != *expected).then(|| format!("{file}: {source} -> {destination} {spoken} is {answer}")),
        );
    }
    tally.skip("the recipe's prose and its policy contradict each other", CONTRADICTIONS);
    tally
}

fn inventory() -> String {
    let mut text = String::new();
    for (name, labels) in NAMESPACES {
        text.push_str(&format!(
            "{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}, labels: {{{labels}}}}}}}\n---\n"
        ));
    }
    for (number, (namespace, name, labels)) in PODS.iter().enumerate() {
        text.push_str(&format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: {namespace}, labels: {{{labels}}}}}, \
             status: {{podIP: 10.1.0.{}}}}}\n---\n",
            number + 1
        ));
    }
    text
}
