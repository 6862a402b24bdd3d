//! The registry: a tree of objects, the same on local disk and, later, on S3.
//!
//! `modules/<sha256>.wasm`, `processes/<date>/<process id>/<segment number>.seg`, and beside the
//! segments of a running process its `tail`; `running/<process id>` until it has ended. Folders are
//! 0700 and files 0600.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};
use crate::ids::{ModuleId, ProcessId, SegmentNumber, UnixNs};
use crate::snapshot::{Problems, Snapshot};
use crate::{file, tail};

/// A registry, by its folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registry {
    root: PathBuf,
}

impl Registry {
    /// The registry in that folder, which need not exist yet. Does no I/O.
    #[must_use]
    pub fn at(root: impl Into<PathBuf>) -> Registry {
        Registry { root: root.into() }
    }

    /// Its folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Makes its folders, readable by their user alone, where they are missing.
    ///
    /// # Errors
    /// When a folder cannot be made.
    pub fn create(&self) -> Result<()> {
        private_folder(&self.modules())?;
        private_folder(&self.running())?;
        private_folder(&self.root.join("processes"))
    }

    /// The folder of the markers of processes that have not ended: an empty file each, so that those
    /// which a dead writer left are found without a look at all.
    pub(crate) fn running(&self) -> PathBuf {
        self.root.join("running")
    }

    pub(crate) fn marker(&self, id: ProcessId) -> PathBuf {
        self.running().join(id.to_string())
    }

    /// The folder of a process. It need not exist.
    #[must_use]
    pub fn process_folder(&self, id: ProcessId) -> PathBuf {
        self.root
            .join("processes")
            .join(id.time().date())
            .join(id.to_string())
    }

    /// All processes, by the time they started.
    ///
    /// # Errors
    /// When a folder cannot be read. A registry that does not exist is empty.
    pub fn process_ids(&self) -> Result<Vec<ProcessId>> {
        self.process_ids_between(None, None)
    }

    /// The processes that were named at or after `from` and at or before `to`, by time, to the
    /// millisecond.
    ///
    /// # Errors
    /// When a folder cannot be read. A registry that does not exist is empty.
    pub fn process_ids_between(
        &self,
        from: Option<UnixNs>,
        to: Option<UnixNs>,
    ) -> Result<Vec<ProcessId>> {
        // Ids count milliseconds.
        let from = from.map(|t| UnixNs(t.0.saturating_sub(t.0.rem_euclid(1_000_000))));
        let (first_date, last_date) = (from.map(UnixNs::date), to.map(UnixNs::date));
        let mut ids = Vec::new();
        let root = self.root.join("processes");
        for date in names(&root)? {
            if first_date.as_ref().is_some_and(|first| date < *first)
                || last_date.as_ref().is_some_and(|last| date > *last)
            {
                continue;
            }
            let within = |id: &ProcessId| {
                from.is_none_or(|from| from <= id.time()) && to.is_none_or(|to| id.time() <= to)
            };
            let entries = names(&root.join(&date))?;
            ids.extend(entries.iter().filter_map(|n| n.parse().ok()).filter(within));
        }
        ids.sort_unstable();
        Ok(ids)
    }

    /// The process that a person means: by its id, a unique prefix or suffix of it, its name (the
    /// latest of that name), or `latest`.
    ///
    /// # Errors
    /// When none is meant, or several.
    pub fn find(&self, selector: &str) -> Result<ProcessId> {
        let nothing = || Error::NoSuchProcess {
            selector: selector.to_owned(),
            registry: self.root.clone(),
        };
        if let Ok(id) = selector.parse::<ProcessId>() {
            return if self.process_folder(id).is_dir() {
                Ok(id)
            } else {
                Err(nothing())
            };
        }
        let ids = self.process_ids()?;
        if selector == "latest" {
            // One that is about to start, or died in it, has no log.
            let has_log =
                |id: &&ProcessId| self.process_folder(**id).join(first_segment()).exists();
            return ids.iter().rev().find(has_log).copied().ok_or_else(nothing);
        }
        let of_name = ids.iter().rev().copied().find(|&id| {
            let start = Snapshot::read_start(&self.process_folder(id));
            start.is_ok_and(|s| s.name.as_deref() == Some(selector))
        });
        if let Some(id) = of_name {
            return Ok(id);
        }
        let wanted = selector.to_ascii_lowercase();
        let matches: Vec<ProcessId> = ids
            .into_iter()
            .filter(|id| {
                let id = id.to_string();
                id.starts_with(&wanted) || id.ends_with(&wanted)
            })
            .collect();
        match matches.as_slice() {
            [] => Err(nothing()),
            [id] => Ok(*id),
            _ => Err(Error::AmbiguousProcess {
                selector: selector.to_owned(),
                matches,
            }),
        }
    }

