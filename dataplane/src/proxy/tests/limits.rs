use super::*;

const RESET: Result<usize, io::ErrorKind> = Err(io::ErrorKind::ConnectionReset);

#[test]
fn one_source_has_no_more_than_its_share() {
    let server = server();
    let mut config = config("127.0.0.1:0", &[server.local_addr().unwrap()]);
    config.limits.per_source_max = 2;
    let rig = Rig::with(config);
    let (first, second) = (rig.pair(&server), rig.pair(&server));
    assert_eq!(answer(FRIEND, rig.address), RESET);
    assert_eq!(rig.refused(Refusal::SourceLimit), 1);
    // It ends with the connection, and others are not touched by it.
    drop(first);
    eventually("the first is over", || rig.counts.live.get() == 1);
    let third = rig.pair(&server);
    drop((second, third));
    rig.stop();
}

/// Beyond the limit clients wait in the listener's queue, and get in when one leaves.
#[test]
fn a_full_proxy_lets_clients_wait() {
    let server = server();
    let mut config = config("127.0.0.1:0", &[server.local_addr().unwrap()]);
    config.limits.connections_max = 2;
    let rig = Rig::with(config);
    let (first, second) = (rig.pair(&server), rig.pair(&server));
    let mut waiting = rig.client();
    waiting.write_all(b"x").unwrap();
    sleep(Duration::from_millis(100));
    assert_eq!(rig.counts.accepted.get(), 2);
    assert!(rig.counts.accepts_paused.get() > 0);
    drop(first);
    let (mut served, _) = server.accept().unwrap();
    patient(&served);
    let mut read = [0; 1];
    served.read_exact(&mut read).unwrap();
    drop(second);
    rig.stop();
}

#[test]
fn a_silent_connection_ends() {
    let server = server();
    let mut config = config("127.0.0.1:0", &[server.local_addr().unwrap()]);
    config.timeouts.idle_ms = 400;
    let rig = Rig::with(config);
    let (mut client, mut served) = rig.pair(&server);
    // Every byte is a new beginning.
    for _ in 0..4 {
        sleep(Duration::from_millis(150));
        passes(&mut client, &mut served, b"x");
    }
    let begun = Instant::now();
    assert_eq!([end_of(&mut client), end_of(&mut served)], [Ok(0), Ok(0)]);
    assert!(begun.elapsed() >= Duration::from_millis(390), "{:?}", begun.elapsed());
    assert_eq!(rig.ended(Fate::IdleTimeout), 1);
    rig.stop();
}

/// The client reads nothing, and the server goes on sending: through buffers and through pipes.
#[test]
fn a_reader_that_takes_nothing_is_reset() {
    for pipes in [0, 16] {
        let server = server();
        let mut config = config("127.0.0.1:0", &[server.local_addr().unwrap()]);
        config.timeouts.stalled_ms = 300;
        config.limits.pipes = pipes;
        let rig = Rig::with(config);
        let (client, mut served) = rig.pair(&server);
        let block = vec![0; 1 << 16];
        let error = (0..10_000).find_map(|_| served.write_all(&block).err()).unwrap();
        assert!(
            matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe),
            "{error}"
        );
        assert_eq!(rig.ended(Fate::Stalled), 1, "{:?}", rig.counts);
        drop(client);
        rig.stop();
    }
}

#[test]
fn a_server_that_never_answers_is_given_up() {
    // Nobody accepts, and the queue holds one: further SYNs are dropped without an answer.
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    bind(&socket, &"127.0.0.1:0".parse::<SocketAddr>().unwrap()).unwrap();
    rustix::net::listen(&socket, 0).unwrap();
    let silent = SocketAddr::try_from(rustix::net::getsockname(&socket).unwrap()).unwrap();
    let filler: Vec<_> =
        (0..2).map(|_| TcpStream::connect_timeout(&silent, Duration::from_millis(100))).collect();
    let server = server();
    let mut config = config("127.0.0.1:0", &[silent]);
    config.timeouts.connect_ms = 150;
    let rig = Rig::with(config.clone());
    let begun = Instant::now();
    assert_eq!(answer(FRIEND, rig.address), RESET);
    assert!(begun.elapsed() >= Duration::from_millis(140), "{:?}", begun.elapsed());
    assert_eq!(rig.refused(Refusal::ConnectTimeout), 1, "{:?}", rig.counts);
    rig.stop();
    // The next back end is tried then.
    config.backends.push(Backend { address: server.local_addr().unwrap() });
    let rig = Rig::with(config);
    let (mut client, mut served) = rig.pair(&server);
    passes(&mut client, &mut served, b"x");
    rig.stop();
    drop(filler);
}

