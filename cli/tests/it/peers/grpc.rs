//! gRPC, Go's implementation in a guest against the one in C, each as client and as server.

use std::process::Stdio;

use rustix::process::Signal;

use super::part::{free_port, python};
use super::recorded::{assert_same_as_far_as_read, conversations};
use super::run;
use super::serve::serving;
use super::server::Server;
use super::wire::Capture;
use crate::support::{Dir, ended};

#[test]
fn a_grpc_client_asks_a_server_in_c() {
    let dir = Dir::new();
    let port = free_port();
    let mut command = python("grpc_server.py");
    command.arg(port.to_string());
    let server = Server::start(&dir, "grpc", port, command);
    let capture = Capture::start(&dir, &[port]);
    let said = run(&dir, "go-grpc.wasm", &[])
        .args(["check", &format!("127.0.0.1:{port}")])
        .args(["store", "index", "nothing", ""])
        .assert(0);
    assert_eq!(
        said.out(),
        "check \"store\": SERVING\n\
         check \"index\": NOT_SERVING\n\
         check \"nothing\": NotFound: no service 'nothing'\n\
         check \"\": SERVING\n\
         watch \"store\": SERVING\n"
    );
    let wire = capture.stop();
    let log = server.stop(Signal::TERM);
    let recorded = conversations(&dir);
    // The client goes while the server still acknowledges.
    assert_same_as_far_as_read(&recorded, &wire);
    assert_eq!(recorded.len(), 1);
    let peer = format!("ipv4:{}", recorded[0].local);
    assert_eq!(
        log,
        format!(
            "Check 'store' {peer}\n\
             Check 'index' {peer}\n\
             Check 'nothing' {peer}\n\
             Check '' {peer}\n\
             Watch 'store' {peer}\n"
        )
    );
}

#[test]
fn a_grpc_server_answers_a_client_in_c() {
    let dir = Dir::new();
    let port = free_port();
    let capture = Capture::start(&dir, &[port]);
    let guest = serving(&dir, "go-grpc.wasm", &["serve"], port, &["300"]);
    let client = python("grpc_client.py")
        .args([&format!("127.0.0.1:{port}"), "100"])
        .args(["store", "index", "nothing"])
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(client.status.success());
    assert_eq!(
        String::from_utf8(client.stdout).unwrap(),
        "store 0801\nindex 0802\nnothing NOT_FOUND\n"
    );
    assert_eq!(ended(guest), Some(0), "after its last call");
    let wire = capture.stop();
    let recorded = conversations(&dir);
    assert_same_as_far_as_read(&recorded, &wire);
    assert!(recorded.iter().all(|c| c.role == "server"));
}

#[test]
fn two_guests_that_talk_with_each_other_recorded_the_same() {
    let dir = Dir::new();
    let port = free_port();
    let guest = serving(&dir, "go-grpc.wasm", &["serve"], port, &["3"]);
    run(&dir, "go-grpc.wasm", &[])
        .args(["check", &format!("127.0.0.1:{port}"), "store", "index"])
        .assert(0);
    assert_eq!(ended(guest), Some(0));
    let recorded = conversations(&dir);
    let [server, client] = recorded.as_slice() else {
        panic!("{recorded:?}");
    };
    assert_eq!(
        (server.role.as_str(), client.role.as_str()),
        ("server", "client")
    );
    assert_eq!((server.local, server.peer), (client.peer, client.local));
    // Neither need have read the last that the other sent.
    let read =
        |received: &[Vec<u8>], sent: &[Vec<u8>]| sent.concat().starts_with(&received.concat());
    assert!(read(&client.received, &server.sent));
    assert!(read(&server.received, &client.sent));
    assert!(!client.received.is_empty() && !server.received.is_empty());
}
