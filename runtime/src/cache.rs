//! Compiled modules on disk, so that a guest starts without being compiled again.
//!
//! An entry is native code that runs with all rights of the process, so it is read from a private
//! folder only and after its digest held; entries are never synced and never imported. Whatever is
//! wrong with the cache, a guest must run without it: nothing here is an error.
//!
//! ```text
//! entry    = magic digest artifact             the file <key, 64 hexadecimal digits>
//! magic    = "tcmodul1"                        8 bytes
//! digest   = XXH3-128 of key and artifact      16 bytes, little-endian
//! artifact = the engine's serialized module
//! key      = SHA-256 of the module's id and the engine's compatibility hash
//! ```
//!
//! The digest guards against accidents (a torn write, a flipped bit, a file under a wrong name),
//! since nobody else can write to the folder: so a fast one is enough, and at some 10 GB/s it is
//! lost beside reading the file. A cryptographic digest of an artifact of 30 MB would cost more
//! than the rest of starting the guest.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{Hash, Hasher};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};
use timecraft_segment::ModuleId;
use wasmtime::{Engine, Module};
use xxhash_rust::xxh3::Xxh3Default;

const MAGIC: &[u8; 8] = b"tcmodul1";
const HEADER: usize = MAGIC.len() + 16;

/// The folder of compiled modules: `timecraft/modules` in `$XDG_CACHE_HOME`, or in `~/.cache`.
///
/// None where neither variable is set to an absolute path.
#[must_use]
pub fn default_folder() -> Option<PathBuf> {
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|p| p.is_absolute())
    };
    let base = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(base.join("timecraft").join("modules"))
}

/// An entry of the cache: where it is, and under which key.
pub(crate) struct Entry {
    path: PathBuf,
    key: [u8; 32],
}

impl Entry {
    /// The entry of a module for an engine. No I/O.
    pub fn new(folder: &Path, engine: &Engine, module: ModuleId) -> Entry {
        let mut sha = Sha256::new();
        sha.update(module.0);
        engine
            .precompile_compatibility_hash()
            .hash(&mut Sha256Hasher(&mut sha));
        let key: [u8; 32] = sha.finalize().into();
        Entry {
            path: folder.join(ModuleId(key).to_string()),
            key,
        }
    }

    /// The compiled module, if it is there and whole.
    pub fn load(&self, engine: &Engine) -> Option<Module> {
        let folder = self.path.parent()?;
        if !is_private(folder) {
            return None;
        }
        let bytes = fs::read(&self.path).ok()?;
        let (header, artifact) = bytes.split_at_checked(HEADER)?;
        if header != self.header(artifact) {
            return None;
        }
        // SAFETY: `deserialize` needs bytes that `Module::serialize` made with this version of the
        // engine. The digest says that these are the bytes that `store` wrote under this key, and the
        // key has the engine's version and settings in it; only this user can write to the folder;
        // and `bytes` is a copy of ours, which nobody changes between the check and the use.
        unsafe { Module::deserialize(engine, artifact) }.ok()
    }

    /// Puts a compiled module into the cache, or leaves the cache as it was.
    pub fn store(&self, module: &Module) {
        let Ok(artifact) = module.serialize() else {
            return;
        };
        // A cache that cannot be written costs the next start its speed, and nothing else.
        let _ = self.replace(&artifact);
    }

