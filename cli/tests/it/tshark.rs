//! Packet captures as tshark, from Debian's packages, sees them.

use std::process::Command;

use crate::recording::{conversation, record, talker};
use crate::support::Dir;

fn tshark(dir: &Dir, args: &[&str]) -> String {
    let checks = [
        "-o",
        "tcp.check_checksum:TRUE",
        "-o",
        "ip.check_checksum:TRUE",
        "-o",
        "udp.check_checksum:TRUE",
    ];
    let output = Command::new("tshark")
        .args(["-n", "-r", "f.pcapng"])
        .args(checks)
        .args(args)
        .current_dir(dir.path(""))
        .output()
        .expect("tshark is installed by scripts/setup-tests.sh");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    said
}

#[test]
fn tshark_reads_a_capture_without_a_warning() {
    let dir = Dir::new();
    record(&dir, &talker(), &conversation());
    dir.cmd(["export", "pcapng", "talker", "f.pcapng"])
        .assert(0);
    // That a connection begins and ends is worth a remark to tshark. What it warns of is a reset: there
    // are two, of the connection that was reset and of the one that was refused. It would warn of clear
    // text on a port of TLS, too, which is what was recorded.
    let only_packets = ["http", "http2", "tls"].map(|name| ["--disable-protocol", name]);
    let odd = ["-Y", "_ws.expert.severity >= \"Warning\""];
    let fields = ["-T", "fields", "-e", "_ws.expert.message"];
    let said = tshark(&dir, &[only_packets.as_flattened(), &odd, &fields].concat());
    assert_eq!(said, "Connection reset (RST)\nConnection reset (RST)\n");
    for bad in [
        "tcp.checksum.status == \"Bad\"",
        "ip.checksum.status == \"Bad\"",
        "udp.checksum.status == \"Bad\"",
        "tcp.analysis.flags",
    ] {
        assert_eq!(tshark(&dir, &["-Y", bad]), "", "{bad}");
    }
    let followed = tshark(&dir, &["-q", "-z", "follow,tcp,raw,0"]);
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    assert!(
        followed.contains(&hex(b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n")),
        "{followed}"
    );
    assert!(
        followed.contains(&hex(b"HTTP/1.1 200 OK\r\n\r\n\x1b]0;title\x07")),
        "{followed}"
    );
}

#[test]
fn tshark_knows_the_names_and_the_process() {
    let dir = Dir::new();
    record(&dir, &talker(), &conversation());
    dir.cmd(["export", "pcapng", "talker", "f.pcapng"])
        .assert(0);
    let named = Command::new("tshark")
        .args(["-N", "n", "-r", "f.pcapng", "-c", "1", "-T", "fields"])
        .args([
            "-e",
            "ip.dst_host",
            "-e",
            "frame.interface_name",
            "-e",
            "frame.interface_description",
        ])
        .current_dir(dir.path(""))
        .output()
        .unwrap();
    let named = String::from_utf8(named.stdout).unwrap();
    let mut fields = named.trim_end().split('\t');
    assert_eq!(fields.next(), Some("example.com"));
    assert_eq!(fields.next(), Some("talker"));
    assert!(fields.next().unwrap().starts_with("process "), "{named}");
}
