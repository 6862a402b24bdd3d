//! A tiny guest for the tests: some memory, two directories, and pipes as standard streams.
#![allow(clippy::unwrap_used)]

use std::os::fd::OwnedFd;

use tempfile::TempDir;
use timecraft_segment::ids::FunctionId;

use super::abi::rights;
use super::channel::Handle;
use super::errno::Errno;
use super::{Config, Directory, Flow, Wasi};
use crate::capture::Capture;
use crate::memory::GuestMemory;
use crate::network::{Network, Rules};
use crate::wakeup::Wakeup;

/// The rights to read and write.
pub const RW: u64 = rights::FD_READ | rights::FD_WRITE;

/// Where `Guest::vectors` puts vectors; what they describe follows.
const VECTORS: usize = 256;
/// Where paths go.
const PATHS: usize = 64 * 1024 - 16384;

pub struct Guest {
    pub wasi: Wasi,
    pub memory: Vec<u8>,
    pub wakeup: Wakeup,
    /// `/data`, descriptor 3.
    pub root: TempDir,
    /// `/ro`, descriptor 4, read-only.
    pub read_only: TempDir,
    stdin: OwnedFd,
    stdout: Option<OwnedFd>,
    vectors: usize,
}

impl Guest {
    pub fn new() -> Guest {
        Guest::build(64 * 1024, true)
    }

    pub fn with_memory(size: usize) -> Guest {
        Guest::build(size, true)
    }

    pub fn without_directories() -> Guest {
        Guest::build(64 * 1024, false)
    }

    /// One with another directory of the host as descriptor 5, with all rights.
    pub fn with_directory(host: &str) -> Guest {
        Guest::build_with(64 * 1024, true, Some(host), false)
    }

    /// One that finds what resolving names takes as descriptor 3.
    pub fn with_resolver_files() -> Guest {
        Guest::build_with(64 * 1024, false, None, true)
    }

    fn build(size: usize, directories: bool) -> Guest {
        Guest::build_with(size, directories, None, false)
    }

    fn build_with(size: usize, directories: bool, more: Option<&str>, resolver: bool) -> Guest {
        let (root, read_only) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let grant = |dir: &TempDir, guest: &str, read_only| Directory {
            host: dir.path().to_owned(),
            guest: guest.to_owned(),
            read_only,
        };
        let mut directories = match directories {
            true => vec![grant(&root, "/data", false), grant(&read_only, "/ro", true)],
            false => vec![],
        };
        directories.extend(more.map(|host| Directory {
            host: host.into(),
            guest: host.to_owned(),
            read_only: false,
        }));
        let wakeup = Wakeup::new().unwrap();
        let config = Config {
            args: vec![b"guest".to_vec(), b"-v v".to_vec()],
            environment: vec![(b"HOME".to_vec(), b"/".to_vec())],
            directories,
            network: Network {
                rules: Rules {
                    listen: ["127.0.0.1:0", "[::1]:0"]
                        .map(|a| a.parse().unwrap())
                        .to_vec(),
                    ..Rules::default()
                },
                ..Network::default()
            },
            resolver_files: resolver,
            max_descriptors: 1024,
            wakeup: wakeup.clone(),
        };
        let (read_in, stdin) = rustix::pipe::pipe().unwrap();
        let (stdout, write_out) = rustix::pipe::pipe().unwrap();
        let write_err = rustix::fs::open(
            "/dev/null",
            rustix::fs::OFlags::WRONLY,
            rustix::fs::Mode::empty(),
        )
        .unwrap();
        let wasi =
            Wasi::with_stdio(config, [read_in, write_out, write_err].map(Handle::Own)).unwrap();
        Guest {
            wasi,
            memory: vec![0; size],
            wakeup,
            root,
            read_only,
            stdin,
            stdout: Some(stdout),
            vectors: 0,
        }
    }

    pub fn call(&mut self, function: FunctionId, args: &[u64]) -> Flow {
        let mut capture = Capture::off();
        self.wasi.call(
            function,
            args,
            &mut GuestMemory::new(&mut self.memory, &mut capture),
        )
    }

    #[track_caller]
    pub fn ok(&mut self, function: FunctionId, args: &[u64]) {
        assert_eq!(self.call(function, args), Flow::Return(0));
    }

    #[track_caller]
    pub fn fails(&mut self, errno: Errno, function: FunctionId, args: &[u64]) {
        assert_eq!(
            self.call(function, args),
            Flow::Return(u16::from(errno).into())
        );
    }

    pub fn u32(&self, at: usize) -> u32 {
        crate::memory::u32_at(&self.memory, at)
    }

