//! The lab on a real kernel.
#![allow(clippy::unwrap_used, reason = "a failing step must fail the test")]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::Stdio;

use lab::{End, LabError, LabLock, Namespace, names_with_prefix, remove_leftovers, skip_unprivileged, veth};

fn echo_once(listener: &TcpListener) {
    let (mut stream, _) = listener.accept().unwrap();
    let mut bytes = [0; 5];
    stream.read_exact(&mut bytes).unwrap();
    stream.write_all(&bytes).unwrap();
}

#[test]
fn two_hosts_and_a_bridge_carry_both_families() {
    if skip_unprivileged() {
        return;
    }
    let left = Namespace::create("rf-lab-two-left").unwrap();
    let right = Namespace::create("rf-lab-two-right").unwrap();
    let middle = Namespace::create("rf-lab-two-middle").unwrap();
    middle.bridge("bridge").unwrap();
    for (host, port, v4, v6) in
        [(&left, "left", "10.9.0.1/24", "fd09::1/64"), (&right, "right", "10.9.0.2/24", "fd09::2/64")]
    {
        let mac = [2, 0, 0, 0, 9, if port == "left" { 1 } else { 2 }];
        veth(&End::new(host, "eth0").queues(2).mtu(1400).mac(mac), &End::new(&middle, port)).unwrap();
        middle.plug(port, "bridge").unwrap();
        host.address("eth0", v4).unwrap();
        host.address("eth0", v6).unwrap();
    }
    let shown = left.ip("-d link show eth0").unwrap();
    for expected in ["mtu 1400", "numtxqueues 2", "numrxqueues 2", "02:00:00:00:09:01"] {
        assert!(shown.contains(expected), "{expected} not in {shown}");
    }
    for address in ["10.9.0.2:7", "[fd09::2]:7"] {
        let listener = right.run(|| TcpListener::bind(address)).unwrap().unwrap();
        let server = std::thread::spawn(move || echo_once(&listener));
        let mut stream = left.run(|| TcpStream::connect(address)).unwrap().unwrap();
        stream.write_all(b"hello").unwrap();
        let mut bytes = [0; 5];
        stream.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"hello", "{address}");
        server.join().unwrap();
    }
}

#[test]
fn a_namespace_goes_when_dropped_and_when_the_owner_panics() {
    if skip_unprivileged() {
        return;
    }
    drop(Namespace::create("rf-lab-gone-a").unwrap());
    let panicked = std::panic::catch_unwind(|| {
        let host = Namespace::create("rf-lab-gone-b").unwrap();
        host.run(|| panic!("inside")).unwrap();
    });
    assert!(panicked.is_err(), "the panic must reach the caller");
    assert_eq!(names_with_prefix("rf-lab-gone"), Vec::<String>::new());
}

#[test]
fn leftovers_are_removed_with_their_processes() {
    if skip_unprivileged() {
        return;
    }
    let host = Namespace::create("rf-lab-crash").unwrap();
    let mut child = host.command("sleep".as_ref()).arg("60").stdout(Stdio::null()).spawn().unwrap();
    // `ip` becomes `sleep` a moment after it was started, and enters the namespace on the way.
    let entered = || lab_pids("rf-lab-crash").contains(&child.id());
    while !entered() {
        std::thread::yield_now();
    }
    std::mem::forget(host);
    assert_eq!(remove_leftovers("rf-lab-crash").unwrap(), ["rf-lab-crash"]);
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    assert_eq!(names_with_prefix("rf-lab-crash"), Vec::<String>::new());
}

fn lab_pids(name: &str) -> Vec<u32> {
    let output = std::process::Command::new("ip").args(["netns", "pids", name]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

#[test]
fn errors_show_the_command_line() {
    if skip_unprivileged() {
        return;
    }
    let host = Namespace::create("rf-lab-errors").unwrap();
    let error = host.ip("address add 10.0.0.1/24 dev nowhere").unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("`ip -n rf-lab-errors address add 10.0.0.1/24 dev nowhere` failed: "), "{text}");
    assert!(text.contains("nowhere"), "{text}");
    let error = host.set("net/ipv4/nothing", "1").unwrap_err().to_string();
    assert!(
        error.starts_with("cannot write /proc/sys/net/ipv4/nothing in namespace rf-lab-errors"),
        "{error}"
    );
    let error = Namespace::create("rf-lab-errors").unwrap_err();
    assert!(matches!(error, LabError::Ip { .. }), "{error}");
    // The failed creation must not have removed the namespace that has the name.
    assert_eq!(names_with_prefix("rf-lab-errors"), ["rf-lab-errors"]);
}

#[test]
fn the_second_holder_is_told_who_is_the_first() {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("lab.lock");
    let first = LabLock::acquire(&path).unwrap();
    match LabLock::acquire(&path) {
        Err(LabError::Locked { holder, .. }) => assert_eq!(holder, std::process::id().to_string()),
        other => panic!("{other:?}"),
    }
    drop(first);
    LabLock::acquire(&path).unwrap();
}
