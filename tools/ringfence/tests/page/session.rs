//! Who may what, from seen to published, and what the page says when the daemon is away.

use rustix::process::Signal;

use super::browser::Browser;
use super::daemon::Daemon;
use super::journey::nothing_strange;
use super::{estate, picture, skip_without_browser};

#[test]
#[ignore = "needs chromium and chromium-driver"]
fn what_was_seen_becomes_policy() {
    if skip_without_browser() {
        return;
    }
    let daemon = Daemon::start(estate::POLICY, &estate::records());
    let browser = Browser::start(false);
    browser.open(&daemon.page(&[]));
    browser.wait("the map", "document.querySelectorAll('svg.map .group').length > 5");
    // The list beside the map leads to the line that wants a rule, and the line to the rule.
    browser.click("#details .list button", "monitoring / collector → crm+shop / db");
    browser.click("#details .service button", "Propose a rule");
    browser.wait("the proposal", "document.querySelector('#change textarea').value.includes('tcp/9100')");
    browser.click("#change button", "Check");
    browser.wait(
        "it is policy",
        "document.querySelector('#change .good').textContent.startsWith('It could be published')",
    );
    browser.click("#change button", "Stage it");
    browser.wait("the draft beside the policy", "document.querySelectorAll('.pane svg.map').length === 2");
    let drawn = "document.querySelectorAll('.pane:last-child .edge.changed.allowed').length > 0";
    browser.wait("what it would allow", drawn);
    browser.click("#change button", "Simulate");
    browser.wait("simulated", "document.querySelector('.simulation').textContent.includes('0 denied')");
    picture(&browser, "map-draft");
    let before = daemon.epoch();
    browser.click("#change button", "Publish");
    browser.wait("a last look", "document.querySelector('dialog[open] select').value === '600000'");
    browser.click("dialog button", "Publish");
    browser.wait(
        "it waits",
        "document.querySelector('.banner.waiting').textContent.includes('waits to be confirmed')",
    );
    assert!(daemon.epoch() > before && !daemon.json(&["status"])["awaiting"].is_null());
    browser.click(".banner.waiting button", "Confirm");
    browser.wait("confirmed", "!document.querySelector('.banner.waiting')");
    assert!(daemon.json(&["status"])["awaiting"].is_null());
    let why = daemon.json(&["explain", "collector", "db-1", "tcp/9100"]);
    assert_eq!((why["verdict"].as_str(), why["potential"].as_str()), (Some("allow"), None), "{why}");
    browser.click("#change button", "Roll back to it");
    browser.wait(
        "back",
        "[...document.querySelectorAll('#change .good')].some((one) => one.textContent.startsWith('Epoch '))",
    );
    assert_eq!(daemon.json(&["explain", "collector", "db-1", "tcp/9100"])["potential"], "default/deny");
    nothing_strange(&browser, &daemon.origin());
}

#[test]
#[ignore = "needs chromium and chromium-driver"]
fn who_may_only_read_is_offered_nothing_else() {
    if skip_without_browser() {
        return;
    }
    let daemon = Daemon::start(estate::POLICY, &estate::records());
    let browser = Browser::start(false);
    browser.open(&format!("{}/", daemon.origin()));
    browser.wait("a way in", "document.querySelector('.empty input[name=code]')");
    assert!(browser.text(".empty").contains("ringfence page"));
    // A code is good once: what another browser used is refused here, and said.
    let code = daemon.page(&["--read-only"]);
    browser.open(&code);
    browser.value("location.reload()");
    browser.wait("signed in, and still after a reload", "document.querySelector('svg.map .group')");
    browser.click("#tab-change", "Change");
    browser
        .wait("what is missing", "document.querySelector('#change').textContent.includes('right to change')");
    browser.click("#change button", "Write a draft");
    browser.wait("an editor", "document.querySelector('#change textarea')");
    assert_eq!(
        browser.value(
            "[...document.querySelectorAll('#change button')].some((one) => one.textContent === 'Stage it')"
        ),
        false
    );
    browser.value(
        "(() => { const area = document.querySelector('#change textarea'); area.value = 'ringfence: 1\\nrules: [{nam: x}]\\n'; \
         area.dispatchEvent(new Event('input')); })()",
    );
    browser.click("#change button", "Check");
    browser.wait(
        "the fault with its place",
        "document.querySelector('#change .error').textContent.includes('proposed.yaml:2:')",
    );
    // The refusal is the answer that was asked for; the browser notes its status.
    let complaints = browser.complaints();
    assert!(complaints.iter().all(|one| one.contains(" 422 ") || one.contains(" 401 ")), "{complaints:?}");
    let used = Browser::start(false);
    used.open(&code);
    used.wait("said", "document.querySelector('.banner.bad').textContent.includes('used already')");
}

#[test]
#[ignore = "needs chromium and chromium-driver"]
fn a_daemon_that_is_away_is_told_and_comes_back() {
    if skip_without_browser() {
        return;
    }
    let mut daemon = Daemon::start(estate::POLICY, &estate::records());
    let origin = daemon.origin();
    let config = daemon.file("ringfence.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    let port = origin.rsplit(':').next().unwrap();
    std::fs::write(&config, text.replace("127.0.0.1:0", &format!("127.0.0.1:{port}"))).unwrap();
    let browser = Browser::start(false);
    browser.open(&daemon.page(&[]));
    browser.wait("the map", "document.querySelector('svg.map .group')");
    daemon.signal(Signal::KILL);
    assert_eq!(daemon.end(), None);
    browser.wait("said", "document.querySelector('.banner.bad').textContent.includes('does not answer')");
    browser.wait("what was known stays", "document.querySelector('svg.map .group')");
    picture(&browser, "test-away");
    daemon.run();
    // Sessions end with the daemon.
    browser.wait("a way in", "document.querySelector('.empty input[name=code]')");
    browser.open(&daemon.page(&[]));
    browser.wait("the map again", "document.querySelector('svg.map .group')");
}

#[test]
#[ignore = "needs chromium and chromium-driver"]
fn a_daemon_that_has_seen_nothing_says_so() {
    if skip_without_browser() {
        return;
    }
    let empty = serde_json::json!({
        "from": "2026-11-01T00:00:00Z", "to": "2026-11-01T00:00:01Z", "missed": 3, "gaps": 0, "records": [],
    });
    let daemon = Daemon::start("ringfence: 1\n", &empty);
    let browser = Browser::start(true);
    browser.open(&daemon.page(&[]));
    browser.wait("said", "document.querySelector('.empty h2').textContent === 'Nothing was seen yet'");
    browser.wait(
        "what was missed",
        "document.querySelector('#completeness.missed').textContent.includes('3 events')",
    );
    picture(&browser, "test-empty");
    nothing_strange(&browser, &daemon.origin());
}
