//! PostgreSQL behind the proxy, pgbench before it.

use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::common::Folder;
use crate::daemon::Daemon;
use crate::program::{Service, command, free, postgres_folder, run, text};

const POLICY: &str = "ringfence: 1
workloads:
  - {name: client, labels: {role: client}, addresses: [127.0.0.1]}
  - {name: shop-db, labels: {role: db, app: shop}, addresses: [127.0.82.20]}
  - {name: crm-db, labels: {role: db, app: crm}, addresses: [127.0.82.21]}
rules:
  - {name: to-shop, from: {role: client}, to: {app: shop}, service: tcp}
  - {name: to-crm, from: {role: client}, to: {app: crm}, service: tcp}
";

/// A database cluster of its own, without a Unix socket.
fn database(folder: &Folder) -> (Service, SocketAddr) {
    let programs = postgres_folder();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o700)).unwrap();
    // PostgreSQL refuses to run as root; its package brings a user.
    if rustix::process::geteuid().is_root() {
        let accounts = std::fs::read_to_string("/etc/passwd").unwrap();
        let line = accounts.lines().find_map(|line| line.strip_prefix("postgres:")).unwrap();
        let id = line.split(':').nth(1).unwrap().parse().unwrap();
        chown(&data, Some(id), None).unwrap();
    }
    let at = free("127.0.82.30");
    let program = |name: &str| {
        let mut command = command(programs.join(name), "postgresql", Some("postgres"));
        command.current_dir("/").arg("-D").arg(&data);
        command
    };
    run(program("initdb").args([
        "--username",
        "bench",
        "--auth",
        "trust",
        "--no-sync",
        "--encoding",
        "UTF8",
    ]));
    let mut server = program("postgres");
    server.args(["-h", &at.ip().to_string(), "-p", &at.port().to_string(), "-k", ""]);
    server.args(["-c", "fsync=off", "-c", "max_connections=60", "-c", "shared_buffers=16MB"]);
    (Service::start(&mut server, folder, at), at)
}

fn pgbench(at: SocketAddr) -> Command {
    let mut command = command("pgbench", "postgresql", None);
    command.env("PGCONNECT_TIMEOUT", "10").env("PGSSLMODE", "disable").stdin(Stdio::null());
    command.args(["-h", &at.ip().to_string(), "-p", &at.port().to_string(), "-U", "bench"]);
    command
}

fn transactions(said: &str) -> u64 {
    let line = said.lines().find_map(|line| line.strip_prefix("number of transactions actually processed: "));
    line.and_then(|line| line.split('/').next()?.trim().parse().ok()).unwrap_or_else(|| panic!("{said}"))
}

#[test]
#[ignore = "needs postgresql"]
fn pgbench_works_and_a_publish_cuts_one_session_while_another_goes_on() {
    let folder = Folder::new("postgres");
    let (_server, server) = database(&folder);
    let [shop, crm] = [free("127.0.82.20"), free("127.0.82.21")];
    let daemon = Daemon::start("postgres", &[(shop, server), (crm, server)], "", POLICY);
    run(pgbench(shop).args(["-i", "-q", "postgres"]));
    for (name, arguments) in [
        ("read and write", &["-c", "8", "-t", "50"][..]),
        ("prepared", &["-c", "4", "-t", "200", "-S", "-M", "prepared"]),
        ("a connection for each transaction", &["-c", "4", "-t", "20", "-S", "-C"]),
    ] {
        let said = run(pgbench(shop).args(arguments).args(["-n", "postgres"]));
        assert!(transactions(&said) >= 80, "{name}: {said}");
        assert!(said.contains("number of failed transactions: 0"), "{name}: {said}");
    }

    let session = |at| {
        let mut command = pgbench(at);
        command.args(["-c", "4", "-T", "4", "-S", "-n", "postgres"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let [cut, kept] = [shop, crm].map(session);
    crate::program::wait("both sessions live", || {
        let proxies = daemon.json(&["status"])["proxies"].clone();
        proxies[0]["open"] == 4 && proxies[1]["open"] == 4
    });
    thread::sleep(Duration::from_millis(500));
    daemon.publish(&POLICY.replace("to-shop, from: {role: client}", "to-shop, from: {role: none}"));
    assert_eq!(
        daemon.proxy()["open"],
        0,
        "publish has returned, and connections are open that nothing allows"
    );
    let cut = cut.wait_with_output().unwrap();
    assert!(!cut.status.success() && text(&cut).contains("connection"), "{}", text(&cut));
    let kept = kept.wait_with_output().unwrap();
    assert!(kept.status.success(), "{}", text(&kept));
    assert!(transactions(&text(&kept)) > 100, "{}", text(&kept));
    assert!(text(&kept).contains("number of failed transactions: 0"), "{}", text(&kept));

    let refused = pgbench(shop).args(["-t", "1", "-n", "postgres"]).output().unwrap();
    assert!(!refused.status.success(), "{}", text(&refused));
}
