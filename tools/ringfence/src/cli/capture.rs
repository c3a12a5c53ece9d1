//! `ringfence capture`: dropped or selected packets, for packet tools or for eyes.

mod blocks;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use control::observe::capture::Request;
use serde_json::json;

use super::{Daemon, print};
use crate::client;
use crate::outcome::{Failure, Outcome};
use blocks::{Blocks, Seen};

/// Arguments of `capture`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Dropped packets; this is so unless another choice is made.
    #[arg(long, conflicts_with_all = ["forwarded", "any"])]
    dropped: bool,
    /// Forwarded packets.
    #[arg(long, conflicts_with = "any")]
    forwarded: bool,
    /// Dropped and forwarded packets.
    #[arg(long)]
    any: bool,
    /// Dropped for this reason (`ringfence drops` lists them); may be repeated.
    #[arg(long, value_name = "REASON", conflicts_with = "forwarded")]
    reason: Vec<String>,
    /// Decided by this rule or default.
    #[arg(long, value_name = "NAME")]
    rule: Option<String>,
    /// From or to this workload.
    #[arg(long, value_name = "NAME")]
    workload: Option<String>,
    /// From or to a workload with this label.
    #[arg(long, value_name = "KEY=VALUE")]
    label: Option<String>,
    /// From or to this address or prefix.
    #[arg(long, value_name = "ADDRESS[/LEN]")]
    address: Option<String>,
    /// From or to this port.
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// Of this protocol: tcp, udp, sctp, icmp, icmpv6, gre, or a number.
    #[arg(long, value_name = "PROTOCOL")]
    protocol: Option<String>,
    /// That came in on this wire.
    #[arg(long, value_name = "NAME")]
    wire: Option<String>,
    /// That came in on this side.
    #[arg(long, value_parser = ["inside", "outside"])]
    side: Option<String>,
    /// End after so many packets [default: 10000].
    #[arg(long, value_name = "PACKETS")]
    count: Option<u64>,
    /// End after so many bytes of packets [default: 1 GiB].
    #[arg(long, value_name = "BYTES")]
    bytes: Option<u64>,
    /// End after so long, as 30s, 5m or 1h; at most 1h.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = seconds)]
    duration: u32,
    /// Keep at most so many bytes of each packet [default: all].
    #[arg(long, value_name = "BYTES")]
    snap_len: Option<u32>,
    /// Keep at most so many packets a second [default: any number].
    #[arg(long, value_name = "PACKETS")]
    rate: Option<u32>,
    /// Write a pcapng file, `-` for stdout; without it, a line is printed for each packet.
    #[arg(short, long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Print what was captured and lost as JSON at the end; needs a file.
    #[arg(long, requires = "write")]
    json: bool,
    #[command(flatten)]
    daemon: Daemon,
}

/// A time in words, in whole seconds.
fn seconds(text: &str) -> Result<u32, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err("write a time as 30s, 5m or 1h".into()),
    };
    let number: u32 = digits.parse().map_err(|_| "write a time as 30s, 5m or 1h".to_owned())?;
    let seconds = number.checked_mul(factor).filter(|seconds| (1..=3600).contains(seconds));
    seconds.ok_or_else(|| "a capture takes 1s to 1h".into())
}

impl Args {
    fn request(&self) -> Request {
        let frames = match (self.any, self.forwarded) {
            (true, _) => "any",
            (false, true) => "forwarded",
            (false, false) => "dropped",
        };
        Request {
            frames: Some(frames.into()),
            reasons: self.reason.clone(),
            rule: self.rule.clone(),
            workload: self.workload.clone(),
            label: self.label.clone(),
            address: self.address.clone(),
            port: self.port,
            protocol: self.protocol.clone(),
            wire: self.wire.clone(),
            side: self.side.clone(),
            packets: self.count,
            bytes: self.bytes,
            seconds: Some(self.duration),
            snap_len: self.snap_len,
            rate: self.rate,
        }
    }

    /// Where the packets go, and whether they go there as lines.
    fn output(&self) -> Result<(Box<dyn Write>, bool), Failure> {
        Ok(match &self.write {
            None => (Box::new(io::stdout()), true),
            Some(path) if path.as_os_str() == "-" => (Box::new(io::stdout()), false),
            Some(path) => {
                let file = File::create(path)
                    .map_err(|error| Failure::failed(format_args!("{}: {error}", path.display())))?;
                (Box::new(BufWriter::new(file)), false)
            }
        })
    }
}

/// Captures until a limit is reached, or ^C.
pub(super) fn capture(args: &Args) -> Outcome {
    if args.json && args.write.as_ref().is_some_and(|path| path.as_os_str() == "-") {
        return Err(Failure::Usage("--json and -w - would both write to stdout".into()));
    }
    let (mut out, lines) = args.output()?;
    let (mut blocks, mut seen) = (Blocks::default(), Seen::default());
    let mut take = |bytes: &[u8]| -> io::Result<()> {
        if !lines {
            out.write_all(bytes)?;
            out.flush()?;
        }
        blocks.feed(bytes, |block| {
            let line = seen.take(block);
            match line.filter(|_| lines) {
                Some(line) => writeln!(out, "{line}"),
                None => Ok(()),
            }
        })
    };
    let ended = client::stream(&args.daemon.socket, "/v1/capture", &args.request(), &mut take);
    match ended {
        Ok(()) => {}
        // Whoever reads has seen enough.
        Err(client::Broken::Reader(error)) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
        Err(client::Broken::Reader(error)) => return Err(Failure::failed(error)),
        Err(client::Broken::Daemon(failure)) => return Err(failure),
    }
    if blocks.is_inside() || !seen.is_counted() {
        return Err(Failure::Failed("the capture was cut off: the daemon ended, or was too busy".into()));
    }
    let Seen { packets, accepted, lost, .. } = seen;
    if args.json {
        return print::json(&json!({ "packets": packets, "matched": accepted, "lost": lost }));
    }
    let rest = accepted.saturating_sub(packets + lost);
    eprintln!(
        "{packets} packets captured, {accepted} matched, {lost} lost for want of room, {rest} beyond the limits"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn times_are_words() {
        for (text, expected) in [("10", 10), ("10s", 10), ("5m", 300), ("1h", 3600)] {
            assert_eq!(seconds(text), Ok(expected), "{text}");
        }
        for text in ["", "s", "0s", "2h", "10ms", "-1", "ü", "99999999999"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
