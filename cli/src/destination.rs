//! Where a result goes: standard output, or a file that appears when all of it is there.
//!
//! Nothing here knows what is written.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::error::Error;

/// Where a result goes.
pub enum Destination {
    Stdout,
    /// Written beside its place and put there when all is well.
    File {
        path: PathBuf,
        temporary: PathBuf,
        file: File,
    },
    /// A pipe or a device: nothing can be put in its place.
    Special(File),
}

impl Destination {
    /// The file of that path.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn at(path: &Path) -> Result<Destination, Error> {
        create(path).map_err(|source| Error::File {
            doing: "create",
            path: path.to_owned(),
            source,
        })
    }

    /// Whether what was written can be gone back to.
    #[cfg(feature = "sql")]
    pub fn is_seekable(&self) -> bool {
        matches!(self, Destination::File { .. })
    }

    /// Takes what is to go there, unbuffered.
    ///
    /// # Errors
    /// When the system has no more descriptors.
    pub fn writer(&self) -> io::Result<Box<dyn Write + Send>> {
        Ok(match self {
            Destination::Stdout => Box::new(io::stdout()),
            Destination::File { file, .. } | Destination::Special(file) => {
                Box::new(file.try_clone()?)
            }
        })
    }

    /// Puts the file in its place.
    ///
    /// # Errors
    /// When that fails; the place is as it was then.
    pub fn keep(self) -> Result<(), Error> {
        let Destination::File {
            path, temporary, ..
        } = &self
        else {
            return Ok(());
        };
        // Where it fails, what was written goes with `self`; where not, there is nothing to go.
        fs::rename(temporary, path).map_err(|source| Error::File {
            doing: "write",
            path: path.clone(),
            source,
        })
    }
}

impl Drop for Destination {
    fn drop(&mut self) {
        if let Destination::File { temporary, .. } = self {
            // Half a result helps nobody.
            let _ = fs::remove_file(temporary);
        }
    }
}

fn create(path: &Path) -> io::Result<Destination> {
    // A link stays, and what it leads to is replaced.
    let path = match path.canonicalize() {
        Ok(path) => path,
        Err(e) if e.kind() == io::ErrorKind::NotFound => path.to_owned(),
        Err(e) => return Err(e),
    };
    match path.metadata() {
        Ok(metadata) if metadata.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
        Ok(metadata) if !metadata.is_file() => {
            return Ok(Destination::Special(
                File::options().write(true).open(&path)?,
            ));
        }
        _ => {}
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let temporary = path.with_file_name(name);
    let file = File::create(&temporary)?;
    Ok(Destination::File {
        path,
        temporary,
        file,
    })
}