/// Slow readers that hold every buffer are reset, the slowest first, so that others get on.
#[test]
fn slow_readers_do_not_stop_the_others() {
    let server = server();
    let mut config = config("127.0.0.1:0", &[server.local_addr().unwrap()]);
    config.limits.buffers = 16;
    config.limits.pipes = 0;
    let rig = Rig::with(config);
    let mut slow = Vec::new();
    for _ in 0..24 {
        let (client, served) = rig.pair(&server);
        served.set_nonblocking(true).unwrap();
        slow.push((client, served));
    }
    let block = vec![0; 1 << 16];
    let begun = Instant::now();
    while rig.ended(Fate::Evicted) == 0 && begun.elapsed() < LONG {
        for (_, served) in &mut slow {
            let _ = served.write(&block);
        }
        sleep(Duration::from_millis(2));
    }
    assert!(rig.ended(Fate::Evicted) > 0, "{:?}", rig.counts);
    let (mut client, mut served) = rig.pair(&server);
    passes(&mut client, &mut served, b"x");
    passes(&mut served, &mut client, b"y");
    drop(slow);
    rig.stop();
}

#[test]
fn wrong_numbers_and_contradictions_are_named() {
    let good = || config("127.0.0.1:0", &["127.0.0.1:1".parse().unwrap()]);
    type Change = fn(&mut ProxyConfig);
    let table: &[(Change, &str)] = &[
        (|c| c.limits.connections_max = 0, "proxy p: connections_max is 0; legal is 1 to 1048576"),
        (|c| c.limits.buffers = 8, "proxy p: buffers is 8; legal is 16 to 32768"),
        (|c| c.limits.accepts_per_turn = 257, "proxy p: accepts_per_turn is 257; legal is 1 to 256"),
        (|c| c.workers = 0, "proxy p: workers is 0; legal is 1 to 64"),
        (|c| c.listen.clear(), "proxy p: it has no address to listen on"),
        (|c| c.backends.clear(), "proxy p: an explicit listener needs at least one back end"),
        (
            |c| c.mode = ListenMode::Tproxy,
            "proxy p: a transparent listener connects to where its clients wanted to, so it has no back ends",
        ),
        (|c| c.backends = vec![c.backends[0]; 65], "proxy p: it has more than 64 back ends"),
        (
            |c| c.trusted.push(Prefix { address: Address::v4([10, 0, 0, 0]), bits: 33 }),
            "proxy p: a trusted range has more bits than its addresses",
        ),
    ];
    for (change, expected) in table {
        let mut config = good();
        change(&mut config);
        assert_eq!(open_listeners(&config).unwrap_err().to_string(), *expected);
    }
    let mut config = good();
    config.cores = vec![4000];
    let listeners = open_listeners(&config).unwrap();
    let error = Proxy::start(config, listeners, Vec::new()).err().unwrap();
    assert_eq!(error.to_string(), "proxy p: there are 0 sets of parts; there must be 1");
}

#[test]
fn a_prefix_holds_its_addresses_and_no_others() {
    for (base, bits, inside, outside) in [
        ("10.1.2.3", 8, "10.255.0.1", "11.0.0.1"),
        ("10.1.2.3", 32, "10.1.2.3", "10.1.2.2"),
        ("0.0.0.0", 0, "255.1.1.1", "::1"),
        ("fd00::1", 64, "fd00::ffff", "fd00:0:0:1::1"),
        ("::", 0, "fd00::1", "10.0.0.1"),
        ("fd00::1", 128, "fd00::1", "fd00::2"),
    ] {
        let address = |text: &str| Address::from(text.parse::<std::net::IpAddr>().unwrap());
        let prefix = Prefix { address: address(base), bits };
        assert!(prefix.contains(address(inside)) && !prefix.contains(address(outside)), "{base}/{bits}");
    }
    let nonsense = Prefix { address: Address::v4([10, 0, 0, 0]), bits: 33 };
    assert!(!nonsense.contains(Address::v4([10, 0, 0, 0])));
}

#[test]
fn what_a_kernel_lacks_is_named() {
    let config = config("127.0.0.1:0", &["127.0.0.1:1".parse().unwrap()]);
    let denied = || io::Error::from_raw_os_error(libc::EPERM);
    for (problem, expected) in [
        (
            ProxyProblem::Ring(RingError::Lacks("ring of provided buffers", "5.19")),
            "proxy p: this kernel's io_uring has no ring of provided buffers: it needs Linux 5.19 or later",
        ),
        (
            ProxyProblem::Ring(RingError::NoSupport(denied())),
            "proxy p: io_uring cannot be used: Operation not permitted (os error 1); it needs CONFIG_IO_URING and that \
             the sysctl kernel.io_uring_disabled lets this process use it",
        ),
        (
            ProxyProblem::Transparent(denied()),
            "proxy p: a transparent listener or a kept source address needs IP_TRANSPARENT: Operation not permitted (os \
             error 1); give the process CAP_NET_ADMIN",
        ),
        (
            ProxyProblem::Files { needed: 9, limit: 8 },
            "proxy p: connections_max and pipes of the proxies here need 9 open files, and this process may have 8: raise \
             the limit (LimitNOFILE= in a systemd unit) or lower connections_max",
        ),
    ] {
        assert_eq!(config.refuse(problem).to_string(), expected);
    }
}
