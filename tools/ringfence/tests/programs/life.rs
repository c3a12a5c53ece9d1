//! A daemon that ends, and one that takes another's place, while programs use its proxy.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::SOON;
use crate::common::{Folder, end};
use crate::daemon::Daemon;
use crate::program::{command, free, text, wait};
use crate::redis::{POLICY, redis};
use crate::web::Site;

#[test]
#[ignore = "needs nginx-light, curl, redis-server and redis-tools"]
fn what_is_under_way_is_finished_when_the_daemon_is_told_to_end() {
    let site = Site::start("drain", "127.0.83.31");
    let at = free("127.0.83.20");
    let mut daemon = Daemon::start("drain", &[(at, site.at)], "", POLICY);
    let downloads: Vec<_> = (0..4)
        .map(|_| {
            let mut curl = command("curl", "curl", None);
            curl.args(["--silent", "--show-error", "--limit-rate", "3M", "--max-time", "20"]);
            curl.args(["--noproxy", "*"]).arg(format!("http://{at}/large"));
            curl.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    wait("all four download", || daemon.proxy()["open"] == 4);
    daemon.signal(Signal::TERM);
    let large = fs::read(site.folder.path().join("large")).unwrap();
    for download in downloads {
        let output = download.wait_with_output().unwrap();
        assert!(
            output.stdout == large,
            "{} bytes: {}",
            output.stdout.len(),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    assert_eq!(daemon.end(), Some(0));
    let mut late = command("curl", "curl", None);
    late.args(["--silent", "--max-time", "5", "--noproxy", "*"]).arg(format!("http://{at}/large"));
    assert!(!late.output().unwrap().status.success(), "somebody still serves");
}

#[test]
#[ignore = "needs nginx-light, curl, redis-server and redis-tools"]
fn no_request_fails_while_another_process_takes_over() {
    let folder = Folder::new("takeover");
    let server = free("127.0.83.32");
    let _redis = redis(&folder, server);
    let at = free("127.0.83.20");
    let mut daemon = Daemon::start("takeover", &[(at, server)], "", POLICY);
    let benchmark = |keep: &str, requests: &str| {
        let mut benchmark = command("redis-benchmark", "redis-tools", None);
        benchmark.args([
            "-h",
            &at.ip().to_string(),
            "-p",
            &at.port().to_string(),
            "-c",
            "8",
            "-t",
            "ping_mbulk",
        ]);
        benchmark.args(["-k", keep, "-n", requests, "--csv", "-l"]);
        let log = folder.path().join(format!("benchmark-{keep}"));
        let output = fs::File::create(&log).unwrap();
        let child = benchmark.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output).spawn();
        (child.unwrap(), log)
    };
    // Both go on for ever; one opens a connection for each request.
    let mut loads = [benchmark("1", "1000"), benchmark("0", "200")];
    wait("there is load", || daemon.proxy()["open"].as_u64().unwrap() >= 8);
    // redis-benchmark connects anew after each thousand requests, so this one is what the old process still has.
    let mut held = TcpStream::connect(at).unwrap();
    held.set_read_timeout(Some(SOON)).unwrap();
    let mut ping = || {
        let mut answer = [0; 7];
        held.write_all(b"PING\r\n").and_then(|()| held.read_exact(&mut answer)).map(|()| answer)
    };
    assert_eq!(ping().unwrap(), *b"+PONG\r\n");
    for round in 0..2 {
        thread::sleep(Duration::from_millis(400));
        let mut old = daemon.succeed();
        let before = daemon.proxy()["accepted"].as_u64().unwrap();
        wait("the new process serves", || daemon.proxy()["accepted"].as_u64().unwrap() > before + 20);
        for (load, log) in &mut loads {
            let ended = load.try_wait().unwrap();
            let said = fs::read_to_string(log).unwrap();
            assert!(ended.is_none() && !said.contains("rror"), "round {round}: {ended:?}: {said}");
        }
        if round == 0 {
            // Its connections live; those that stay would keep it for as long as it may drain.
            assert_eq!(ping().unwrap(), *b"+PONG\r\n");
            assert!(old.try_wait().unwrap().is_none(), "the old process left its connections");
        }
        old.kill().unwrap();
        let _ = end(&mut old);
        // The connections of the old process went with it.
        let (load, _) = &mut loads[0];
        let _ = load.kill();
        let _ = load.wait();
        loads[0] = benchmark("1", "1000");
    }
    for (load, _) in &mut loads {
        let _ = load.kill();
        let output = load.wait();
        assert!(output.is_ok());
    }
    assert!(text(&daemon.ask(&["status"])).contains("p0"));
}