    /// False where the log of a process has ended for good: it has no tail, and has segments.
    #[must_use]
    pub fn may_grow(&self, id: ProcessId) -> bool {
        let folder = self.process_folder(id);
        folder.join(tail::FILE_NAME).exists() || !folder.join(first_segment()).exists()
    }

    /// What a process's log holds now.
    ///
    /// # Errors
    /// When there is no such log, or it cannot be read, or it is damaged.
    pub fn snapshot(&self, id: ProcessId) -> Result<Snapshot> {
        Snapshot::take(id, &self.process_folder(id), Problems::fail)
    }

    /// What a process's log holds now, before and after what is damaged; the snapshot says what was
    /// skipped. Damage inside a batch is found by who reads it.
    ///
    /// # Errors
    /// When there is no such log, or nothing of it can be read.
    pub fn snapshot_past_damage(&self, id: ProcessId) -> Result<Snapshot> {
        Snapshot::take(id, &self.process_folder(id), Problems::skip)
    }

    /// Keeps a module, in its binary form, and returns its id.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put_module(&self, wasm: &[u8]) -> Result<ModuleId> {
        let id = ModuleId::of(wasm);
        self.put_module_as(id, wasm)?;
        Ok(id)
    }

    /// Keeps a module whose id the caller has computed with [`ModuleId::of`].
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put_module_as(&self, id: ModuleId, wasm: &[u8]) -> Result<()> {
        let path = self.module_path(id);
        if fs::metadata(&path).is_ok_and(|m| m.len() == wasm.len() as u64) {
            return Ok(());
        }
        private_folder(&self.modules())?;
        put_file(&path, wasm)
    }

    /// All modules, by id.
    ///
    /// # Errors
    /// When the folder cannot be read. A registry that does not exist is empty.
    pub fn module_ids(&self) -> Result<Vec<ModuleId>> {
        let names = names(&self.modules())?;
        let mut ids: Vec<ModuleId> = names
            .iter()
            .filter_map(|name| name.strip_suffix(".wasm")?.parse().ok())
            .collect();
        ids.sort_unstable();
        Ok(ids)
    }

    /// A module's bytes.
    ///
    /// # Errors
    /// When it is not there, cannot be read, or is not what its name says.
    pub fn module(&self, id: ModuleId) -> Result<Vec<u8>> {
        let path = self.module_path(id);
        let wasm = fs::read(&path).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => Error::NoSuchModule {
                module: id,
                registry: self.root.clone(),
            },
            _ => Error::io("read", &path)(e),
        })?;
        if ModuleId::of(&wasm) != id {
            return Err(Error::damaged(
                &path,
                0,
                "the module does not have the digest of its name",
            ));
        }
        Ok(wasm)
    }

    fn modules(&self) -> PathBuf {
        self.root.join("modules")
    }

    fn module_path(&self, id: ModuleId) -> PathBuf {
        self.modules().join(format!("{id}.wasm"))
    }
}

fn first_segment() -> String {
    file::file_name(SegmentNumber(0))
}

/// Makes a folder and those above it, for this user alone.
pub(crate) fn private_folder(path: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(Error::io("create the folder", path))
}

/// Puts a whole file in place at once.
fn put_file(path: &Path, bytes: &[u8]) -> Result<()> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let temporary = path.with_extension(format!("{}-{count}.new", std::process::id()));
    let write = || {
        let mut file: File = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(bytes)?;
        fs::rename(&temporary, path)
    };
    write().map_err(|e| {
        // What is left of it helps nobody; the error that matters is the first.
        let _ = fs::remove_file(&temporary);
        Error::io("write", path)(e)
    })
}

/// The names in a folder that are UTF-8, sorted; none where there is no folder.
pub(crate) fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::io("list", folder)(e)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Error::io("list", folder))?;
        names.extend(entry.file_name().into_string());
    }
    names.sort_unstable();
    Ok(names)
}
