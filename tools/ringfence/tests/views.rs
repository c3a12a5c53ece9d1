//! The views of a daemon at work: the demo's lab, its traffic, and the commands that look at it, one of them in a real
//! terminal.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing step must fail the test")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use lab::{LabLock, names_with_prefix, skip_unprivileged};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const SOCKET: &str = "/run/rf-demo/ringfence.sock";
/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The lab with traffic on it; everything goes with it.
struct Lab(Child);

impl Lab {
    fn start() -> Self {
        let deadline = Instant::now() + 2 * PATIENCE;
        // The tests of the demo itself may be running.
        while let Err(error) = LabLock::acquire("/run/rf-demo.lock".as_ref()) {
            assert!(Instant::now() < deadline, "{error}");
            thread::sleep(Duration::from_millis(200));
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringfence"));
        command.args(["demo", "--serve"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        let lab = Self(child);
        assert!(said.any(|line| line.unwrap().contains("The lab stays up")), "the lab does not stay up");
        thread::spawn(move || said.for_each(drop));
        lab
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.0.id().try_into().unwrap()).unwrap(), signal).unwrap();
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.signal(Signal::CONT);
        self.signal(Signal::INT);
        let _ = self.0.wait();
        let left = names_with_prefix("rf-demo");
        assert!(left.is_empty() || thread::panicking(), "{left:?}");
    }
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringfence"));
    command.args(arguments).env("RINGFENCE_SOCKET", SOCKET).env("NO_COLOR", "1");
    command
}

fn ask(arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } = command(arguments).output().unwrap();
    assert!(status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&ask(arguments)).unwrap()
}

/// Waits until `look` finds something.
fn until<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} did not come");
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
#[ignore = "needs tmux"]
fn a_lab_at_work_is_seen_from_every_side() {
    if skip_unprivileged() {
        return;
    }
    let lab = Lab::start();
    events();
    drops();
    top();
    terminal();
    // Without traffic the counts stand still, and add up.
    lab.signal(Signal::STOP);
    until("the sum of all hits", || {
        let rules = json(&["rules", "--json"]);
        let of = |value: &Value| value["hits"].as_u64().unwrap();
        let hits: u64 = rules["rules"].as_array().unwrap().iter().map(of).sum();
        let removed: u64 = rules["removed"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
        let decisions = rules["decisions"].as_u64().unwrap();
        (decisions > 0 && hits + removed == decisions).then_some(())
    });
    rules();
}

/// Flows are told as they happen.
fn events() {
    let denied = ask(&["flows", "--follow", "--verdict", "deny", "--limit", "5", "--json"]);
    let lines: Vec<Value> = denied.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), &lines[0]["event"]), (6, &Value::from("following")), "{denied}");
    assert!(lines[1..].iter().all(|line| line["event"] == "denied" && line["rule"].is_string()), "{denied}");
    let told = ask(&["flows", "--follow", "--limit", "100"]);
    assert_eq!(told.lines().count(), 100, "{told}");
    for word in ["opened", "denied", "shop-to-db", "->"] {
        assert!(told.contains(word), "{word}: {told}");
    }
    // A flow ends when it was silent for long enough.
    until("the end of a flow", || {
        let told = ask(&["flows", "--follow", "--limit", "200"]);
        let ended = told.lines().find(|line| line.contains("ended"))?;
        assert!(ended.contains(" packets, ") && ended.contains(" bytes"), "{ended}");
        Some(())
    });
    let one = ask(&["flows", "--follow", "--from", "app=shop", "--to", "role=db", "--limit", "1", "--json"]);
    let line: Value = serde_json::from_str(one.lines().last().unwrap()).unwrap();
    assert_eq!(line["source"]["labels"]["app"][0], "shop", "{one}");
}

/// What is dropped comes with what would allow it.
fn drops() {
    let told = until("a drop of a workload's", || {
        let told = json(&["drops", "--rule", "default/deny", "--suggest", "2", "--json"]);
        (!told["suggestions"].as_array().unwrap().is_empty()).then_some(told)
    });
    let first = &told["suggestions"][0];
    assert!(first["change"]["edits"][0].is_string() && first["change"]["opens"].is_u64(), "{first}");
    assert_eq!((&told["lost"], &told["forgotten"]), (&Value::from(0), &Value::from(0)));
    let text = ask(&["drops"]);
    for words in ["policy", "default/deny", "the smallest change to allow", "the record is complete"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 110), "{text}");
}

