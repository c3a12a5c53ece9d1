//! The proxies in `ringfence status`, as tables.

use serde_json::{Value, json};

use super::print::{count, list, table, word};

/// Every proxy, and the servers behind them.
pub(super) fn proxies(answer: &Value) -> String {
    let all = list(&answer["proxies"]);
    let refused = |proxy: &Value, policy: bool| {
        let by_policy =
            |one: &&Value| matches!(one["reason"].as_str(), Some("policy" | "rejected" | "no_policy"));
        let some = list(&proxy["refused"]).iter().filter(|one| by_policy(one) == policy);
        some.filter_map(|one| one["count"].as_u64()).sum::<u64>()
    };
    let rows = all.iter().map(|proxy| {
        let listen = list(&proxy["listen"]).iter().map(word).collect::<Vec<_>>().join("\n");
        let bytes = [&proxy["bytes_from_clients"], &proxy["bytes_from_servers"]];
        let draining = if proxy["draining"] == true { " (drains)" } else { "" };
        vec![
            format!("{}{draining}", word(&proxy["name"])),
            listen,
            format!("{}/{}", proxy["workers_alive"], proxy["workers"]),
            count(&proxy["open"]),
            count(&proxy["accepted"]),
            count(&proxy["refused_early"]),
            count(&json!(refused(proxy, true))),
            count(&json!(refused(proxy, false))),
            bytes.map(count).join("\n"),
        ]
    });
    let header = [
        "PROXY",
        "LISTENS ON",
        "WORKERS",
        "OPEN",
        "ACCEPTED",
        "EARLY",
        "DENIED",
        "REFUSED",
        "BYTES UP, DOWN",
    ];
    let mut text = table(&header, rows);
    let servers = all.iter().flat_map(|proxy| {
        list(&proxy["servers"]).iter().map(|server| {
            let state = if server["healthy"] == true { "healthy" } else { "unhealthy" };
            let counts = ["open", "connected", "failed"].map(|key| count(&server[key]));
            let mut row =
                vec![format!("{} -> {}", word(&proxy["name"]), word(&server["address"])), state.into()];
            row.extend(counts);
            row
        })
    });
    let servers = table(&["SERVER", "STATE", "OPEN", "CONNECTED", "FAILED"], servers);
    if !servers.is_empty() {
        text.push_str(&format!("\n{servers}"));
    }
    let reasons = all.iter().flat_map(|proxy| {
        list(&proxy["refused"]).iter().map(|one| {
            vec![word(&proxy["name"]), word(&one["reason"]), count(&one["count"]), word(&one["meaning"])]
        })
    });
    let reasons = table(&["REFUSED BY", "REASON", "COUNT", "MEANING"], reasons);
    if !reasons.is_empty() {
        text.push_str(&format!("\n{reasons}"));
    }
    if text.is_empty() { text } else { format!("\n{text}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_proxy_has_its_lines() {
        assert_eq!(proxies(&json!({"proxies": []})), "");
        let answer = json!({"proxies": [{
            "name": "front", "listen": ["127.0.0.1:1", "[::1]:1"], "draining": true, "workers": 2, "workers_alive": 1,
            "open": 3, "accepted": 1234, "refused_early": 7, "bytes_from_clients": 5, "bytes_from_servers": 6000,
            "servers": [{"address": "10.0.0.1:2", "healthy": false, "open": 1, "connected": 2, "failed": 77}],
            "refused": [{"reason": "policy", "count": 8, "meaning": "Policy denies it."},
                        {"reason": "no_backend", "count": 9, "meaning": "No server is healthy."}],
        }]});
        let text = proxies(&answer);
        for words in [
            "front (drains)",
            "[::1]:1",
            "1/2",
            "1 234",
            "6 000",
            "front -> 10.0.0.1:2",
            "unhealthy",
            "77",
            "no_backend",
            "No server is healthy.",
        ] {
            assert!(text.contains(words), "{words} is not in {text}");
        }
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    }
}
