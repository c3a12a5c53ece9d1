//! Programs as processes: found, run to their end, or kept until the test ends.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, geteuid, kill_process_group};

use crate::SOON;
use crate::common::Folder;

/// A command for a program of `package`, as a user that is not root if `user` is given and the test is root.
pub(crate) fn command(program: impl AsRef<Path>, package: &str, user: Option<&str>) -> Command {
    let program = program.as_ref();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    let found = folders.map(|folder| folder.join(program)).find(|path| path.is_file());
    let Some(found) = found else {
        panic!("{} is not installed: install the package {package}", program.display())
    };
    match user {
        Some(user) if geteuid().is_root() => {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", user, "--regid", user, "--init-groups"]).arg(found);
            command
        }
        _ => Command::new(found),
    }
}

/// The newest folder below `/usr/lib/postgresql` that has the server's programs.
pub(crate) fn postgres_folder() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").map(|entries| entries.flatten().collect::<Vec<_>>());
    let folders = versions.unwrap_or_default().into_iter().map(|entry| entry.path().join("bin"));
    let newest = folders.filter(|folder| folder.join("initdb").is_file()).max();
    newest.unwrap_or_else(|| panic!("initdb is not installed: install the package postgresql"))
}

/// Runs it to its end, and returns what it printed; it must succeed.
pub(crate) fn run(command: &mut Command) -> String {
    let output = finish(command);
    let said = text(&output);
    assert!(output.status.success(), "{command:?}: {}: {said}", output.status);
    said
}

/// Runs it to its end.
pub(crate) fn finish(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// What it printed, on both outputs.
pub(crate) fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// A server of somebody else's, with its children; ends with the test.
pub(crate) struct Service {
    child: Child,
    log: PathBuf,
}

impl Service {
    /// Starts it and waits until it listens on `at`.
    pub(crate) fn start(command: &mut Command, folder: &Folder, at: SocketAddr) -> Self {
        let log = folder.write("log", "");
        let output = fs::File::create(&log).unwrap();
        command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output).process_group(0);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut service = Self { child, log };
        let deadline = Instant::now() + SOON;
        while TcpStream::connect_timeout(&at, Duration::from_secs(1)).is_err() {
            let ended = service.child.try_wait().unwrap();
            let late = Instant::now() > deadline;
            assert!(ended.is_none() && !late, "{command:?}: {}", fs::read_to_string(&service.log).unwrap());
            thread::sleep(Duration::from_millis(20));
        }
        service
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

/// A port of `ip` that was free a moment ago. Each test has addresses of its own, so nobody else takes it.
pub(crate) fn free(ip: &str) -> SocketAddr {
    TcpListener::bind((ip, 0)).unwrap_or_else(|error| panic!("{ip}: {error}")).local_addr().unwrap()
}

/// Runs `body` until it holds.
pub(crate) fn wait(what: &str, mut body: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !body() {
        assert!(Instant::now() < deadline, "{what}: not within {} s", SOON.as_secs());
        thread::sleep(Duration::from_millis(20));
    }
}
