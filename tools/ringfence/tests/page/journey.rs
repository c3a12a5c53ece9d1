//! Looking around: what is on the map, what its lines tell, and that neither breach nor foreign request happens.

use super::browser::Browser;
use super::daemon::Daemon;
use super::{estate, picture, skip_without_browser};

/// The line of a state whose name holds both texts.
fn line(state: &str, from: &str, to: &str) -> String {
    format!(
        "[...document.querySelectorAll('.pane:first-child .edge.{state}')].find((one) => \
         one.getAttribute('aria-label').startsWith('{from}') && one.getAttribute('aria-label').includes(' to {to}'))"
    )
}

/// A place on the screen where the line can be seen: nothing else lies above it there.
fn visible(line: &str) -> String {
    format!(
        "(() => {{ const path = {line}.querySelector('.hit'); const matrix = path.getScreenCTM(); \
         for (let part = 0.1; part < 0.95; part += 0.05) {{ \
         const on = path.getPointAtLength(path.getTotalLength() * part).matrixTransform(matrix); \
         const [x, y] = [Math.round(on.x), Math.round(on.y)]; \
         if ({line}.contains(document.elementFromPoint(x, y))) return {{ x, y }}; }} }})()"
    )
}

/// Nothing was complained of, and nothing asked but of the daemon.
pub(crate) fn nothing_strange(browser: &Browser, origin: &str) {
    let complaints = browser.complaints();
    assert!(complaints.is_empty(), "{complaints:#?}");
    let asked = browser.requested();
    // The browser's own first page is inside it.
    let inside = |url: &str| ["chrome:", "data:", "about:"].iter().any(|scheme| url.starts_with(scheme));
    let own = format!("{origin}/");
    let strange: Vec<_> = asked.iter().filter(|url| !url.starts_with(&own) && !inside(url)).collect();
    assert!(strange.is_empty() && !asked.is_empty(), "{strange:?}");
}

fn signed_in(daemon: &Daemon, dark: bool) -> Browser {
    let browser = Browser::start(dark);
    browser.open(&daemon.page(&[]));
    browser.wait("the map", "document.querySelectorAll('svg.map .group').length > 5");
    browser
}

#[test]
#[ignore = "needs chromium and chromium-driver"]
fn the_map_is_looked_at_with_a_mouse() {
    if skip_without_browser() {
        return;
    }
    let daemon = Daemon::start(estate::POLICY, &estate::records());
    let browser = signed_in(&daemon, false);
    assert_eq!(
        browser.value("location.href"),
        format!("{}/", daemon.origin()),
        "the code is gone from the address"
    );
    for (name, selector) in [
        ("an application", ".group.labelled"),
        ("workloads without labels", ".group.unlabelled"),
        ("a network", ".group.network"),
        ("addresses of nobody", ".group.unknown"),
        ("allowed", ".edge.allowed"),
        ("potentially blocked", ".edge.potentially-blocked"),
        ("blocked", ".edge.blocked"),
    ] {
        browser.wait(name, &format!("document.querySelector('svg.map {selector}')"));
    }
    // Told apart without colour, and by traffic.
    let style = |state: &str| {
        browser.value(&format!(
            "getComputedStyle(document.querySelector('.edge.{state} .line')).strokeDasharray"
        ))
    };
    let dashes = ["allowed", "potentially-blocked", "blocked"].map(style);
    assert!(dashes[0] != dashes[1] && dashes[1] != dashes[2] && dashes[0] == "none", "{dashes:?}");
    let wide =
        |line: &str| browser.value(&format!("+{line}.querySelector('.line').getAttribute('stroke-width')"));
    let heavy = wide(&line("allowed", "app=shop role=api", "app=crm+shop role=cache"));
    let light = wide(&line("blocked", "app=reports role=batch", "app=crm+shop role=db"));
    assert!(heavy.as_f64() > light.as_f64(), "{heavy} {light}");
    assert!(
        browser.text("#completeness").starts_with("Incomplete: the daemon was down once"),
        "said as it is"
    );
    picture(&browser, "map-light");

    let monitored = line("potentially-blocked", "app=monitoring", "app=crm+shop role=db");
    browser.click_at(&visible(&monitored));
    browser.wait("its services", "document.querySelectorAll('#details .service').length === 2");
    let told = browser.text("#details");
    for words in
        ["potentially blocked", "tcp/9100", "tcp/9187", "default/deny", "First seen", "Last seen", "10.5.0.1"]
    {
        assert!(told.contains(words), "{words}: {told}");
    }
    browser.click("#details button", "Explain");
    browser.wait("the explanation", "document.querySelector('.explanation')");
    let why = browser.text(".explanation");
    assert!(why.contains("allow: default/deny (tier default)") && why.contains("mode observe"), "{why}");
    picture(&browser, "test-explained");
    // Answers come meanwhile; what is selected and explained stays.
    browser.value("(() => { window.seen = document.querySelector('svg.map .world'); })()");
    browser.wait("the next answer", "document.querySelector('svg.map .world') !== window.seen");
    assert_eq!(browser.text("#details .explanation"), why);
    assert_eq!(browser.value(&format!("{monitored}.classList.contains('here')")), true);
    nothing_strange(&browser, &daemon.origin());
}

