//! `ringfence flows --follow`: one line for each flow that begins, ends or is denied.

use std::io::{self, Write};

use serde_json::Value;

use super::FlowsArgs;
use super::print::{Tone, count, who, word};
use crate::client::{self, query};
use crate::outcome::{Failure, Outcome};

/// The widest that a column of ends grows.
const END_MAX: usize = 48;

/// Follows until ^C, until enough is told, or until nobody reads.
pub(super) fn follow(args: &FlowsArgs) -> Outcome {
    let path = query("/v1/events", &args.filter.parameters(None));
    let mut columns = Columns::default();
    let mut stdout = io::stdout().lock();
    let mut done = args.filter.limit;
    let ended = client::lines(&args.read.daemon.socket, &path, |line| {
        let event: Value = serde_json::from_str(line)
            .map_err(|error| Failure::failed(format_args!("the daemon's answer: {error}")))?;
        if !matches!(event["event"].as_str(), Some("following" | "lost")) {
            done = done.map(|left| left.saturating_sub(1));
        }
        let text = if args.read.json { format!("{line}\n") } else { columns.line(&event) };
        // Each line at once: whoever reads a pipe waits for it.
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(Failure::failed(error)),
            Ok(()) => Ok(true),
        }
    })?;
    match ended {
        // The daemon ends the stream after as many as were asked for.
        client::Ended::ByDaemon if done != Some(0) => {
            Err(Failure::failed("the daemon ended the stream: it stopped, or this client did not keep up"))
        }
        _ => Ok(()),
    }
}

/// The widths that ends have needed so far, so that lines stand below each other.
#[derive(Debug, Default)]
struct Columns {
    ends: [usize; 2],
    service: usize,
}

impl Columns {
    /// The line of an event; empty for one that says nothing to people.
    fn line(&mut self, event: &Value) -> String {
        let at = word(&event["at"]);
        let time: String =
            at.split('T').nth(1).unwrap_or(&at).trim_end_matches('Z').chars().take(12).collect();
        match event["event"].as_str() {
            Some("following") => return String::new(),
            Some("lost") => {
                let text = format!(
                    "{time:12} lost     {} events that the workers had no room for, {} that this client was too slow for",
                    count(&event["by_workers"]),
                    count(&event["by_client"])
                );
                return format!("{}\n", Tone::Bad.paint(&text));
            }
            _ => {}
        }
        let kind = word(&event["event"]);
        let what = match event["ending"].as_str() {
            Some(ending) => format!("{kind} {ending}"),
            None => kind,
        };
        let (source, destination) = (end(&event["source"]), end(&event["destination"]));
        for (width, text) in self.ends.iter_mut().zip([&source, &destination]) {
            *width = (*width).max(text.chars().count()).min(END_MAX);
        }
        let service = word(&event["service"]);
        self.service = self.service.max(service.chars().count());
        let potential = word(&event["potential"]);
        let observed =
            if potential.is_empty() { String::new() } else { format!(", but for observe: {potential}") };
        let counts = match event["event"].as_str() {
            Some("ended" | "updated") => format!(
                ", {} packets, {} bytes",
                count(&sum(&event["packets"])),
                count(&sum(&event["bytes"]))
            ),
            _ => String::new(),
        };
        let verdict = Tone::of_verdict(&event["verdict"], &event["potential"]);
        format!(
            "{time:12} {what:15} {} {source:from$} -> {destination:to$} {service:wide$} {}{observed}{counts} ({})\n",
            verdict.paint(&format!("{:6}", word(&event["verdict"]))),
            word(&event["rule"]),
            word(&event["wire"]),
            from = self.ends[0],
            to = self.ends[1],
            wide = self.service,
        )
    }
}

fn sum(both: &Value) -> Value {
    let counts = both.as_array().into_iter().flatten().filter_map(Value::as_u64);
    Value::from(counts.fold(0, u64::saturating_add))
}

/// `web 10.0.0.1:40000`, `[fd00::1]:443`: what it is called, if it is, and where it is.
fn end(end: &Value) -> String {
    let address = word(&end["address"]);
    let place = match (end["port"].as_u64(), address.contains(':')) {
        (Some(port), true) => format!("[{address}]:{port}"),
        (Some(port), false) => format!("{address}:{port}"),
        (None, _) => address,
    };
    match who(&end["who"]) {
        name if name.is_empty() || name == "unknown" => place,
        name => format!("{name} {place}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(kind: &str, source: &str, port: u16) -> Value {
        json!({
            "event": kind, "at": "2026-11-22T17:40:11.123456Z", "verdict": "allow", "rule": "shop-to-db",
            "wire": "uplink",
            "source": {"address": source, "port": port, "who": {"kind": "workload", "name": "web"}},
            "destination": {"address": "fd00::2", "port": 443, "who": {"kind": "unknown"}},
            "service": "tcp/443", "potential": null, "packets": [3, 4], "bytes": [1000, 500],
        })
    }

    #[test]
    fn lines_stand_below_each_other_and_say_what_happened() {
        let mut columns = Columns::default();
        assert_eq!(columns.line(&json!({"event": "following", "at": "2026-11-22T17:40:11Z"})), "");
        let long = columns.line(&event("opened", "192.0.2.100", 50_000));
        assert_eq!(
            long,
            "17:40:11.123 opened          allow  web 192.0.2.100:50000 -> [fd00::2]:443 tcp/443 shop-to-db (uplink)\n"
        );
        let mut ended = event("ended", "10.0.0.1", 1);
        ended["ending"] = json!("timed-out");
        let short = columns.line(&ended);
        assert_eq!(short.find("->"), long.find("->"), "{short}");
        assert!(
            short.contains("ended timed-out")
                && short.ends_with("shop-to-db, 7 packets, 1 500 bytes (uplink)\n"),
            "{short}"
        );
        let mut potential = event("opened", "10.0.0.1", 1);
        potential["potential"] = json!("default/deny");
        assert!(columns.line(&potential).ends_with("shop-to-db, but for observe: default/deny (uplink)\n"));
        let lost = columns.line(
            &json!({"event": "lost", "at": "2026-11-22T17:40:12Z", "by_workers": 5, "by_client": 1200}),
        );
        assert!(
            lost.starts_with("17:40:12") && lost.contains(" 5 events") && lost.contains(" 1 200 that"),
            "{lost}"
        );
    }
}
