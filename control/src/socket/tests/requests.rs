//! What each request answers.

use std::fmt::Write;

use serde_json::{Value, json};

use super::{POLICY, Server, Settings, publish_body};

#[test]
fn without_a_policy_every_read_still_answers() {
    let server = Server::start(Settings::default());
    let status = server.get("/v1/status");
    assert_eq!(status["policy"], Value::Null);
    assert!(status["notices"][0].as_str().unwrap().contains("everything is dropped"), "{status}");
    assert_eq!(server.get("/v1/workloads")["total"], 0);
    assert_eq!(server.get("/v1/rules")["decisions"], 0);
    assert_eq!(server.get("/v1/flows")["flows"], json!([]));
    let records = server.get("/v1/records");
    assert_eq!((&records["records"], &records["completeness"]["complete"]), (&json!([]), &json!(true)));
    assert_eq!(server.get("/v1/policy/history")["history"], json!([]));
    let reasons = server.get("/v1/drops")["reasons"].as_array().unwrap().len();
    assert_eq!(reasons, dataplane::verdict::DropReason::COUNT);
    for path in ["/v1/policy", "/v1/explain?source=a&destination=b&service=tcp/1", "/v1/matrix?service=tcp/1"]
    {
        let (status, answer) = server.ask("GET", path, "");
        assert_eq!((status, &answer["error"]["code"]), (409, &json!("no_policy")), "{path}");
    }
}

