//! The manifests in `config/policies/manifests`, and what they say.

use std::path::Path;

use control::policy::service;

use crate::estate::Estate;

/// File, source, destination, what is asked, whether it is allowed.
const FLOWS: &[(&str, &str, &str, &str, bool)] = &[
    ("kubernetes", "prod/web", "prod/db", "tcp/5432", true),
    ("kubernetes", "prod/web", "prod/db", "tcp/22", false),
    ("kubernetes", "dev/web", "prod/web", "tcp/80", false),
    ("kubernetes", "prod/web", "dev/web", "tcp/80", true),
    ("kubernetes", "10.50.1.1", "prod/db", "tcp/9010", true),
    ("kubernetes", "10.50.9.1", "prod/db", "tcp/9010", false),
    ("cilium", "shop/web", "shop/api", "tcp/8080", true),
    ("cilium", "shop/web", "shop/api", "tcp/22", false),
    ("cilium", "198.51.100.1", "shop/api", "icmp/8", true),
    ("cilium", "shop/api", "192.0.2.5", "tcp/443", true),
    ("cilium", "shop/api", "192.0.2.200", "tcp/443", false),
    ("cilium", "198.51.100.1", "shop/web", "tcp/23", false),
    ("cilium", "198.51.100.1", "shop/web", "tcp/80", true),
    ("calico", "198.51.100.7", "shop/api", "tcp/22", true),
    ("calico", "shop/db", "shop/api", "tcp/80", true),
    ("calico", "shop/api", "shop/db", "tcp/5432", true),
    ("calico", "198.51.100.7", "shop/db", "tcp/5432", false),
];

#[test]
fn the_example_manifests_mean_what_they_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/policies/manifests");
    for (file, source, destination, spoken, expected) in FLOWS {
        let path = folder.join(format!("{file}.yaml"));
        let estate = Estate::load(&[path]).unwrap_or_else(|faults| panic!("{faults}"));
        let end =
            |word: &str| word.parse().unwrap_or_else(|_| estate.workload(word).expect("a pod").addresses[0]);
        let key = service::parse_one(spoken).expect("a service");
        let answer = estate.allows(end(source), end(destination), key);
        assert_eq!(answer, *expected, "{file}: {source} -> {destination} {spoken}");
    }
}
