use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::drawing::Drawing;
use super::{dot, svg, text};

fn node(id: &str, name: &str, workloads: u64, examples: &[&str]) -> Value {
    json!({"id": id, "name": name, "workloads": workloads, "examples": examples})
}

fn edge(ends: [&str; 2], states: [&str; 2], flows: u64, services: &[(&str, &str, &str)]) -> Value {
    let draft = if states[1].is_empty() { Value::Null } else { states[1].into() };
    let service = |(name, rule, later): &(&str, &str, &str)| {
        let later: Vec<&str> = [*later].into_iter().filter(|rule| !rule.is_empty()).collect();
        json!({"service": name, "state": states[0], "draft": draft, "rules": [rule], "potential": [],
               "draft_rules": later, "flows": flows})
    };
    json!({"from": ends[0], "to": ends[1], "state": states[0], "draft": draft, "flows": flows, "bytes": flows * 1234,
           "services": services.iter().map(service).collect::<Vec<_>>(), "services_left_out": 0,
           "last_seen": "2026-11-22T17:40:20Z"})
}

/// A shop with its neighbours, as the daemon would answer.
pub(super) fn answer() -> Value {
    let group = |name: &str, kind: &str, workloads: u64, nodes: Vec<Value>| json!({"name": name, "kind": kind, "workloads": workloads, "nodes": nodes});
    json!({
        "completeness": {"complete": true, "from": "2026-11-22T17:00:00Z", "to": "2026-11-22T17:40:20Z",
                         "missed": 0, "gaps": 0},
        "by": ["app"], "tier": "role", "draft": "next", "totals": {"flows": 98_765},
        "left_out": {"groups": 0, "nodes": 0, "edges": 3, "flows": 17},
        "groups": [
            group("app=crm+shop", "labelled", 2, vec![node("db", "role=db", 2, &["db-1", "db-2"])]),
            group("app=crm", "labelled", 1, vec![node("crm", "role=web", 1, &["crm"])]),
            group("app=idle", "labelled", 4, vec![node("idle", "role=web", 4, &["a", "b", "c", "d"])]),
            group("app=mail", "labelled", 2, vec![node("relay", "role=relay", 2, &["relay-1", "relay-2"])]),
            group("app=monitoring", "labelled", 1, vec![node("prom", "role=prometheus", 1, &["prom"])]),
            group("app=shop", "labelled", 9, vec![
                node("web", "role=web", 6, &["web-1", "web-2", "web-3", "web-4", "web-5"]),
                node("api", "role=api", 2, &["api-1", "api-2"]),
                node("batch", "role=batch", 1, &["batch"]),
            ]),
            group("unlabelled", "unlabelled", 1, vec![node("fresh", "unlabelled", 1, &["fresh"])]),
            group("networks", "network", 0, vec![node("office", "office", 0, &["192.0.2.7"])]),
            group("unknown", "unknown", 0, vec![node("unknown", "unknown", 0, &["203.0.113.1", "203.0.113.2"])]),
        ],
        "edges": [
            edge(["unknown", "web"], ["allowed", "allowed"], 90_000, &[("tcp/443", "shop-open", "shop-open")]),
            edge(["unknown", "web"], ["blocked", "blocked"], 3000, &[("tcp/22", "default/deny", "default/deny")]),
            edge(["office", "batch"], ["potentially-blocked", "blocked"], 12, &[("tcp/22", "office", "default/deny")]),
            edge(["web", "api"], ["allowed", "allowed"], 40_000, &[("tcp/8080", "web-api", "web-api")]),
            edge(["api", "db"], ["allowed", "allowed"], 30_000,
                 &[("tcp/5432", "api-db", "api-db"), ("udp/8125", "telemetry", "telemetry")]),
            edge(["batch", "db"], ["potentially-blocked", "allowed"], 70, &[("tcp/5432", "default/deny", "batch-db")]),
            edge(["batch", "api"], ["allowed", "blocked"], 7, &[("tcp/8080", "old", "default/deny")]),
            edge(["crm", "db"], ["allowed", "allowed"], 800, &[("tcp/5432", "crm-db", "crm-db")]),
            edge(["api", "relay"], ["allowed", "allowed"], 50, &[("tcp/25", "mail", "mail")]),
            edge(["relay", "crm"], ["allowed", "allowed"], 5, &[("tcp/443", "hook", "hook")]),
            edge(["db", "web"], ["potentially-blocked", "blocked"], 2, &[("tcp/80", "default/deny", "default/deny")]),
            edge(["prom", "web"], ["allowed", "allowed"], 600, &[("tcp/9100", "scrape", "scrape")]),
            edge(["prom", "db"], ["allowed", "allowed"], 200, &[("tcp/9187", "scrape", "scrape")]),
            edge(["prom", "crm"], ["allowed", "allowed"], 100, &[("tcp/9100", "scrape", "scrape")]),
            edge(["fresh", "db"], ["blocked", "blocked"], 44, &[("udp/8125", "default/quarantine", "default/quarantine")]),
        ],
    })
}