#[test]
fn a_published_policy_is_what_every_read_speaks_of() {
    let server = Server::start(Settings::default());
    let (status, published) = server.ask("POST", "/v1/policy", &publish_body(POLICY, "why"));
    assert_eq!(status, 200, "{published}");
    assert_eq!((&published["epoch"], &published["workloads"]), (&json!(1), &json!(3)));

    let policy = &server.get("/v1/status")["policy"];
    assert_eq!(
        (&policy["epoch"], &policy["taken"], &policy["message"]),
        (&json!(1), &json!(true), &json!("why"))
    );
    assert_eq!(policy["policy_hash"], published["policy_hash"]);

    let rules = server.get("/v1/rules");
    let names: Vec<&str> =
        rules["rules"].as_array().unwrap().iter().map(|r| r["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"default/deny") && names.contains(&"shop-to-db"), "{names:?}");
    assert_eq!(names.len() as u64, published["rules"].as_u64().unwrap());

    let first = server.get("/v1/workloads?limit=2");
    assert_eq!((&first["total"], &first["next"]), (&json!(3), &json!(2)));
    let second = server.get("/v1/workloads?limit=2&after=2");
    assert_eq!((second["workloads"].as_array().unwrap().len(), &second["next"]), (1, &Value::Null));

    let source = server.get("/v1/policy");
    assert_eq!(source["files"], json!([{"name": "p.yaml", "text": POLICY}]));

    for (source, destination, service, verdict, rule) in [
        ("web", "db", "tcp/5432", "allow", "shop-to-db"),
        ("10.0.0.1", "10.0.0.2", "tcp/5432", "allow", "shop-to-db"),
        ("fd00::1", "db", "tcp/5432", "allow", "shop-to-db"),
        ("web", "db", "tcp/22", "deny", "default/deny"),
        ("fresh", "db", "tcp/5432", "deny", "default/quarantine"),
    ] {
        let path = format!("/v1/explain?source={source}&destination={destination}&service={service}");
        let answer = server.get(&path);
        assert_eq!((&answer["verdict"], &answer["rule"]), (&json!(verdict), &json!(rule)), "{path}");
    }
    let matrix = server.get("/v1/matrix?service=tcp/5432");
    assert_eq!(matrix["pairs"].as_array().unwrap().len(), 6);
}

#[test]
fn a_bad_policy_is_refused_with_all_diagnostics_and_the_old_one_stays() {
    let server = Server::start(Settings::default());
    assert_eq!(server.ask("POST", "/v1/policy", &publish_body(POLICY, "")).0, 200);
    let bad = format!("{POLICY}  - {{name: x, from: {{}}, to: any, service: tcp/99999}}\n  - {{nam: y}}\n");
    for path in ["/v1/policy", "/v1/policy/check"] {
        let body = if path.ends_with("check") {
            json!({"files": [{"name": "p.yaml", "text": bad}]}).to_string()
        } else {
            publish_body(&bad, "")
        };
        let (status, answer) = server.ask("POST", path, &body);
        assert_eq!((status, &answer["error"]["code"]), (422, &json!("policy_refused")), "{path}: {answer}");
        let faults = answer["error"]["details"]["diagnostics"].as_array().unwrap();
        assert!(faults.len() >= 2, "{faults:?}");
        assert!(faults.iter().all(|fault| fault["file"] == "p.yaml" && fault["line"].as_u64() >= Some(8)));
    }
    assert_eq!(server.get("/v1/status")["policy"]["epoch"], 1);
    assert_eq!(server.get("/v1/policy/history")["history"].as_array().unwrap().len(), 1);
}

#[test]
fn check_publishes_nothing() {
    let server = Server::start(Settings::default());
    let body = json!({"files": [{"name": "p.yaml", "text": POLICY}]}).to_string();
    let (status, checked) = server.ask("POST", "/v1/policy/check", &body);
    assert_eq!((status, &checked["workloads"]), (200, &json!(3)));
    assert_eq!(server.get("/v1/status")["policy"], Value::Null);
}

#[test]
fn rollback_and_history_over_the_socket() {
    let server = Server::start(Settings::default());
    for message in ["first", "second"] {
        assert_eq!(server.ask("POST", "/v1/policy", &publish_body(POLICY, message)).0, 200);
    }
    let (status, answer) = server.ask("POST", "/v1/policy/rollback", "{\"epoch\": 1}");
    assert_eq!((status, &answer["epoch"]), (200, &json!(3)));
    let history = server.get("/v1/policy/history");
    assert_eq!(history["epoch"], 3);
    let told: Vec<_> =
        history["history"].as_array().unwrap().iter().map(|m| (&m["epoch"], &m["message"])).collect();
    let (first, second) = (json!("first"), json!("second"));
    assert_eq!(told, [(&json!(3), &first), (&json!(2), &second), (&json!(1), &first)]);
    let (status, answer) = server.ask("POST", "/v1/policy/rollback", "{\"epoch\": 9}");
    assert_eq!((status, &answer["error"]["code"]), (404, &json!("no_such_epoch")));
}

#[test]
fn what_cannot_be_understood_is_told() {
    let server = Server::start(Settings::default());
    server.ask("POST", "/v1/policy", &publish_body(POLICY, ""));
    for (method, path, body, status, code) in [
        ("GET", "/nope", "", 404, "not_found"),
        ("DELETE", "/v1/policy", "", 405, "method"),
        ("POST", "/v1/status", "", 405, "method"),
        ("POST", "/v1/policy", "not json", 400, "bad_request"),
        ("POST", "/v1/policy", "{\"files\": [], \"extra\": 1}", 400, "bad_request"),
        ("POST", "/v1/policy", "{\"files\": []}", 422, "policy_refused"),
        ("POST", "/v1/policy/rollback", "{\"epoch\": -1}", 400, "bad_request"),
        ("GET", "/v1/workloads?limit=0", "", 400, "bad_request"),
        ("GET", "/v1/workloads?limit=10001", "", 400, "bad_request"),
        ("GET", "/v1/workloads?page=1", "", 400, "bad_request"),
        ("GET", "/v1/flows?verdict=maybe", "", 400, "bad_request"),
        ("GET", "/v1/flows?label=app", "", 400, "bad_request"),
        ("GET", "/v1/records?verdict=maybe", "", 400, "bad_request"),
        ("GET", "/v1/records?limit=0", "", 400, "bad_request"),
        ("GET", "/v1/flows?address=web", "", 400, "bad_request"),
        ("GET", "/v1/flows?port=65536", "", 400, "bad_request"),
        ("GET", "/v1/explain?source=web&destination=db", "", 400, "bad_request"),
        ("GET", "/v1/explain?source=web&destination=nobody&service=tcp/1", "", 400, "bad_request"),
        ("GET", "/v1/explain?source=web&destination=db&service=tcp", "", 400, "bad_request"),
        ("GET", "/v1/matrix?service=tcp/1&format=xml", "", 400, "bad_request"),
    ] {
        let (got, answer) = server.ask(method, path, body);
        assert_eq!(
            (got, &answer["error"]["code"]),
            (status, &json!(code)),
            "{method} {path} {body}: {answer}"
        );
        assert!(!answer["error"]["message"].as_str().unwrap().is_empty());
    }
}

/// Goal 2 of the project: a large policy through the socket, and an answer from it.
#[test]
fn ten_thousand_workloads_and_ten_thousand_rules() {
    const N: usize = 10_000;
    let mut text = String::from("ringfence: 1\nworkloads:\n");
    for n in 0..N {
        let (high, low) = (n / 250, n % 250 + 1);
        let labels = format!("{{app: app-{n}, tier: tier-{}}}", n % 10);
        writeln!(text, "  - {{name: w-{n}, labels: {labels}, addresses: [10.1.{high}.{low}]}}").unwrap();
    }
    text.push_str("rules:\n");
    for n in 0..N {
        let (to, port) = ((n + 1) % N, 1000 + n % 5000);
        writeln!(
            text,
            "  - {{name: r-{n}, from: {{app: app-{n}}}, to: {{app: app-{to}}}, service: tcp/{port}}}"
        )
        .unwrap();
    }
    let server = Server::start(Settings::default());
    let (status, published) = server.ask("POST", "/v1/policy", &publish_body(&text, "large"));
    assert_eq!(status, 200, "{published}");
    assert_eq!(published["workloads"], N);
    println!("validate {} ms, compile {} ms", published["validate_ms"], published["compile_ms"]);
    for (source, destination, service, verdict, rule) in [
        ("w-0", "w-1", "tcp/1000", "allow", "r-0"),
        ("w-9999", "w-0", "tcp/5999", "allow", "r-9999"),
        ("w-4321", "w-4322", "tcp/5321", "allow", "r-4321"),
        ("w-4321", "w-4322", "tcp/5322", "deny", "default/deny"),
        ("w-4322", "w-4321", "tcp/5321", "deny", "default/deny"),
    ] {
        let path = format!("/v1/explain?source={source}&destination={destination}&service={service}");
        let answer = server.get(&path);
        assert_eq!((&answer["verdict"], &answer["rule"]), (&json!(verdict), &json!(rule)), "{path}");
    }
    let (status, answer) = server.ask("GET", "/v1/matrix?service=tcp/1000", "");
    assert_eq!((status, &answer["error"]["code"]), (413, &json!("too_large")));
}

#[test]
fn a_change_goes_through_its_life() {
    let server = Server::start(Settings::default());
    let (status, _) = server.ask("POST", "/v1/policy", &publish_body(POLICY, "first"));
    assert_eq!(status, 200);
    let next = POLICY.replace("tcp/5432", "tcp/5433");
    let draft = json!({"name": "next", "files": [{"name": "p.yaml", "text": next}]}).to_string();
    let (status, staged) = server.ask("POST", "/v1/policy/drafts", &draft);
    assert_eq!((status, &staged["name"]), (200, &json!("next")), "{staged}");
    assert_eq!(server.get("/v1/policy/drafts")["drafts"][0]["name"], "next");
    assert_eq!(server.get("/v1/status")["drafts"][0]["decisions"], 0);
    assert_eq!(server.get("/v1/status")["policy"]["epoch"], 1);
    assert_eq!(server.get("/v1/status")["policy"]["table_epoch"], 2);

    let (status, diff) = server.ask("POST", "/v1/policy/diff", &json!({"draft": "next"}).to_string());
    assert_eq!((status, &diff["summary"]), (200, &json!("~rule shop-to-db")), "{diff}");
    assert_eq!(diff["changes"].as_array().unwrap().len(), 2);
    let (status, simulation) =
        server.ask("POST", "/v1/policy/simulate", &json!({"draft": "next"}).to_string());
    assert_eq!(
        (status, &simulation["cut"], &simulation["live"]),
        (200, &json!(0), &json!(0)),
        "{simulation}"
    );

    let publish = json!({"draft": "next", "if_epoch": 1, "max_cut": 0, "confirm_within_ms": 3_600_000});
    let (status, published) = server.ask("POST", "/v1/policy", &publish.to_string());
    assert_eq!((status, &published["epoch"]), (200, &json!(3)), "{published}");
    assert_eq!(server.get("/v1/status")["awaiting"]["revert_to"], 1);
    for (name, method, path, body, status, code) in [
        ("publish meanwhile", "POST", "/v1/policy", publish_body(POLICY, ""), 409, "unconfirmed"),
        (
            "confirm another",
            "POST",
            "/v1/policy/confirm",
            json!({"epoch": 1}).to_string(),
            409,
            "nothing_to_confirm",
        ),
        ("no such draft", "POST", "/v1/policy/diff", json!({"draft": "x"}).to_string(), 404, "no_such_draft"),
        ("neither", "POST", "/v1/policy/simulate", "{}".into(), 400, "bad_request"),
        ("a bad draft", "POST", "/v1/policy/drafts", draft.replace("rules:", "ruls:"), 422, "policy_refused"),
        (
            "a bad name",
            "POST",
            "/v1/policy/drafts",
            draft.replace("\"next\"", "\"../next\""),
            400,
            "bad_request",
        ),
        ("drop another", "DELETE", "/v1/policy/drafts/x", String::new(), 404, "no_such_draft"),
    ] {
        let (got, answer) = server.ask(method, path, &body);
        assert_eq!((got, &answer["error"]["code"]), (status, &json!(code)), "{name}: {answer}");
    }
    let (status, confirmed) = server.ask("POST", "/v1/policy/confirm", &json!({"epoch": 3}).to_string());
    assert_eq!((status, &confirmed["epoch"]), (200, &json!(3)));
    let (status, answer) =
        server.ask("POST", "/v1/policy", &json!({"draft": "next", "if_epoch": 1}).to_string());
    assert_eq!((status, &answer["error"]["code"]), (409, &json!("overtaken")));
    let (status, _) = server.ask("DELETE", "/v1/policy/drafts/next", "");
    assert_eq!(status, 200);
    assert_eq!(server.get("/v1/policy/drafts")["drafts"], json!([]));
}
