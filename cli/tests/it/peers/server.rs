//! A server of another project: started on a port of loopback, ready when it says so, ended with the
//! test.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::Dir;

/// How long to wait before a test fails rather than hang.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// A server that runs. What it says on its standard streams is in a file.
pub struct Server {
    child: Child,
    said: PathBuf,
}

impl Server {
    /// Starts a server that will listen on a port, and waits until it does.
    #[track_caller]
    pub fn start(dir: &Dir, name: &str, port: u16, command: Command) -> Server {
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Server::start_at(dir, name, at, command)
    }

    /// The same at another address of loopback.
    #[track_caller]
    pub fn start_at(dir: &Dir, name: &str, at: SocketAddr, mut command: Command) -> Server {
        let said = dir.path(&format!("{name}.out"));
        let out = File::create(&said).unwrap();
        command
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out);
        let child = command.spawn().unwrap();
        let mut server = Server { child, said };
        let deadline = Instant::now() + DEADLINE;
        while TcpStream::connect(at).is_err() {
            let status = server.child.try_wait().unwrap();
            assert!(
                status.is_none(),
                "{name} ended, {status:?}: {}",
                server.said()
            );
            assert!(
                Instant::now() < deadline,
                "{name} does not listen: {}",
                server.said()
            );
            thread::sleep(Duration::from_millis(5));
        }
        server
    }

    /// What it said so far.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.said).unwrap()
    }

    /// Ends it with the signal by which it finishes what it is at; then its logs are complete.
    #[track_caller]
    pub fn stop(mut self, signal: Signal) -> String {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        let deadline = Instant::now() + DEADLINE;
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "it goes on: {}", self.said());
            thread::sleep(Duration::from_millis(5));
        }
        self.said()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Where the test ended it, or it ended by itself, these fail.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
