use dataplane::records::{Ending, Records};
use dataplane::verdict::RuleId;
use serde_json::{Value, json};

use super::super::records::tests::{Scratch, filter_of, own_rule, tell, worker};
use super::*;

/// A follower of `engine`, and what it hears.
fn follow(engine: &Arc<Engine>, query: &str) -> Receiver<Bytes> {
    let filter = filter_of(query);
    let left = filter.limit.unwrap_or(usize::MAX);
    let wanted = filter.check(&[]).unwrap_or_else(|_| panic!("{query}"));
    let follow = engine.follow_flows(FOLLOWERS_MAX).unwrap();
    let (sender, lines) = channel(CHUNKS);
    let engine = Arc::clone(engine);
    std::thread::spawn(move || Stream { engine, wanted, follow, sender, left }.run());
    lines
}

/// The lines of a stream that has an end.
fn all(mut lines: Receiver<Bytes>) -> Vec<Value> {
    let mut text = Vec::new();
    while let Some(chunk) = lines.blocking_recv() {
        text.extend_from_slice(&chunk);
    }
    let text = String::from_utf8(text).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn events_are_told_in_the_policys_words_and_filtered() {
    let scratch = Scratch::new("events");
    let worker = worker();
    let engine = scratch.start(&worker);
    let allowed = own_rule(&engine);
    tell(&worker, Occasion::Opened, "10.0.0.1", 5432, allowed);
    let streams: Vec<_> = [
        ("limit=4", vec!["opened", "ended", "denied", "opened"]),
        ("from=app=shop&limit=3", vec!["opened", "ended", "opened"]),
        ("from=unknown&limit=1", vec!["denied"]),
        ("verdict=deny&to=role=db&limit=1", vec!["denied"]),
        ("rule=shop-to-db&address=fd00::1&limit=1", vec!["opened"]),
        ("service=tcp/22&limit=1", vec!["denied"]),
    ]
    .map(|(query, expected)| (query, expected, follow(&engine, query)))
    .into();
    tell(&worker, Occasion::Opened, "10.0.0.1", 5432, allowed);
    tell(&worker, Occasion::Ended(Ending::Finished), "10.0.0.1", 5432, allowed);
    tell(&worker, Occasion::Denied, "192.0.2.9", 22, RuleId::DEFAULT_DENY);
    tell(&worker, Occasion::Opened, "fd00::1", 5432, allowed);
    engine.tick();
    for (query, expected, stream) in streams {
        let lines = all(stream);
        assert_eq!(lines[0]["event"], "following", "{query}");
        let told: Vec<&str> = lines[1..].iter().map(|line| line["event"].as_str().unwrap()).collect();
        assert_eq!(told, expected, "{query}");
    }
    let mut ended = follow(&engine, "limit=1");
    tell(&worker, Occasion::Ended(Ending::Reset), "10.0.0.1", 5432, allowed);
    engine.tick();
    let _ = ended.blocking_recv();
    let line: Value = serde_json::from_slice(&ended.blocking_recv().unwrap()).unwrap();
    assert_eq!(
        (&line["ending"], &line["packets"], &line["rule"]),
        (&json!("reset"), &json!([1, 2]), &json!("shop-to-db"))
    );
    assert_eq!(line["source"]["who"], json!({"kind": "workload", "name": "web"}));
    assert_eq!(line["destination"]["labels"]["role"], json!(["db"]));
}

#[test]
fn what_a_stream_does_not_show_is_counted_in_it() {
    let scratch = Scratch::new("event-loss");
    let worker = worker();
    let engine = scratch.start(&worker);
    let rule = own_rule(&engine);
    let stream = follow(&engine, "");
    let mut told = 0u64;
    // Nobody takes the lines, so that the queue behind the full channel overflows, and so does the worker's.
    for _ in 0..4 {
        (0..Records::EVENTS + 100).for_each(|_| tell(&worker, Occasion::Opened, "10.0.0.1", 5432, rule));
        told += Records::EVENTS as u64 + 100;
        engine.tick();
    }
    drop(engine);
    let reader = std::thread::spawn(move || {
        let (mut shown, mut by_workers, mut by_client) = (0u64, 0u64, 0u64);
        let mut stream = stream;
        let mut rest = Vec::new();
        while shown + by_workers + by_client < told {
            let Some(chunk) = stream.blocking_recv() else { break };
            rest.extend_from_slice(&chunk);
            let end = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            for line in rest.drain(..end).collect::<Vec<u8>>().split(|byte| *byte == b'\n') {
                let Ok(line) = serde_json::from_slice::<Value>(line) else { continue };
                match line["event"].as_str() {
                    Some("opened") => shown += 1,
                    Some("lost") => {
                        by_workers += line["by_workers"].as_u64().unwrap();
                        by_client += line["by_client"].as_u64().unwrap();
                    }
                    _ => {}
                }
            }
        }
        (shown, by_workers, by_client)
    });
    let (shown, by_workers, by_client) = reader.join().unwrap();
    assert_eq!((shown + by_workers + by_client, by_workers), (told, 400));
    assert!(by_client > 0 && shown > 0, "{shown} shown, {by_client} lost");
}

#[test]
fn a_client_that_leaves_ends_its_thread() {
    let scratch = Scratch::new("event-end");
    let worker = worker();
    let engine = scratch.start(&worker);
    for _ in 0..3 * FOLLOWERS_MAX {
        let streams: Vec<_> = (0..FOLLOWERS_MAX).map(|_| follow(&engine, "")).collect();
        assert!(engine.follow_flows(FOLLOWERS_MAX).is_none(), "no more than so many");
        drop(streams);
        // Each thread looks after its client every now and then.
        let until = std::time::Instant::now() + Duration::from_secs(60);
        while Arc::strong_count(&engine) > 1 {
            assert!(std::time::Instant::now() < until, "a thread outlives its client");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
