//! What is on the map: a policy and a record of flows, small for the eye, or of ten thousand workloads.

use std::fmt::Write as _;

use serde_json::{Value, json};

const TCP: u32 = 6 << 16;
const UDP: u32 = 17 << 16;

/// A shop, its neighbours, monitoring that nobody has allowed yet, a laptop without labels, the office and strangers.
pub(crate) const POLICY: &str = "ringfence: 1
workloads:
  - {name: web-1, labels: {app: shop, role: web, env: prod}, addresses: [10.1.0.1]}
  - {name: web-2, labels: {app: shop, role: web, env: prod}, addresses: [10.1.0.2]}
  - {name: api-1, labels: {app: shop, role: api, env: prod}, addresses: [10.1.1.1]}
  - {name: worker-1, labels: {app: shop, role: worker, env: prod}, addresses: [10.1.2.1]}
  - {name: crm-web, labels: {app: crm, role: web, env: prod}, addresses: [10.2.0.1]}
  - {name: crm-api, labels: {app: crm, role: api, env: prod}, addresses: [10.2.1.1]}
  - {name: db-1, labels: {app: [crm, shop], role: db, env: prod}, addresses: [10.3.0.1, \"fd03::1\"]}
  - {name: cache-1, labels: {app: [crm, shop], role: cache, env: prod}, addresses: [10.3.1.1]}
  - {name: reports-1, labels: {app: reports, role: batch, env: prod}, addresses: [10.4.0.1]}
  - {name: collector, labels: {app: monitoring, role: collector, env: prod}, addresses: [10.5.0.1]}
  - {name: payments-1, labels: {app: payments, role: web, env: dev}, addresses: [10.6.0.1]}
  - {name: laptop, addresses: [10.9.0.1]}
networks:
  - {name: office, cidrs: [192.0.2.0/24], labels: {site: office}}
enforcement:
  - {select: {app: monitoring}, egress: observe}
  - {select: {role: [api, worker, db, cache]}, ingress: observe}
rules:
  - {name: customers, from: any, to: {app: [shop, crm], role: web}, service: tcp/443}
  - {name: web-to-api, from: {role: web}, to: {role: api}, same: [app], service: tcp/8080}
  - {name: api-to-data, from: {role: [api, worker]}, to: {role: db}, service: tcp/5432}
  - {name: api-to-cache, from: {role: api}, to: {role: cache}, service: tcp/6379}
";

/// One kind of flow in the record.
struct Kind {
    from: String,
    to: String,
    service: u32,
    verdict: &'static str,
    rule: &'static str,
    potential: Option<&'static str>,
    flows: u64,
}

/// Verdict, rule, and what would have closed a gate.
type Decided = (&'static str, &'static str, Option<&'static str>);

fn record(kinds: &[Kind]) -> Value {
    let now = jiff::Timestamp::now();
    let ago = |seconds: i64| (now - jiff::SignedDuration::from_secs(seconds)).to_string();
    let records = (0_u32..).zip(kinds).map(|(at, kind)| {
        let denied = kind.verdict != "allow";
        let bytes = if denied { kind.flows * 60 } else { kind.flows * (900 + 7919 * u64::from(at % 9)) };
        json!({
            "source": kind.from, "destination": kind.to, "service": kind.service, "verdict": kind.verdict,
            "rule": kind.rule, "potential": kind.potential, "flows": kind.flows, "packets": kind.flows * 9,
            "bytes": bytes, "first_seen": ago(40_000 - 7 * (i64::from(at % 4000))), "last_seen": ago(20 + i64::from(at % 30)),
        })
    });
    let records: Vec<Value> = records.collect();
    json!({ "from": ago(90_000), "to": ago(5), "missed": 0, "gaps": 0, "records": records })
}

/// What was seen of the small one.
pub(crate) fn records() -> Value {
    let seen = |from: &str, to: &str, service, verdict, rule, potential, flows| Kind {
        from: from.into(),
        to: to.into(),
        service,
        verdict,
        rule,
        potential,
        flows,
    };
    let allowed = |from, to, service, rule, flows| seen(from, to, service, "allow", rule, None, flows);
    let passes = |from, to, service, flows| {
        seen(from, to, service, "allow", "default/deny", Some("default/deny"), flows)
    };
    let denied = |from, to, service, rule, flows| seen(from, to, service, "deny", rule, None, flows);
    record(&[
        allowed("192.0.2.17", "10.1.0.1", TCP | 443, "customers", 8_100),
        allowed("198.51.100.9", "10.1.0.1", TCP | 443, "customers", 93_000),
        allowed("198.51.100.10", "10.1.0.2", TCP | 443, "customers", 71_000),
        allowed("192.0.2.21", "10.2.0.1", TCP | 443, "customers", 950),
        allowed("10.1.0.1", "10.1.1.1", TCP | 8080, "web-to-api", 61_000),
        allowed("10.1.0.2", "10.1.1.1", TCP | 8080, "web-to-api", 59_000),
        allowed("10.1.1.1", "10.3.0.1", TCP | 5432, "api-to-data", 44_000),
        allowed("10.1.1.1", "10.3.1.1", TCP | 6379, "api-to-cache", 128_000),
        allowed("10.1.2.1", "10.3.0.1", TCP | 5432, "api-to-data", 700),
        allowed("10.2.0.1", "10.2.1.1", TCP | 8080, "web-to-api", 2_200),
        allowed("10.2.1.1", "10.3.0.1", TCP | 5432, "api-to-data", 1_900),
        passes("10.5.0.1", "10.1.1.1", TCP | 9100, 810),
        passes("10.5.0.1", "10.2.1.1", TCP | 9100, 806),
        passes("10.5.0.1", "10.3.0.1", TCP | 9100, 808),
        passes("10.5.0.1", "10.3.0.1", TCP | 9187, 404),
        denied("10.4.0.1", "10.3.0.1", TCP | 5432, "default/deny", 42),
        denied("10.9.0.1", "10.3.0.1", UDP | 8125, "default/quarantine", 12),
        denied("203.0.113.66", "10.1.0.1", TCP | 22, "default/deny", 231),
    ])
}

/// Applications of the large one.
pub(crate) const APPLICATIONS: usize = 300;
/// Workloads of each tier of an application: web, api, db.
const TIERS: [(&str, usize); 3] = [("web", 12), ("api", 14), ("db", 8)];

/// Its workloads.
pub(crate) fn workloads() -> usize {
    APPLICATIONS * TIERS.iter().map(|(_, count)| count).sum::<usize>()
}

fn address(application: usize, tier: usize, number: usize) -> String {
    format!("10.{}.{}.{}", 16 + application / 64, (application % 64) * 4 + tier, 1 + number)
}

/// A policy of 300 applications of three tiers, 10,200 workloads.
pub(crate) fn large_policy() -> String {
    let mut text = String::from("ringfence: 1\nworkloads:\n");
    for application in 0..APPLICATIONS {
        for (tier, (role, count)) in TIERS.iter().enumerate() {
            for number in 0..*count {
                let address = address(application, tier, number);
                let env = if application % 7 == 6 { "dev" } else { "prod" };
                let labels = format!("app: app-{application:03}, role: {role}, env: {env}");
                let name = format!("{role}-{application:03}-{number}");
                writeln!(text, "  - {{name: {name}, labels: {{{labels}}}, addresses: [{address}]}}").unwrap();
            }
        }
    }
    text.push_str("rules:\n  - {name: web-to-api, from: {role: web}, to: {role: api}, same: [app], service: tcp/8080}\n");
    text.push_str(
        "  - {name: api-to-db, from: {role: api}, to: {role: db}, same: [app], service: tcp/5432}\n",
    );
    text
}

/// Some thirty thousand kinds of flow within and between its applications; who asks whom is arithmetic, not chance.
pub(crate) fn large_records() -> Value {
    let mut kinds = Vec::new();
    let mut seen = |from: (usize, usize, usize), to: (usize, usize, usize), service, decided, flows| {
        let ends = [from, to].map(|(application, tier, number)| address(application, tier, number));
        kinds.push((ends, service, decided, flows));
    };
    let (denied, observed) =
        (("deny", "default/deny", None), ("allow", "default/deny", Some("default/deny")));
    for application in 0..APPLICATIONS {
        let weight = (40_000 / (application + 1) + 3) as u64;
        for number in 0..14 {
            for other in 0..3 {
                let (api, inside) = ((application, 1, (number + other) % 14), ("allow", "web-to-api", None));
                seen((application, 0, number % 12), api, TCP | 8080, inside, weight);
                let (db, inside) = ((application, 2, (number + other) % 8), ("allow", "api-to-db", None));
                seen((application, 1, number), db, TCP | 5432, inside, weight / 2 + 1);
            }
        }
        let asked = (application * 37 + 11) % (application / 2 + 1);
        let (service, decided) = match application % 5 {
            0 => (TCP | 22, denied),
            1 => (TCP | 9100, observed),
            _ => (TCP | 8443, ("allow", "api-to-api", None)),
        };
        if asked != application {
            seen((application, 1, 0), (asked, 1, 0), service, decided, weight / 9 + 1);
        }
    }
    let kind = |(ends, service, decided, flows): &'_ ([String; 2], u32, Decided, u64)| Kind {
        from: ends[0].clone(),
        to: ends[1].clone(),
        service: *service,
        verdict: decided.0,
        rule: decided.1,
        potential: decided.2,
        flows: *flows,
    };
    let kinds: Vec<Kind> = kinds.iter().map(kind).collect();
    record(&kinds)
}