    fn replace(&self, artifact: &[u8]) -> io::Result<()> {
        static UNIQUE: AtomicU64 = AtomicU64::new(0);
        let Some(folder) = self.path.parent() else {
            return Ok(());
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
        if !is_private(folder) {
            return Ok(());
        }
        let unique = format!(
            "tmp.{}.{}",
            std::process::id(),
            UNIQUE.fetch_add(1, Ordering::Relaxed)
        );
        let temporary = self.path.with_extension(unique);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)?;
        // Not synced: what a power loss tears, the digest finds.
        let written = self
            .write(file, artifact)
            .and_then(|()| fs::rename(&temporary, &self.path));
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    fn write(&self, mut file: File, artifact: &[u8]) -> io::Result<()> {
        file.write_all(&self.header(artifact))?;
        file.write_all(artifact)
    }

    fn header(&self, artifact: &[u8]) -> [u8; HEADER] {
        let mut digest = Xxh3Default::new();
        digest.update(&self.key);
        digest.update(artifact);
        let mut header = [0; HEADER];
        let (magic, sum) = header.split_at_mut(MAGIC.len());
        magic.copy_from_slice(MAGIC);
        sum.copy_from_slice(&digest.digest128().to_le_bytes());
        header
    }
}

/// Whether nobody but this user can have put files into the folder.
fn is_private(folder: &Path) -> bool {
    fs::metadata(folder).is_ok_and(|m| {
        m.is_dir() && m.uid() == rustix::process::geteuid().as_raw() && m.mode() & 0o022 == 0
    })
}

/// Feeds what a [`Hash`] writes to a SHA-256: the standard library's own hasher need not give the
/// same result in its next version, and has 64 bits.
struct Sha256Hasher<'a>(&'a mut Sha256);

impl Hasher for Sha256Hasher<'_> {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let digest: [u8; 32] = self.0.clone().finalize().into();
        digest.first_chunk().map_or(0, |b| u64::from_le_bytes(*b))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::engine::engine;

    fn compiled(engine: &Engine) -> (Module, ModuleId) {
        let wasm = wat::parse_str("(module (func (export \"_start\")))").unwrap();
        (
            Module::from_binary(engine, &wasm).unwrap(),
            ModuleId::of(&wasm),
        )
    }

    #[test]
    fn an_entry_is_read_back_unless_a_byte_of_it_changed() {
        let folder = tempfile::tempdir().unwrap();
        let engine = engine(1 << 20).unwrap();
        let (module, id) = compiled(&engine);
        let entry = Entry::new(folder.path(), &engine, id);
        assert!(entry.load(&engine).is_none());
        entry.store(&module);
        assert!(entry.load(&engine).is_some());
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            1,
            "no temporary file is left"
        );

        let good = fs::read(&entry.path).unwrap();
        let sampled = (0..HEADER + 64)
            .chain((HEADER + 64..good.len()).step_by(97))
            .chain([good.len() - 1]);
        for i in sampled {
            for mask in [0x01, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[i] ^= mask;
                fs::write(&entry.path, &bad).unwrap();
                assert!(
                    entry.load(&engine).is_none(),
                    "byte {i} changed by {mask:#x}"
                );
            }
        }
        for length in [0, 7, HEADER - 1, HEADER, HEADER + 1, good.len() - 1] {
            fs::write(&entry.path, &good[..length]).unwrap();
            assert!(entry.load(&engine).is_none(), "cut to {length} bytes");
        }
        fs::write(&entry.path, &good).unwrap();
        assert!(entry.load(&engine).is_some());
    }

    #[test]
    fn an_entry_under_another_key_or_in_a_shared_folder_is_not_used() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let engine = engine(1 << 20).unwrap();
        let (module, id) = compiled(&engine);
        let entry = Entry::new(folder.path(), &engine, id);
        entry.store(&module);

        let other = Entry::new(folder.path(), &engine, ModuleId([7; 32]));
        fs::copy(&entry.path, &other.path).unwrap();
        assert!(other.load(&engine).is_none());

        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o770)).unwrap();
        assert!(entry.load(&engine).is_none());
    }

    #[test]
    fn the_key_depends_on_the_engine_but_not_on_the_run() {
        let other = {
            let mut config = wasmtime::Config::new();
            config.epoch_interruption(true);
            Engine::new(&config).unwrap()
        };
        let key = |engine: &Engine| Entry::new(Path::new("/"), engine, ModuleId([1; 32])).key;
        assert_eq!(
            key(&engine(1 << 20).unwrap()),
            key(&engine(1 << 21).unwrap())
        );
        assert_ne!(key(&engine(1 << 20).unwrap()), key(&other));
    }

    #[test]
    fn a_cache_that_cannot_be_written_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let engine = engine(1 << 20).unwrap();
        let (module, id) = compiled(&engine);
        let entry = Entry::new(&file.join("modules"), &engine, id);
        entry.store(&module);
        assert!(entry.load(&engine).is_none());
    }
}
