//! What a recording says about where and by whom a guest was run. Must never fail: what cannot be
//! found out is left as what is known instead.

use std::fs;
use std::path::Path;

use rustix::process::getuid;
use rustix::system::uname;

use crate::network::Network;
use crate::wasi::Directory;

/// The name of the machine.
pub(crate) fn name() -> String {
    text(uname().nodename().to_bytes())
}

/// The user's name, or its number where the password file has none for it.
pub(crate) fn user() -> String {
    let uid = getuid().as_raw().to_string();
    fs::read_to_string("/etc/passwd")
        .ok()
        .and_then(|file| user_of(&uid, &file).map(str::to_owned))
        .unwrap_or(uid)
}

/// Finds a user in a password file, whose lines are `name:password:uid:...`.
fn user_of<'a>(uid: &str, passwords: &'a str) -> Option<&'a str> {
    passwords.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then_some(name)
    })
}

/// What a guest may use, as the flags that granted it.
pub(crate) fn grants(directories: &[Directory], network: &Network) -> Vec<String> {
    let directories = directories.iter().map(grant);
    let listen = network.listen.iter().map(|at| format!("--listen {at}"));
    let dial = network.dial.iter().map(|to| format!("--dial {to}"));
    let rules = network.rules.flags();
    let trusted = network
        .trust
        .files()
        .iter()
        .map(|file| format!("--tls-ca {}", path(file)));
    directories
        .chain(listen)
        .chain(dial)
        .chain(rules)
        .chain(trusted)
        .collect()
}

/// The directory as the flag that granted it.
fn grant(directory: &Directory) -> String {
    let read_only = if directory.read_only { ":ro" } else { "" };
    format!(
        "--dir {}::{}{read_only}",
        path(&directory.host),
        directory.guest
    )
}

fn path(path: &Path) -> String {
    text(path.as_os_str().as_encoded_bytes())
}

/// Bytes as text: what is not UTF-8 is written as `\xNN`.
pub(crate) fn text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_text_and_users_names() {
        assert_eq!(text(b"a\xff\xe9b"), "a\\xff\\xe9b");
        assert_eq!(text("für".as_bytes()), "für");
        let passwords = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:\n";
        assert_eq!(user_of("65534", passwords), Some("nobody"));
        assert_eq!(user_of("1", passwords), None);
        assert!(!name().is_empty());
        assert!(!user().is_empty());
    }

    #[test]
    fn a_directory_is_the_flag_that_granted_it() {
        let directory = Directory {
            host: "/srv/data".into(),
            guest: "/data".to_owned(),
            read_only: true,
        };
        assert_eq!(grant(&directory), "--dir /srv/data::/data:ro");
    }
}
