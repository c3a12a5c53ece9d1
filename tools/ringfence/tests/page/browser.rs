//! A WebDriver client of the few commands that the tests need (W3C WebDriver), over HTTP/1.1 on a loopback socket.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// How long something may take to appear; machines that test are busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// A browser with one window; it and its profile go when this is dropped.
pub(crate) struct Browser {
    driver: Child,
    port: u16,
    session: String,
    profile: PathBuf,
}

impl Browser {
    pub(crate) fn start(dark: bool) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let profile = std::env::temp_dir().join(format!("ringfence-browser-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&profile).unwrap();
        let mut driver = Command::new("chromedriver")
            .args(["--port=0", "--log-level=WARNING"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver (Debian: chromium-driver) is needed to test the page");
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| line.split_once("successfully on port ")?.1.trim_end_matches('.').parse().ok())
            .expect("chromedriver says its port");
        std::thread::spawn(move || lines.for_each(drop));
        let mut browser = Self { driver, port, session: String::new(), profile };
        let mut arguments: Vec<String> = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
            "--window-size=1440,900",
            "--lang=en-GB",
        ]
        .map(str::to_owned)
        .into();
        arguments.push(format!("--user-data-dir={}", browser.profile.display()));
        if dark {
            arguments.push("--force-dark-mode".into());
        }
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
            "goog:chromeOptions": { "args": arguments },
            "timeouts": { "script": 60_000 },
        } } });
        let answer = browser.call("POST", "/session", &wanted);
        browser.session = answer["sessionId"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
        // The window has borders; the picture shall have none.
        browser.devtools(
            "Emulation.setDeviceMetricsOverride",
            &json!({ "width": 1440, "height": 900, "deviceScaleFactor": 1, "mobile": false }),
        );
        browser.colours(dark);
        browser
    }

    /// What the system prefers.
    pub(crate) fn colours(&self, dark: bool) {
        let value = if dark { "dark" } else { "light" };
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": value }] });
        self.devtools("Emulation.setEmulatedMedia", &features);
    }

    fn devtools(&self, method: &str, parameters: &Value) {
        self.command("goog/cdp/execute", &json!({ "cmd": method, "params": parameters }));
    }

    /// One request; the `value` of its answer.
    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE * 2)).unwrap();
        let body = body.to_string();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{}\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n",
            self.port,
            body.len()
        );
        stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
        let mut reader = BufReader::new(stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line.trim_end().is_empty() {
                break;
            }
        }
        let mut text = vec![0; length];
        reader.read_exact(&mut text).unwrap();
        let mut answer: Value = serde_json::from_slice(&text).unwrap();
        let value = answer["value"].take();
        assert!(value["error"].is_null() || path == "/status", "{method} {path} {body}: {value}");
        value
    }

    fn command(&self, name: &str, body: &Value) -> Value {
        self.call("POST", &format!("/session/{}/{name}", self.session), body)
    }

    pub(crate) fn open(&self, url: &str) {
        self.command("url", &json!({ "url": url }));
    }

    /// The value of a JavaScript expression in the page.
    pub(crate) fn value(&self, expression: &str) -> Value {
        self.command("execute/sync", &json!({ "script": format!("return ({expression});"), "args": [] }))
    }

    /// Waits until an expression is true.
    pub(crate) fn wait(&self, what: &str, expression: &str) {
        let deadline = Instant::now() + PATIENCE;
        let guarded = format!("(() => {{ try {{ return !!({expression}); }} catch {{ return false; }} }})()");
        while self.value(&guarded) != true {
            if Instant::now() > deadline {
                std::fs::write(std::env::temp_dir().join("ringfence-page.png"), self.screenshot()).unwrap();
                let body = self.value("document.body.innerText");
                panic!(
                    "{what}: never {expression}\n{}\n{:?}",
                    body.as_str().unwrap_or(""),
                    self.complaints()
                );
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The text of the first element that fits.
    pub(crate) fn text(&self, selector: &str) -> String {
        let value = self.value(&format!("document.querySelector({}).textContent", json!(selector)));
        value.as_str().unwrap_or_default().to_owned()
    }

    /// Clicks, as a person would: the pointer moves to the place where the expression says that something is.
    pub(crate) fn click_at(&self, point: &str) {
        let at = self.value(point);
        let place = |key: &str| at[key].as_f64().unwrap_or_else(|| panic!("{point}: {at}")).round();
        let moved = json!({ "type": "pointerMove", "duration": 0, "x": place("x"), "y": place("y") });
        let pointer = json!({ "type": "pointer", "id": "mouse", "actions": [
            moved, { "type": "pointerDown", "button": 0 }, { "type": "pointerUp", "button": 0 },
        ] });
        self.command("actions", &json!({ "actions": [pointer] }));
    }

    /// Clicks the first element of a selector whose text begins with `text`.
    pub(crate) fn click(&self, selector: &str, text: &str) {
        let found = format!(
            "[...document.querySelectorAll({})].find((one) => one.textContent.trim().startsWith({}))",
            json!(selector),
            json!(text)
        );
        self.wait("something to click", &found);
        self.value(&format!("{found}.scrollIntoView({{ block: 'nearest' }})"));
        self.click_at(&format!(
            "(() => {{ const box = {found}.getBoundingClientRect(); \
             return {{ x: box.x + box.width / 2, y: box.y + box.height / 2 }}; }})()"
        ));
    }

    /// Presses keys, one after the other. Names are of WebDriver's table of keys.
    pub(crate) fn keys(&self, keys: &[&str]) {
        let code = |key: &str| match key {
            "Tab" => "\u{e004}",
            "Enter" => "\u{e007}",
            "Escape" => "\u{e00c}",
            "ArrowLeft" => "\u{e012}",
            "ArrowUp" => "\u{e013}",
            "ArrowRight" => "\u{e014}",
            "ArrowDown" => "\u{e015}",
            _ => "",
        };
        for key in keys {
            let value = if code(key).is_empty() { *key } else { code(key) };
            let presses: Vec<Value> = value
                .chars()
                .flat_map(|one| {
                    ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": one.to_string() }))
                })
                .collect();
            let keyboard = json!({ "type": "key", "id": "keyboard", "actions": presses });
            self.command("actions", &json!({ "actions": [keyboard] }));
        }
    }

    /// Gives a select or an input a value, as a person's choice.
    pub(crate) fn choose(&self, id: &str, value: &str) {
        self.value(&format!(
            "(() => {{ const one = document.getElementById({}); one.value = {}; \
             for (const kind of ['input', 'change']) one.dispatchEvent(new Event(kind, {{ bubbles: true }})); }})()",
            json!(id),
            json!(value)
        ));
    }

    pub(crate) fn screenshot(&self) -> Vec<u8> {
        let text = self.call("GET", &format!("/session/{}/screenshot", self.session), &json!({}));
        base64(text.as_str().unwrap())
    }

    fn log(&self, kind: &str) -> Vec<Value> {
        self.command("se/log", &json!({ "type": kind })).as_array().cloned().unwrap_or_default()
    }

    /// What the console said since it was asked last: errors, warnings, breaches of the content security policy.
    pub(crate) fn complaints(&self) -> Vec<String> {
        self.log("browser")
            .iter()
            .map(|entry| entry["message"].as_str().unwrap_or_default().to_owned())
            .collect()
    }

    /// Where requests of the page went since it was asked last.
    pub(crate) fn requested(&self) -> Vec<String> {
        let message = |entry: &Value| serde_json::from_str::<Value>(entry["message"].as_str()?).ok();
        let url = |said: Value| {
            let said = &said["message"];
            let sent = said["method"] == "Network.requestWillBeSent";
            sent.then(|| said["params"]["request"]["url"].as_str().unwrap_or_default().to_owned())
        };
        self.log("performance").iter().filter_map(message).filter_map(url).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) {
            let path = format!("/session/{}", self.session);
            let _ = write!(stream, "DELETE {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n");
            let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
            let _ = stream.read(&mut [0; 64]);
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
        let _ = std::fs::remove_dir_all(&self.profile);
    }
}

/// The bytes of a base64 text (RFC 4648).
fn base64(text: &str) -> Vec<u8> {
    let six = |c: u8| match c {
        b'A'..=b'Z' => c - b'A',
        b'a'..=b'z' => c - b'a' + 26,
        b'0'..=b'9' => c - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let digits: Vec<u8> = text.bytes().filter(|c| *c != b'=' && !c.is_ascii_whitespace()).map(six).collect();
    let word = |four: &[u8]| {
        four.iter().fold(0_u32, |word, six| word << 6 | u32::from(*six)) << (6 * (4 - four.len()))
    };
    digits.chunks(4).flat_map(|four| word(four).to_be_bytes()[1..four.len()].to_vec()).collect()
}
