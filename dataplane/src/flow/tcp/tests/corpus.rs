//! The ten published sequences, read from where they are kept, if they are here.

use std::path::PathBuf;

use super::*;

/// A folder with `sequences.json` (segments) and `kernel.json` (what Linux 6.18 conntrack did with them).
const CORPUS: &str = "TCP_STATE_CORPUS";

/// The kernel gave these verdicts per segment: does it come out on the other side?
fn kernel_verdicts(json: &str, name: &str) -> Vec<bool> {
    let from = json.find(&format!("\"{name}.pcap\"")).unwrap();
    let rest = &json[from..];
    let verdicts = &rest[rest.find("\"verdicts\"").unwrap()..];
    let verdicts = &verdicts[..verdicts.find("]]").unwrap()];
    verdicts
        .split(", ")
        .filter_map(|field| field.trim_end_matches(']').parse::<u8>().ok())
        .map(|n| n == 1)
        .collect()
}

/// The rows of every sequence. The file holds nothing but names, strings, numbers, null and brackets.
fn sequences(json: &str) -> Vec<(String, Vec<(Orientation, Tcp)>)> {
    let mut found: Vec<(String, Vec<(Orientation, Tcp)>)> = Vec::new();
    let mut fields = Vec::new();
    for token in json.split([',', '\n', '[', ']', '{', '}']).map(str::trim).filter(|token| !token.is_empty())
    {
        if let Some(name) = token.strip_suffix(':') {
            found.push((name.trim_matches('"').to_owned(), Vec::new()));
            continue;
        }
        fields.push(token.trim_matches('"').to_owned());
        if fields.len() == 8 {
            found.last_mut().unwrap().1.push(row(&fields));
            fields.clear();
        }
    }
    assert!(fields.is_empty());
    found
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "-1 stands for 2^32 - 1")]
fn row(fields: &[String]) -> (Orientation, Tcp) {
    let number = |at: usize| fields[at].parse::<i64>().unwrap();
    let tcp = Tcp {
        ports: Ports { source: 1, destination: 2 },
        sequence: number(2) as u32,
        acknowledgement: number(3) as u32,
        flags: flags_of(&fields[1]),
        window: number(5) as u16,
        window_scale: fields[6].parse().ok(),
        payload: number(4) as u16,
    };
    (if fields[0] == "c" { CLIENT } else { SERVER }, tcp)
}

#[test]
fn every_published_sequence_gets_the_kernels_verdicts() {
    let Some(folder) = std::env::var_os(CORPUS).map(PathBuf::from) else {
        eprintln!("skipped: set {CORPUS} to the folder of sequences.json and kernel.json");
        return;
    };
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let (segments, kernel) = (read("sequences.json"), read("kernel.json"));
    let sequences = sequences(&segments);
    assert_eq!(sequences.len(), 10);
    for (name, rows) in sequences {
        let expected = kernel_verdicts(&kernel, &name);
        assert_eq!(expected.len(), rows.len(), "{name}");
        let mut connection: Option<Connection> = None;
        let verdicts: Vec<bool> =
            rows.into_iter().map(|(from, tcp)| passes(&mut connection, from, &tcp)).collect();
        assert_eq!(verdicts, expected, "{name}");
    }
}

fn passes(connection: &mut Option<Connection>, from: Orientation, tcp: &Tcp) -> bool {
    let step = connection.as_mut().map_or(Ok(Step::Reopen), |known| known.step(from, tcp));
    if step == Ok(Step::Reopen) {
        *connection = Connection::open(tcp, from, Mode::Strict).ok();
        return connection.is_some();
    }
    step.is_ok()
}