/// The same with names that no policy could have.
fn hostile() -> Value {
    let names =
        ["</text><script>alert(1)</script>", "\"]; }\" \\", "a&b<c>\"d'\u{0}\u{1b}[31m\n", "]]>", "\\"];
    let mut answer = answer();
    let mut at = 0;
    let mut next = || {
        at += 1;
        names[at % names.len()]
    };
    for group in answer["groups"].as_array_mut().unwrap() {
        group["name"] = next().into();
        for node in group["nodes"].as_array_mut().unwrap() {
            node["name"] = next().into();
            node["examples"] = json!([next(), next()]);
        }
    }
    for edge in answer["edges"].as_array_mut().unwrap() {
        edge["last_seen"] = next().into();
        for service in edge["services"].as_array_mut().unwrap() {
            service["service"] = next().into();
        }
    }
    answer["draft"] = next().into();
    answer
}

#[test]
fn the_terminal_shows_who_opens_what() {
    let drawing = Drawing::read(&answer());
    insta::assert_snapshot!(text::text(&drawing, false));
    let coloured = text::text(&drawing, true);
    let mut plain = String::new();
    for (at, part) in coloured.split('\u{1b}').enumerate() {
        plain.push_str(if at == 0 { part } else { part.split_once('m').unwrap().1 });
    }
    assert_eq!(plain, text::text(&drawing, false), "colours add nothing that is not there without");
    assert_eq!(text::text(&Drawing::read(&json!({})), false).lines().nth(3), Some("no flows"));
    let escapes = text::text(&Drawing::read(&hostile()), false);
    assert!(escapes.chars().all(|letter| letter == '\n' || !letter.is_control()), "{escapes:?}");
}

#[test]
#[ignore = "needs graphviz"]
fn graphviz_reads_what_is_meant_for_it() {
    for answer in [answer(), hostile(), json!({})] {
        let source = dot::dot(&Drawing::read(&answer));
        let mut dot = Command::new("dot")
            .arg("-Tplain")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("graphviz is installed: .ci/run does it");
        dot.stdin.take().unwrap().write_all(source.as_bytes()).unwrap();
        let done = dot.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success() && said.is_empty(), "{said}\n{source}");
        let plain = String::from_utf8_lossy(&done.stdout);
        let edges = answer["edges"].as_array().map_or(0, Vec::len);
        assert_eq!(plain.lines().filter(|line| line.starts_with("edge ")).count(), edges, "{source}");
    }
}

#[test]
fn the_picture_is_xml_and_needs_nothing_else() {
    for (answer, edges) in [(answer(), 15), (hostile(), 15), (json!({}), 0)] {
        let picture = svg::svg(&Drawing::read(&answer));
        let tree = roxmltree::Document::parse(&picture).unwrap_or_else(|error| panic!("{error}\n{picture}"));
        let all = || tree.descendants().filter(roxmltree::Node::is_element);
        let known = ["svg", "title", "desc", "style", "rect", "g", "path", "text", "tspan"];
        assert!(all().all(|one| known.contains(&one.tag_name().name())), "{picture}");
        assert_eq!(all().filter(|one| one.attribute("class") == Some("tip")).count(), edges);
        let names = |one: &roxmltree::Node<'_, '_>| {
            one.attributes().all(|a| !a.name().starts_with("on") && !a.name().contains("href"))
        };
        assert!(all().all(|one| names(&one)) && !picture.contains("url(") && !picture.contains("@import"));
        assert!(!picture.contains("NaN") && !picture.contains("inf"), "{picture}");
        if let Some(folder) = std::env::var_os("MAP_PICTURES").filter(|_| edges > 0) {
            let name = if answer["draft"] == "next" { "map.svg" } else { "hostile.svg" };
            std::fs::write(std::path::Path::new(&folder).join(name), &picture).unwrap();
        }
    }
}

#[test]
fn boxes_do_not_overlap_and_edges_end_at_their_nodes() {
    let drawing = Drawing::read(&answer());
    let layout = super::layout::layout(&drawing);
    let boxes: Vec<_> = layout.groups.iter().flatten().collect();
    assert_eq!(boxes.len(), 8, "all but the idle one");
    for (at, a) in boxes.iter().enumerate() {
        for b in &boxes[at + 1..] {
            let apart = a.x + a.w <= b.x || b.x + b.w <= a.x || a.y + a.h <= b.y || b.y + b.h <= a.y;
            assert!(apart, "{a:?} {b:?}");
        }
    }
    for (edge, way) in drawing.edges.iter().zip(&layout.edges) {
        for (node, end) in [(edge.from, way[0]), (edge.to, way[way.len() - 1])] {
            let area = layout.nodes[node].unwrap();
            assert!(end.0 == area.x || end.0 == area.x + area.w, "{edge:?} {way:?}");
            assert!(area.y < end.1 && end.1 < area.y + area.h, "{edge:?} {way:?}");
        }
    }
}
