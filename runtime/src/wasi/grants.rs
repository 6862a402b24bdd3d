//! What the guest was given, and what it asked for and was not.
//!
//! A refusal is remembered so that, when the guest fails, its user learns which flag was missing.
//! Text that the guest chose is kept escaped.

use std::path::PathBuf;

use timecraft_segment::denial::{self, Denial};

use super::errno::Errno;

/// What may be done under a preopened directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    ReadOnly,
    ReadWrite,
}

/// A directory that the guest was given, shared by all that is opened under it.
#[derive(Debug)]
pub(super) struct Grant {
    pub host: PathBuf,
    pub guest: String,
    pub access: Access,
}

/// Something that the guest was refused because it was not granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingGrant {
    /// What the guest asked for, as a noun: `write access to "/data"`.
    pub resource: String,
    /// The flag that gives it: `--dir ./data::/data`. Where the host's side is not known it reads
    /// `HOST::GUEST`.
    pub flag: String,
}

impl Grant {
    /// Refuses a change of `what` under a read-only directory.
    pub fn writable(&self, what: &str) -> Result<(), Box<Refusal>> {
        match self.access {
            Access::ReadWrite => Ok(()),
            Access::ReadOnly => Err(Box::new(Refusal {
                errno: Errno::PERM,
                rule: self.flag(),
                missing: MissingGrant {
                    resource: format!("write access to {:?}", self.inside(what)),
                    flag: format!("--dir {}::{}", self.host.display(), self.guest),
                },
            })),
        }
    }

    /// The refusal of a path that leads out of this directory.
    pub fn escaped(&self, path: &str) -> Box<Refusal> {
        Box::new(Refusal {
            errno: Errno::PERM,
            rule: self.flag(),
            missing: MissingGrant {
                resource: format!(
                    "{path:?}, which leads out of the directory {:?}",
                    self.guest
                ),
                flag: "--dir HOST::GUEST".to_owned(),
            },
        })
    }

    /// The flag that gave this directory.
    fn flag(&self) -> String {
        let read_only = match self.access {
            Access::ReadOnly => ":ro",
            Access::ReadWrite => "",
        };
        format!("--dir {}::{}{read_only}", self.host.display(), self.guest)
    }

    fn inside(&self, path: &str) -> String {
        match path {
            "" | "." => self.guest.clone(),
            path => format!("{}/{path}", self.guest.trim_end_matches('/')),
        }
    }
}

/// An error that a missing grant caused.
#[derive(Debug)]
pub(super) struct Refusal {
    pub errno: Errno,
    /// What forbade it: the flag that granted less.
    pub rule: String,
    pub missing: MissingGrant,
}

impl Refusal {
    /// As the log keeps it.
    pub fn denial(&self) -> Denial {
        Denial {
            resource: self.missing.resource.clone(),
            rule: self.rule.clone(),
            would_need: self.missing.flag.clone(),
        }
    }

    /// The guest looked for directories and was given none.
    pub fn no_directories() -> Box<Refusal> {
        Box::new(Refusal {
            errno: Errno::BADF,
            rule: denial::DEFAULT_RULE.to_owned(),
            missing: MissingGrant {
                resource: "a directory (it was given none)".to_owned(),
                flag: "--dir HOST::GUEST".to_owned(),
            },
        })
    }
}

/// The first few different grants that were missing.
#[derive(Debug, Default)]
pub(super) struct MissingGrants(Vec<MissingGrant>);

impl MissingGrants {
    /// More would not help who reads them.
    const MOST: usize = 16;

    pub fn add(&mut self, missing: MissingGrant) {
        if self.0.len() < Self::MOST && !self.0.contains(&missing) {
            self.0.push(missing);
        }
    }

    pub fn as_slice(&self) -> &[MissingGrant] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_refusal_says_what_forbade_it_and_what_would_grant_it() {
        let grant = Grant {
            host: "./d|e".into(),
            guest: "/data".to_owned(),
            access: Access::ReadOnly,
        };
        let denials = [
            grant.writable("f").unwrap_err(),
            grant.escaped("../f"),
            Refusal::no_directories(),
        ]
        .map(|refusal| Denial::parse(&refusal.denial().to_string()).unwrap());
        let said = denials.map(|d| [d.resource, d.rule, d.would_need].join("; "));
        assert_eq!(
            said,
            [
                r#"write access to "/data/f"; --dir ./d|e::/data:ro; --dir ./d|e::/data"#,
                r#""../f", which leads out of the directory "/data"; --dir ./d|e::/data:ro; --dir HOST::GUEST"#,
                "a directory (it was given none); default; --dir HOST::GUEST",
            ]
        );
    }
}
