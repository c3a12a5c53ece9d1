//! Ten thousand workloads: groups, not a hairball.

use super::browser::Browser;
use super::daemon::Daemon;
use super::journey::nothing_strange;
use super::{estate, picture, skip_without_browser};

#[test]
#[ignore = "needs chromium and chromium-driver"]
fn ten_thousand_workloads_are_groups() {
    if skip_without_browser() {
        return;
    }
    assert!(estate::workloads() >= 10_000);
    let daemon = Daemon::start(&estate::large_policy(), &estate::large_records());
    let browser = Browser::start(false);
    browser.open(&daemon.page(&["--read-only"]));
    browser.wait("the busiest groups", "document.querySelectorAll('svg.map .group').length === 40");
    let elements = browser.value("document.querySelectorAll('svg.map *').length");
    assert!(elements.as_u64() < Some(4000), "{elements} elements");
    assert!(browser.text("#details").contains("10.2 k"), "{}", browser.text("#details"));
    picture(&browser, "test-large");
    browser.click("#more button", "Show 40 more of 260");
    browser.wait("more of them", "document.querySelectorAll('svg.map .group').length === 80");
    browser.click("#more button", "Show fewer");
    browser.wait("fewer", "document.querySelectorAll('svg.map .group').length === 40");
    // One opens, the others stay closed.
    browser.value("document.querySelector('[data-key=\"labelled app=app-000\"]').dispatchEvent(new MouseEvent('dblclick', { bubbles: true }))");
    browser.wait("its tiers", "document.querySelectorAll('.group .tier').length === 3");
    picture(&browser, "test-large-open");
    // A workload of a group that is not drawn: the daemon finds it.
    browser.choose("search", "web-250-3");
    browser.wait("found", "document.querySelector('.group[data-key=\"labelled app=app-250\"]')");
    assert!(
        browser.value("document.querySelectorAll('svg.map .group').length").as_u64() < Some(6),
        "and little else"
    );
    browser.choose("search", "no such thing");
    browser.wait("not found", "document.querySelector('.empty h2').textContent === 'Nothing fits'");
    browser.choose("search", "");
    browser.wait("all again", "document.querySelectorAll('svg.map .group').length === 40");
    nothing_strange(&browser, &daemon.origin());
}
