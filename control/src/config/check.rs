//! From the file as written to a [`Config`] that makes sense.

mod proxies;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_saphyr::Spanned;

use super::accounts::{Accounts, Principals};
use super::file::{self, Number, Raw, Text, span_of};
use super::{Admission, Config, DEFAULT_SOCKET, Fail, Http, Mode, Port, Records, Socket, SourceCheck, Wire};
use crate::policy::diagnostics::{Code, Finding, Sink, Span};
use crate::policy::{Diagnostics, SourceFile};
use crate::store;

const WIRES_MAX: usize = dataplane::verdict::WireId::MAX_WIRES as usize;
/// Most entries of the lists that are not wires.
const LIST_MAX: usize = 1024;
/// `sun_path` of unix(7) holds 108 bytes with the closing zero.
const SOCKET_PATH_MAX: usize = 107;

const MODES: &[(&str, Mode)] = &[
    ("auto", Mode::Auto),
    ("zero-copy", Mode::ZeroCopy),
    ("native-copy", Mode::NativeCopy),
    ("generic", Mode::Generic),
];
const FAILS: &[(&str, Fail)] = &[("closed", Fail::Closed), ("open", Fail::Open)];
const SOURCE_CHECKS: &[(&str, SourceCheck)] =
    &[("strict", SourceCheck::Strict), ("known", SourceCheck::Known)];
const ADMISSIONS: &[(&str, Admission)] = &[("token", Admission::Token), ("anyone", Admission::Anyone)];

pub(super) fn check(raw: Raw, files: &[SourceFile], base: &Path) -> Result<Config, Diagnostics> {
    let mut check = Check { sink: Sink::new(files), base, accounts: Accounts::read() };
    let mut names = BTreeMap::new();
    let config = Config {
        wires: check.wires(&raw.wires, &mut names),
        proxies: check.proxies(&raw.proxies, raw.wires.len(), &mut names),
        policy: raw.policy.iter().map(|p| check.path(p)).collect(),
        state_dir: check.path_or(&raw.state_dir, "/var/lib/ringfence"),
        history: store::Limits {
            records: check.number("history.records", &raw.history.records, 100, 2..=10_000),
            bytes: check.number::<u64>("history.mebibytes", &raw.history.mebibytes, 1024, 1..=1 << 20) << 20,
            ..store::Limits::default()
        },
        socket: check.socket(&raw.socket),
        http: raw.http.as_ref().map(|http| check.http(http)),
        read: check.principals(&raw.access.read),
        change: check.principals(&raw.access.change),
        flows: check.number("flows.capacity", &raw.flows.capacity, 1 << 18, 1024..=1 << 26),
        pickup: check.millis("flows.pickup_ms", &raw.flows.pickup_ms, 60_000, 0),
        records: Records {
            update: Duration::from_secs(check.number(
                "records.update_s",
                &raw.records.update_s,
                60,
                0..=3600,
            )),
            queue: check.number("records.queue", &raw.records.queue, 32_768, 64..=1 << 20),
        },
        pin: raw.pin.as_ref().map(|pin| check.path(pin)),
        cores: check.cores("cores", &raw.cores),
        publish_timeout: check.millis("publish_timeout_ms", &raw.publish_timeout_ms, 5_000, 10),
        export: check.export(&raw.export),
    };
    check.sink.finish().map(|_no_warnings| config)
}

pub(super) struct Check<'a> {
    pub(super) sink: Sink<'a>,
    base: &'a Path,
    accounts: Accounts,
}

