//! Go's HTTP server against clients in C: curl, wrk and h2load.

use std::ffi::OsStr;
use std::io::BufReader;
use std::process::Child;

use super::part::{free_port, program};
use super::recorded::{assert_same, assert_same_as_far_as_read, conversations};
use super::run;
use super::wire::Capture;
use crate::support::{Dir, ended, wait_for};

/// Runs a server guest, which gets its address after some arguments and before others, until it
/// listens. The address is the only one that it may listen on.
pub fn serving(dir: &Dir, guest: &str, before: &[&str], port: u16, after: &[&str]) -> Child {
    let address = format!("127.0.0.1:{port}");
    let mut child = run(dir, guest, &["--listen", &address])
        .args(before)
        .arg(&address)
        .args(after)
        .spawn();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    wait_for(&mut out, &format!("{address}\n"));
    child
}

/// Asks the server to end, which it does once nobody talks with it.
fn stop(guest: Child, port: u16) {
    let bye = curl(&[&format!("http://127.0.0.1:{port}/stop")]);
    assert_eq!(bye, "bye\n");
    assert_eq!(ended(guest), Some(0));
}

fn curl(args: &[impl AsRef<OsStr>]) -> String {
    let output = program("curl")
        .args(["-sS", "-q"])
        .args(args)
        .output()
        .unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaints}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn what_curl_moved_is_what_the_server_recorded() {
    let dir = Dir::new();
    let port = free_port();
    let capture = Capture::start(&dir, &[port]);
    let guest = serving(&dir, "go-serve.wasm", &[], port, &[]);
    let url = |path: &str| format!("http://127.0.0.1:{port}{path}");
    let body = dir.create("body", "what is echoed\n".repeat(100_000));
    // What curl counts of a transfer, headers and all.
    let counts = "%{local_port} %{size_request} %{size_upload} %{size_header} %{size_download}\n";
    let mut args = vec!["--write-out".to_owned(), counts.to_owned()];
    for path in ["/", "/large?bytes=5000000", "/slow?ms=20"] {
        args.extend([url(path), "--output".to_owned(), "/dev/null".to_owned()]);
    }
    let said = curl(&args);
    assert_eq!(curl(&[&url("/chunked?chunks=2")]), "chunk 0\nchunk 1\n");
    let echo = curl(&[
        "--data-binary",
        &format!("@{}", body.display()),
        &url("/echo"),
    ]);
    assert!(echo == dir.read("body"));
    stop(guest, port);
    let wire = capture.stop();
    let recorded = conversations(&dir);
    assert_same(&recorded, &wire);
    assert_eq!(recorded.len(), 4, "one for each time curl ran");

    let mut totals = (0, 0);
    let mut ports = Vec::new();
    for line in said.lines() {
        let numbers: Vec<usize> = line.split(' ').map(|n| n.parse().unwrap()).collect();
        ports.push(numbers[0]);
        totals.0 += numbers[1] + numbers[2];
        totals.1 += numbers[3] + numbers[4];
    }
    let first = &recorded[0];
    assert_eq!(ports, [usize::from(first.peer.port()); 3], "kept alive");
    let moved = (first.received.concat().len(), first.sent.concat().len());
    assert_eq!(moved, totals);
}

#[test]
fn a_server_under_the_load_of_wrk_is_recorded_as_it_was_captured() {
    let dir = Dir::new();
    let port = free_port();
    let capture = Capture::start(&dir, &[port]);
    let guest = serving(&dir, "go-serve.wasm", &[], port, &[]);
    // wrk rounds what it prints.
    let script = "done = function(summary, latency, requests)
        local e = summary.errors
        io.write(string.format('done %d %d %d\\n', summary.requests, summary.bytes,
            e.connect + e.read + e.write + e.status + e.timeout))
    end";
    let output = program("wrk")
        .args(["-t", "1", "-c", "32", "-d", "2s", "--timeout", "30s", "-s"])
        .arg(dir.create("done.lua", script))
        .arg(format!("http://127.0.0.1:{port}/"))
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let done = said.lines().find_map(|l| l.strip_prefix("done ")).unwrap();
    let numbers: Vec<usize> = done.split(' ').map(|n| n.parse().unwrap()).collect();
    let &[requests, bytes, errors] = numbers.as_slice() else {
        panic!("{said}");
    };
    assert_eq!(errors, 0, "{said}");
    assert!(requests > 32, "{said}");
    stop(guest, port);
    let wire = capture.stop();
    let recorded = conversations(&dir);
    assert_same_as_far_as_read(&recorded, &wire);
    // wrk connects once more, to see whether it can.
    assert_eq!(recorded.len(), 1 + 32 + 1, "the last is that of curl");
    let (load, curl) = recorded.split_at(1 + 32);
    assert!(curl[0].sent.concat().ends_with(b"bye\n"));
    let sent: usize = load.iter().map(|c| c.sent.concat().len()).sum();
    let answers = load
        .iter()
        .map(|c| answers(&c.sent.concat()))
        .sum::<usize>();
    // When its time is over, wrk leaves what is under way, at most one request a connection.
    assert!(
        (requests..=requests + 32).contains(&answers),
        "{answers}, {said}"
    );
    assert!(
        (bytes..=bytes + 32 * (sent / answers + 1)).contains(&sent),
        "{sent}, {said}"
    );
}

#[test]
fn streams_of_http2_under_the_load_of_h2load_are_recorded_as_they_were_captured() {
    let dir = Dir::new();
    let port = free_port();
    let capture = Capture::start(&dir, &[port]);
    let guest = serving(&dir, "go-serve.wasm", &[], port, &[]);
    let output = program("h2load")
        .args(["-n", "2000", "-c", "4", "-m", "10"])
        .arg(format!("http://127.0.0.1:{port}/"))
        .arg(format!("http://127.0.0.1:{port}/large?bytes=20000"))
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("2000 succeeded, 0 failed"), "{said}");
    // Bytes of all frames, of headers, and of bodies: `traffic: 19.1MB (20012345) total, ...`
    let traffic = said.lines().find(|l| l.starts_with("traffic: ")).unwrap();
    let total = traffic.split(['(', ')']).nth(1).unwrap();
    stop(guest, port);
    let wire = capture.stop();
    let recorded = conversations(&dir);
    assert_same_as_far_as_read(&recorded, &wire);
    assert_eq!(recorded.len(), 4 + 1);
    let received: usize = wire.streams[..4].iter().map(|s| s.down.len()).sum();
    // It goes without reading the farewell: GOAWAY, 17 bytes a connection (RFC 9113, section 6.8).
    let total: usize = total.parse().unwrap();
    assert!(
        (total..=total + 4 * 17).contains(&received),
        "{received}, {said}"
    );
}

/// How many answers are in a stream of HTTP/1.1 whose bodies are short text.
fn answers(stream: &[u8]) -> usize {
    let first = b"HTTP/1.1 200 OK\r\n";
    stream.windows(first.len()).filter(|w| w == first).count()
}