    pub fn u64(&self, at: usize) -> u64 {
        crate::memory::u64_at(&self.memory, at)
    }

    pub fn bytes(&self, at: usize, length: usize) -> &[u8] {
        &self.memory[at..at + length]
    }

    /// Lays out vectors of these lengths, one behind the other; returns their address.
    pub fn vectors(&mut self, lengths: &[usize]) -> u64 {
        self.vectors = lengths.len();
        let mut at = self.data();
        for (i, length) in lengths.iter().enumerate() {
            let vector = VECTORS + i * 8;
            self.memory[vector..vector + 4].copy_from_slice(&(at as u32).to_le_bytes());
            self.memory[vector + 4..vector + 8].copy_from_slice(&(*length as u32).to_le_bytes());
            at += length;
        }
        VECTORS as u64
    }

    /// Where the bytes of the vectors start.
    pub fn data(&self) -> usize {
        VECTORS + self.vectors * 8
    }

    fn result(&mut self, function: FunctionId, args: &[u64]) -> Result<u32, Errno> {
        match self.call(function, args) {
            Flow::Return(0) => Ok(self.u32(0)),
            Flow::Return(errno) => Err(Errno::from_number(errno as u16)),
            other => panic!("{other:?}"),
        }
    }

    pub fn read(&mut self, fd: u64, lengths: &[usize]) -> Result<Vec<u8>, Errno> {
        let vectors = self.vectors(lengths);
        let n = self.result(
            super::function::FD_READ,
            &[fd, vectors, lengths.len() as u64, 0],
        )?;
        Ok(self.bytes(self.data(), n as usize).to_vec())
    }

    pub fn write(&mut self, fd: u64, pieces: &[&[u8]]) -> Result<u32, Errno> {
        let lengths: Vec<usize> = pieces.iter().map(|piece| piece.len()).collect();
        let vectors = self.vectors(&lengths);
        let (data, bytes) = (self.data(), pieces.concat());
        self.memory[data..data + bytes.len()].copy_from_slice(&bytes);
        self.result(
            super::function::FD_WRITE,
            &[fd, vectors, lengths.len() as u64, 0],
        )
    }

    /// Puts paths into memory; returns the address and length of each.
    pub fn paths<const N: usize>(&mut self, paths: [&str; N]) -> [[u64; 2]; N] {
        let mut at = PATHS;
        paths.map(|path| {
            self.memory[at..at + path.len()].copy_from_slice(path.as_bytes());
            at += path.len();
            [(at - path.len()) as u64, path.len() as u64]
        })
    }

    /// Calls a function that takes a directory and a path, and nothing else.
    pub fn at(&mut self, function: FunctionId, fd: u64, path: &str) -> Result<(), Errno> {
        let [[path, length]] = self.paths([path]);
        self.result(function, &[fd, path, length]).map(drop)
    }

    /// Opens a path in `/data`, following symbolic links.
    pub fn open(
        &mut self,
        path: &str,
        oflags: u16,
        rights: u64,
        fdflags: u16,
    ) -> Result<u64, Errno> {
        self.open_at(3, 1, path, oflags, rights, fdflags)
    }

    pub fn open_at(
        &mut self,
        fd: u64,
        lookup: u64,
        path: &str,
        oflags: u16,
        rights: u64,
        fdflags: u16,
    ) -> Result<u64, Errno> {
        let [[path, length]] = self.paths([path]);
        let args = [
            fd,
            lookup,
            path,
            length,
            oflags.into(),
            rights,
            rights,
            fdflags.into(),
            0,
        ];
        self.result(super::function::PATH_OPEN, &args)
            .map(u64::from)
    }

    /// A file of `/data`, written by the host.
    pub fn host_write(&self, path: &str, content: &[u8]) {
        std::fs::write(self.root.path().join(path), content).unwrap();
    }

    pub fn host_read(&self, path: &str) -> Vec<u8> {
        std::fs::read(self.root.path().join(path)).unwrap()
    }

    /// What the guest will find on its standard input.
    pub fn stdin(&self, bytes: &[u8]) {
        rustix::io::write(&self.stdin, bytes).unwrap();
    }

    /// What the guest wrote to its standard output.
    pub fn stdout(&self) -> Vec<u8> {
        let mut bytes = vec![0; 4096];
        let n = rustix::io::read(self.stdout.as_ref().unwrap(), &mut bytes[..]).unwrap();
        bytes.truncate(n);
        bytes
    }

    pub fn close_stdout_reader(&mut self) {
        self.stdout = None;
    }
}

#[track_caller]
pub fn trapped(flow: Flow) {
    assert!(matches!(flow, Flow::Trap(_)), "{flow:?}");
}