impl Check<'_> {
    pub(super) fn fault<T>(&mut self, code: Code, at: &Spanned<T>, message: String) {
        self.sink.push(Finding::error(code, span_of(&at.referenced), message));
    }

    pub(super) fn number<T: TryFrom<u64> + Default>(
        &mut self,
        key: &str,
        given: &Number,
        default: u64,
        range: RangeInclusive<u64>,
    ) -> T {
        let Some(given) = given else { return T::try_from(default).unwrap_or_default() };
        if !range.contains(&given.value) {
            let (first, last) = range.into_inner();
            self.fault(
                Code::Limit,
                given,
                format!("`{key}` is {}; it must be {first} to {last}", given.value),
            );
        }
        T::try_from(given.value).unwrap_or_default()
    }

    /// A power of two.
    fn power(&mut self, key: &str, given: &Number, default: u64, range: RangeInclusive<u64>) -> u32 {
        if let Some(given) = given
            && range.contains(&given.value)
            && !given.value.is_power_of_two()
        {
            self.fault(Code::Limit, given, format!("`{key}` is {}; it must be a power of two", given.value));
        }
        self.number(key, given, default, range)
    }

    fn millis(&mut self, key: &str, given: &Number, default: u64, least: u64) -> Duration {
        Duration::from_millis(self.number(key, given, default, least..=600_000))
    }

    pub(super) fn word<T: Copy + Default>(&mut self, key: &str, given: &Text, words: &[(&str, T)]) -> T {
        let Some(given) = given else { return T::default() };
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == given.value) {
            return *value;
        }
        let message = format!("`{key}` cannot be `{}`", given.value);
        self.sink.push(
            Finding::error(Code::UnknownWord, span_of(&given.referenced), message)
                .legal(words.iter().map(|(word, _)| *word)),
        );
        T::default()
    }

    pub(super) fn path(&mut self, given: &Spanned<String>) -> PathBuf {
        if given.value.is_empty() || given.value.contains('\0') {
            self.fault(Code::File, given, "this is no path".into());
        }
        self.base.join(&given.value)
    }

    fn path_or(&mut self, given: &Text, default: &str) -> PathBuf {
        given.as_ref().map_or_else(|| default.into(), |given| self.path(given))
    }

    fn wires(&mut self, wires: &[file::Wire], names: &mut BTreeMap<String, Span>) -> Vec<Wire> {
        if let Some(excess) = wires.get(WIRES_MAX) {
            self.fault(Code::Limit, &excess.name, format!("there are more than {WIRES_MAX} wires"));
        }
        let mut interfaces = BTreeMap::new();
        let mut checked = Vec::new();
        for wire in wires.iter().take(WIRES_MAX) {
            checked.push(Wire {
                name: self.name(&wire.name, "wire", names),
                inside: self.port(&wire.inside, &mut interfaces),
                outside: self.port(&wire.outside, &mut interfaces),
                fail: self.word("fail", &wire.fail, FAILS),
                queues: wire.queues.is_some().then(|| self.number("queues", &wire.queues, 1, 1..=64)),
                frames_per_queue: self.power("frames_per_queue", &wire.frames_per_queue, 4096, 256..=65_536),
                chunk_bytes: self.power("chunk_bytes", &wire.chunk_bytes, 2048, 2048..=4096),
                busy_poll: wire.busy_poll,
                source_check: self.word("source_check", &wire.source_check, SOURCE_CHECKS),
            });
        }
        checked
    }

    /// The name of a wire or proxy; in records they stand in one place.
    fn name(&mut self, given: &Spanned<String>, what: &str, names: &mut BTreeMap<String, Span>) -> String {
        let name = &given.value;
        let ok = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if !(1..=63).contains(&name.len()) || !name.chars().all(ok) {
            let message = format!("`{name}` cannot be the name of a {what}");
            self.sink.push(
                Finding::error(Code::BadName, span_of(&given.referenced), message)
                    .help("use 1 to 63 letters, digits, '-', '_' and '.'"),
            );
        }
        self.unique(names, given, what);
        name.clone()
    }

    fn port(&mut self, port: &file::Port, interfaces: &mut BTreeMap<String, Span>) -> Port {
        let name = &port.interface.value;
        // dev_valid_name() in net/core/dev.c.
        let bad = |c: char| c == '/' || c == ':' || c == '\0' || c.is_whitespace();
        if !(1..=15).contains(&name.len()) || name == "." || name == ".." || name.contains(bad) {
            self.fault(
                Code::BadName,
                &port.interface,
                format!("`{name}` cannot be the name of an interface"),
            );
        }
        self.unique(interfaces, &port.interface, "interface");
        Port { interface: name.clone(), mode: self.word("mode", &port.mode, MODES) }
    }

    fn unique(&mut self, seen: &mut BTreeMap<String, Span>, given: &Spanned<String>, what: &str) {
        let here = span_of(&given.referenced);
        if let Some(first) = seen.get(&given.value) {
            let message = format!("the {what} `{}` is used twice", given.value);
            self.sink
                .push(Finding::error(Code::DuplicateName, here, message).also(*first, "first used here"));
        } else {
            seen.insert(given.value.clone(), here);
        }
    }

    fn socket(&mut self, socket: &file::Socket) -> Socket {
        let path = self.path_or(&socket.path, DEFAULT_SOCKET);
        if let Some(given) = &socket.path
            && path.as_os_str().len() > SOCKET_PATH_MAX
        {
            let message =
                format!("the path of a socket has at most {SOCKET_PATH_MAX} bytes: {}", path.display());
            self.fault(Code::Limit, given, message);
        }
        let mut mode = 0o660;
        if let Some(given) = &socket.mode {
            match u32::from_str_radix(&given.value, 8) {
                Ok(bits) if bits <= 0o777 => mode = bits,
                _ => self.fault(
                    Code::WrongType,
                    given,
                    format!("`{}` are no permission bits; write \"0660\" or the like", given.value),
                ),
            }
        }
        let group = socket.group.as_ref().and_then(|given| self.group(given));
        let body: usize = self.number("socket.body_mebibytes", &socket.body_mebibytes, 256, 1..=256);
        Socket {
            path,
            mode,
            group,
            body_bytes: body << 20,
            connections: self.number("socket.connections", &socket.connections, 64, 1..=1024),
            timeout: self.millis("socket.timeout_ms", &socket.timeout_ms, 30_000, 100),
        }
    }

    fn http(&mut self, http: &file::Http) -> Http {
        let listen = http.listen.value.parse().ok().filter(|at: &SocketAddr| at.ip().is_loopback());
        if listen.is_none() {
            let message =
                format!("`http.listen` cannot be `{}`: it must be a loopback address", http.listen.value);
            self.sink.push(Finding::error(Code::WrongType, span_of(&http.listen.referenced), message).help(
                "write 127.0.0.1:PORT or \"[::1]:PORT\"; what is asked from elsewhere comes through a tunnel",
            ));
        }
        Http {
            listen: listen.unwrap_or(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0)),
            namespace: http.namespace.as_ref().map(|path| self.path(path)),
            read: self.word("http.read", &http.read, ADMISSIONS),
            metrics: self.word("http.metrics", &http.metrics, ADMISSIONS),
        }
    }

    fn group(&mut self, given: &Spanned<String>) -> Option<u32> {
        let id = self.accounts.group(&given.value);
        if id.is_none() {
            self.fault(
                Code::UnknownWord,
                given,
                format!("there is no group `{}` in /etc/group", given.value),
            );
        }
        id
    }

    fn principals(&mut self, who: &file::Who) -> Principals {
        let mut found = Principals::default();
        for list in [&who.users, &who.groups] {
            if let Some(excess) = list.get(LIST_MAX) {
                self.fault(Code::Limit, excess, format!("the list has more than {LIST_MAX} entries"));
            }
        }
        for given in who.users.iter().take(LIST_MAX) {
            match self.accounts.user(&given.value) {
                Some(id) => drop(found.users.insert(id)),
                None => self.fault(
                    Code::UnknownWord,
                    given,
                    format!("there is no user `{}` in /etc/passwd", given.value),
                ),
            }
        }
        for given in who.groups.iter().take(LIST_MAX) {
            if let Some(id) = self.group(given) {
                found.groups.insert(id);
                found.users.extend(self.accounts.members(id));
            }
        }
        found
    }

    fn cores(&mut self, key: &str, cores: &[Spanned<u64>]) -> Vec<u16> {
        if let Some(excess) = cores.get(LIST_MAX) {
            self.fault(Code::Limit, excess, format!("there are more than {LIST_MAX} cores"));
        }
        cores.iter().take(LIST_MAX).map(|core| self.number(key, &Some(core.clone()), 0, 0..=1023)).collect()
    }
}
