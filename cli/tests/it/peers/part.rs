//! Programs of other projects, by name: where they are, and a port for each.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};

/// Debian puts servers where only root looks for them.
const FOLDERS: [&str; 4] = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];

/// A command that runs a program, with nothing of the environment. Where it is missing the test fails
/// and says how to get it: a part that is left out would look like a part that works.
#[track_caller]
pub fn program(name: &str) -> Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(FOLDERS.iter().map(PathBuf::from));
    let Some(found) = folders.map(|f| f.join(name)).find(|p| p.is_file()) else {
        panic!("{name} is missing; run: scripts/setup-tests.sh");
    };
    let mut command = Command::new(found);
    command.env_clear().env("LC_ALL", "C.UTF-8");
    command
}

/// Debian's Python, whose packages are Debian's too; with a script that stands beside this file.
#[track_caller]
pub fn python(script: &str) -> Command {
    assert!(
        Path::new("/usr/bin/python3").exists(),
        "/usr/bin/python3 is missing; run: scripts/setup-tests.sh"
    );
    let mut command = Command::new("/usr/bin/python3");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/peers");
    command
        .args(["-B".as_ref(), folder.join(script).as_os_str()])
        .env_clear();
    command
}

/// A port of loopback that nobody uses, for TCP and UDP. It lies below those that the kernel gives to
/// clients, and no test of this run gets it again.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Two runs at once begin apart.
    let base = 12_000 + (std::process::id() % 160) as u16 * 100;
    loop {
        let port = base + NEXT.fetch_add(1, Ordering::Relaxed);
        assert!(port < base + 1000, "no port is free from {base} on");
        let address = (Ipv4Addr::LOCALHOST, port);
        if TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok() {
            return port;
        }
    }
}