/// Unused rules are told from used ones.
fn rules() {
    let all = json(&["rules", "--json"]);
    let used = all["rules"].as_array().unwrap().iter().find(|rule| rule["name"] == "shop-to-db").unwrap();
    assert!(used["hits"].as_u64() > Some(0) && used["last_hit"].is_string(), "{used}");
    assert_eq!((&used["unused"], &used["standing"]), (&Value::from(false), &Value::from("live")), "{used}");
    let unused = json(&["rules", "--unused", "--json"]);
    let unused = unused["rules"].as_array().unwrap();
    assert!(unused.iter().all(|rule| rule["hits"] == 0 && rule["recorded"] == 0), "{unused:?}");
    assert!(ask(&["rules", "--sort", "hits", "--limit", "3"]).contains("recorded flows"));
}

/// One frame shows traffic.
fn top() {
    let told = until("traffic", || {
        let told = json(&["top", "--json", "--interval", "500ms"]);
        (told["frames_per_s"].as_f64() > Some(0.0)).then_some(told)
    });
    assert!(!told["flows"].as_array().unwrap().is_empty(), "{told}");
    let loads = told["workers"].as_array().unwrap().iter().filter(|worker| worker["load"].is_f64());
    assert!(loads.count() > 0, "no worker's thread is seen: {told}");
    let text = ask(&["top", "--once", "--interval", "500ms", "--size", "80x24"]);
    assert!(text.lines().count() <= 24 && text.lines().all(|line| line.chars().count() <= 80), "{text}");
    for words in ["frames/s", "WIRE", "WORKER", "tcp/5432", "policy"] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

/// A terminal of its own, which ends with the value.
struct Tmux(String);

impl Tmux {
    fn new(shell: &str) -> Self {
        let tmux = Self(format!("ringfence-views-{}", std::process::id()));
        tmux.run(&["-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "24", shell]);
        tmux
    }

    fn run(&self, arguments: &[&str]) -> String {
        let output = Command::new("tmux").args(["-L", &self.0]).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Waits until the screen shows `words`.
    fn shows(&self, words: &str) -> String {
        until(words, || Some(self.run(&["capture-pane", "-p"])).filter(|screen| screen.contains(words)))
    }

    /// Waits until a whole frame of `top` fills a screen of `height` lines: a terminal that has just
    /// got another size shows pieces first, and its program hears of the size a moment later.
    fn frame(&self, height: usize) {
        let last = |screen: &str| screen.lines().nth(height - 1).is_some_and(|line| line.contains("? help"));
        until(&format!("a frame of {height} lines"), || {
            let screen = self.run(&["capture-pane", "-p"]);
            (last(&screen) && screen.contains("WORKER") && screen.contains("FRAMES/s")).then_some(())
        });
    }

    fn keys(&self, keys: &str) {
        self.run(&["send-keys", keys]);
    }

    /// The program that the shell runs.
    fn child(&self) -> Pid {
        let of_pane = self.run(&["display-message", "-p", "#{pane_pid}"]);
        let children =
            std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", of_pane.trim())).unwrap();
        Pid::from_raw(children.trim().parse().unwrap()).unwrap()
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let _ = Command::new("tmux").args(["-L", &self.0, "kill-server"]).output();
    }
}

/// `top` in a terminal: keys, another size, and the terminal as it was, however it ends.
fn terminal() {
    let program =
        format!("RINGFENCE_SOCKET={SOCKET} {} top --interval 200ms", env!("CARGO_BIN_EXE_ringfence"));
    let tmux = Tmux::new("sh");
    for (end, status) in [("q", 0), ("C-c", 0), ("TERM", 0)] {
        tmux.run(&["send-keys", &format!("{program}; echo \"status $?\" of {end}"), "Enter"]);
        tmux.frame(24);
        assert_eq!(tmux.run(&["display-message", "-p", "#{alternate_on}"]).trim(), "1");
        tmux.keys("?");
        tmux.shows("keys; any key goes back");
        tmux.keys("x");
        tmux.keys("/");
        tmux.run(&["send-keys", "-l", "shop-to-db"]);
        tmux.keys("Enter");
        tmux.shows("rows with `shop-to-db`");
        tmux.run(&["resize-window", "-x", "120", "-y", "40"]);
        tmux.frame(40);
        tmux.run(&["resize-window", "-x", "80", "-y", "24"]);
        tmux.frame(24);
        if end == "TERM" {
            kill_process(tmux.child(), Signal::TERM).unwrap();
        } else {
            tmux.keys(end);
        }
        tmux.shows(&format!("status {status} of {end}"));
        assert_eq!(tmux.run(&["display-message", "-p", "#{alternate_on}"]).trim(), "0", "after {end}");
        tmux.run(&["send-keys", "clear", "Enter"]);
    }
    // A terminal that goes away without a word: the signal that tells of it is ignored.
    tmux.run(&["send-keys", &format!("trap '' HUP; {program}"), "Enter"]);
    tmux.frame(24);
    let child = tmux.child();
    drop(tmux);
    until("the end of a `top` without a terminal", || {
        (!Path::new(&format!("/proc/{}", child.as_raw_pid())).exists()).then_some(())
    });
}
