//! go-redis against a Redis server.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::thread::{self, JoinHandle};

use rustix::process::Signal;

use super::part::{free_port, program};
use super::recorded::{assert_same, conversations};
use super::run;
use super::server::Server;
use super::wire::Capture;
use crate::support::Dir;

#[test]
fn what_a_redis_client_said_is_what_the_server_heard() {
    let dir = Dir::new();
    let port = free_port();
    let mut command = program("redis-server");
    command
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .args(["--save", "", "--appendonly", "no", "--dir"])
        .arg(dir.path(""));
    let server = Server::start(&dir, "redis", port, command);
    let monitor = Monitor::of(port);
    let capture = Capture::start(&dir, &[port]);
    let said = run(&dir, "go-redis.wasm", &[])
        .arg(format!("127.0.0.1:{port}"))
        .assert(0);
    assert_eq!(
        said.out(),
        "ping: PONG\n\
         text: hello, wörld\n\
         binary: 4194304 bytes\n\
         pipeline: 100\n\
         transaction: 2 111\n\
         queue: [queue work]\n\
         subscription: news extra\n"
    );
    let wire = capture.stop();
    let mut heard = monitor.heard();
    server.stop(Signal::TERM);
    let recorded = conversations(&dir);
    assert_same(&recorded, &wire);
    let mut sent: Vec<_> = recorded
        .iter()
        .flat_map(|c| {
            let who = c.local.to_string();
            let commands = commands(&c.sent.concat()).into_iter();
            commands.map(move |command| format!("[0 {who}] {command}"))
        })
        .collect();
    sent.sort();
    heard.sort();
    assert_eq!(sent.len(), heard.len(), "commands");
    for (sent, heard) in sent.iter().zip(&heard) {
        assert!(sent == heard, "{sent:.400}\n{heard:.400}");
    }
}

/// What the server tells of all that it does, and for whom, while it does.
struct Monitor {
    lines: JoinHandle<Vec<String>>,
    port: u16,
}

/// A command that ends it.
const LAST: &str = r#""echo" "the last command""#;

impl Monitor {
    fn of(port: u16) -> Monitor {
        let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        connection.write_all(b"MONITOR\r\n").unwrap();
        let mut lines = BufReader::new(connection).lines().map(Result::unwrap);
        assert_eq!(lines.next().unwrap(), "+OK");
        // The server would drop what nobody reads.
        let lines = thread::spawn(move || {
            let lines = lines.take_while(|line| !line.ends_with(LAST));
            lines
                .map(|line| {
                    let (time, command) = line.split_once(' ').unwrap();
                    assert!(time.starts_with('+'), "{line}");
                    command.to_owned()
                })
                .collect()
        });
        Monitor { lines, port }
    }

    /// What it told so far, without the times.
    fn heard(self) -> Vec<String> {
        let mut last = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        last.write_all(LAST.as_bytes()).unwrap();
        last.write_all(b"\r\n").unwrap();
        self.lines.join().unwrap()
    }
}

/// The commands of a stream that a client sent, as the server tells them.
fn commands(mut stream: &[u8]) -> Vec<String> {
    let mut commands = Vec::new();
    while !stream.is_empty() {
        let count = number(&mut stream, b'*');
        let words = (0..count).map(|_| {
            let length = number(&mut stream, b'$');
            let (word, rest) = stream.split_at(length);
            stream = rest.strip_prefix(b"\r\n").unwrap();
            quoted(word)
        });
        let words = words.collect::<Vec<_>>().join(" ");
        commands.push(words);
    }
    commands
}

fn number(stream: &mut &[u8], kind: u8) -> usize {
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    let number = line.strip_prefix(char::from(kind)).unwrap();
    number.trim_end().parse().unwrap()
}

fn quoted(word: &[u8]) -> String {
    let escaped = word.iter().map(|&byte| match byte {
        b'\n' => "\\n".to_owned(),
        b'\r' => "\\r".to_owned(),
        b'\t' => "\\t".to_owned(),
        7 => "\\a".to_owned(),
        8 => "\\b".to_owned(),
        b'"' | b'\\' => format!("\\{}", char::from(byte)),
        b' '..=b'~' => char::from(byte).to_string(),
        _ => format!("\\x{byte:02x}"),
    });
    format!("\"{}\"", escaped.collect::<String>())
}