#[test]
#[ignore = "needs chromium and chromium-driver"]
fn the_map_is_cut_otherwise_searched_and_read_as_a_table() {
    if skip_without_browser() {
        return;
    }
    let daemon = Daemon::start(estate::POLICY, &estate::records());
    let browser = signed_in(&daemon, true);
    picture(&browser, "map-dark");
    let ground = browser.value("getComputedStyle(document.body).backgroundColor");
    browser.click("#theme", "");
    assert_ne!(browser.value("getComputedStyle(document.body).backgroundColor"), ground, "light");
    browser.click("#theme", "");

    browser.choose("search", "reports");
    browser.wait(
        "what was searched for",
        "document.querySelector('.group.near[data-key=\"labelled app=reports\"]')",
    );
    assert_eq!(
        browser.value(
            "document.querySelector('.group[data-key=\"labelled app=crm\"]').classList.contains('near')"
        ),
        false
    );
    browser.choose("search", "");

    browser.click(".state.allowed", "allowed");
    browser.wait("no line that is allowed", "!document.querySelector('.edge.allowed')");
    browser.click(".state.allowed", "allowed");

    browser.choose("by", "env");
    browser
        .wait("groups of the other key", "document.querySelector('.group[data-key=\"labelled env=prod\"]')");
    assert_eq!(browser.value("document.querySelectorAll('.group.labelled').length"), 2, "prod and dev");
    browser.choose("tier", "");
    browser.wait("no tiers", "!document.querySelector('.group.labelled .tier')");
    browser.choose("by", "app");
    browser.choose("tier", "role");
    browser.wait(
        "the first key again",
        "document.querySelector('.group[data-key=\"labelled app=shop\"] .tier')",
    );

    browser.choose("since", "15m");
    browser.wait("a time", "document.querySelector('.edge')");
    browser.keys(&["t"]);
    browser.wait("the table", "document.querySelectorAll('#table-view tbody tr').length > 10");
    browser.click("#table-view th button", "Bytes");
    let sorted = "document.querySelector('#table-view th[aria-sort]').textContent";
    browser.wait("sorted", &format!("{sorted}.startsWith('Bytes')"));
    browser.click("#table-view tbody tr", "app=monitoring");
    browser.wait("the same details", "document.querySelector('#details .service')");
    picture(&browser, "test-table");
    nothing_strange(&browser, &daemon.origin());
}

#[test]
#[ignore = "needs chromium and chromium-driver"]
fn the_keyboard_reaches_everything() {
    if skip_without_browser() {
        return;
    }
    let daemon = Daemon::start(estate::POLICY, &estate::records());
    let browser = signed_in(&daemon, false);
    let focused = "document.activeElement.closest('svg.map') && document.activeElement";
    for _ in 0..30 {
        if browser.value(&format!("!!({focused})")) == true {
            break;
        }
        browser.keys(&["Tab"]);
    }
    browser.wait("the map has the focus", &format!("({focused}).classList.contains('map')"));
    browser.keys(&["ArrowRight"]);
    browser.wait("a group", "document.activeElement.classList.contains('group')");
    let visible = "getComputedStyle(document.activeElement).outlineStyle !== 'none'";
    assert_eq!(browser.value(visible), true, "the focus can be seen");
    let first = browser.value("document.activeElement.dataset.key");
    let moved = ["ArrowRight", "ArrowLeft", "ArrowDown", "ArrowUp"].iter().any(|arrow| {
        browser.keys(&[arrow]);
        browser.value("document.activeElement.dataset.key") != first
    });
    assert!(moved, "arrows go from group to group");
    browser.keys(&["Enter"]);
    browser.wait("a line of it", "document.activeElement.classList.contains('edge')");
    assert!(browser.text("#said").contains("flows"), "it is said aloud");
    browser.keys(&["Enter"]);
    browser.wait("its details", "document.querySelector('#details .service')");
    browser.wait("the focus is there", "document.activeElement.textContent === 'Explain'");
    browser.keys(&["Enter"]);
    browser.wait("explained", "document.querySelector('.explanation')");
    browser.keys(&["Escape"]);
    browser.wait("back on the line", "document.activeElement.classList.contains('edge')");
    browser.keys(&["Escape"]);
    browser.wait("back at the start", "document.activeElement.closest('svg.map')");
    browser.keys(&["/"]);
    browser.wait("the search", "document.activeElement.id === 'search'");
    browser.keys(&["crm"]);
    browser.wait("found", "document.querySelector('.group.near')");
    let named = "[...document.querySelectorAll('button, input, select, textarea, [role=button], [role=group]')].every((one) => \
                 one.hidden || one.textContent.trim() || one.getAttribute('aria-label') || one.closest('label'))";
    assert_eq!(browser.value(named), true, "everything has a name");
    nothing_strange(&browser, &daemon.origin());
}
