//! A guest made of calls on sockets, one after the other.

use std::fmt::Write as _;

/// Calls of a guest with constant arguments. Each but the last has to succeed; the last one's errno is
/// the guest's exit status.
#[derive(Default)]
pub struct Attempt {
    data: String,
    calls: String,
    /// Where the next constant goes.
    at: usize,
}

impl Attempt {
    /// A socket of a family (1, 2: IPv4, IPv6; 3: Unix) and a type (1: datagrams, 2: a stream). It has
    /// descriptor 3 and those from there on, since the files of the resolver are closed first.
    pub fn socket(mut self, family: u8, kind: u8) -> Attempt {
        self.at = self.at.max(4096);
        self.call(
            "sock_open",
            &format!("(i32.const {family}) (i32.const {kind}) (i32.const 16)"),
        )
    }

    pub fn connect(mut self, fd: u8, address: &str) -> Attempt {
        let arguments = self.address(address);
        self.call("sock_connect", &format!("(i32.const {fd}) {arguments}"))
    }

    pub fn bind(mut self, fd: u8, address: &str) -> Attempt {
        let arguments = self.address(address);
        self.call("sock_bind", &format!("(i32.const {fd}) {arguments}"))
    }

    pub fn listen(self, fd: u8) -> Attempt {
        self.call("sock_listen", &format!("(i32.const {fd}) (i32.const 1)"))
    }

    pub fn send_to(mut self, fd: u8, address: &str, bytes: &[u8]) -> Attempt {
        let data = self.constant(bytes);
        let vector = self.constant(&[data, bytes.len() as u32].map(u32::to_le_bytes).concat());
        let address = self.address(address);
        let rest = "(i32.const 0) (i32.const 16)";
        let arguments =
            format!("(i32.const {fd}) (i32.const {vector}) (i32.const 1) {address} {rest}");
        self.call("sock_send_to", &arguments)
    }

    /// Sends to whom the socket is connected.
    pub fn send(mut self, fd: u8, bytes: &[u8]) -> Attempt {
        let data = self.constant(bytes);
        let vector = self.constant(&[data, bytes.len() as u32].map(u32::to_le_bytes).concat());
        let rest = "(i32.const 1) (i32.const 0) (i32.const 16)";
        self.call(
            "sock_send",
            &format!("(i32.const {fd}) (i32.const {vector}) {rest}"),
        )
    }

    /// Receives a datagram that nobody looks at.
    pub fn receive(mut self, fd: u8) -> Attempt {
        let vector = self.constant(&[32u32, 512].map(u32::to_le_bytes).concat());
        let rest = "(i32.const 0) (i32.const 16) (i32.const 20)";
        let arguments = format!("(i32.const {fd}) (i32.const {vector}) (i32.const 1) {rest}");
        self.call("sock_recv", &arguments)
    }

    pub fn look_up(mut self, name: &str) -> Attempt {
        let node = self.constant(name.as_bytes());
        let arguments = format!(
            "(i32.const {node}) (i32.const {}) (i32.const 0) (i32.const 0) (i32.const 0) \
             (i32.const 16) (i32.const 1) (i32.const 20)",
            name.len()
        );
        self.call("sock_getaddrinfo", &arguments)
    }

    /// A pointer to a pointer to the address, and the port.
    fn address(&mut self, text: &str) -> String {
        let (bytes, port) = match text.parse() {
            Ok(std::net::SocketAddr::V4(a)) => (a.ip().octets().to_vec(), a.port()),
            Ok(std::net::SocketAddr::V6(a)) => (a.ip().octets().to_vec(), a.port()),
            Err(_) => {
                let mut unix = [&[3, 0], text.as_bytes()].concat();
                unix.resize(128, 0);
                (unix, 0)
            }
        };
        let lies = self.constant(&bytes);
        let buffer = self.constant(&[lies, bytes.len() as u32].map(u32::to_le_bytes).concat());
        format!("(i32.const {buffer}) (i32.const {port})")
    }

    fn constant(&mut self, bytes: &[u8]) -> u32 {
        let at = self.at;
        let mut text = String::new();
        for byte in bytes {
            write!(text, "\\{byte:02x}").unwrap();
        }
        writeln!(self.data, "(data (i32.const {at}) \"{text}\")").unwrap();
        self.at = (at + bytes.len()).next_multiple_of(8);
        at as u32
    }

    fn call(mut self, function: &str, arguments: &str) -> Attempt {
        writeln!(self.calls, "(call $ok (local.get $errno))").unwrap();
        writeln!(
            self.calls,
            "(local.set $errno (call ${function} {arguments}))"
        )
        .unwrap();
        self
    }

    pub fn module(&self) -> String {
        let functions = [
            ("sock_open", 3),
            ("sock_bind", 3),
            ("sock_connect", 3),
            ("sock_listen", 2),
            ("sock_send_to", 7),
            ("sock_send", 5),
            ("sock_recv", 6),
            ("sock_getaddrinfo", 8),
        ];
        let mut imports = String::new();
        for (name, params) in functions {
            let params = "i32 ".repeat(params);
            let import = format!("(import \"wasi_snapshot_preview1\" \"{name}\"");
            writeln!(
                imports,
                "{import} (func ${name} (param {params}) (result i32)))"
            )
            .unwrap();
        }
        format!(
            "(module
             {imports}
             (import \"wasi_snapshot_preview1\" \"proc_exit\" (func $exit (param i32)))
             (import \"wasi_snapshot_preview1\" \"fd_close\" (func $close (param i32) (result i32)))
             (memory (export \"memory\") 1)
             {}
             (func $ok (param i32) (if (local.get 0) (then (call $exit (i32.const 99)))))
             (func (export \"_start\") (local $errno i32)
               (drop (call $close (i32.const 3)))
               {}
               (call $exit (local.get $errno))))",
            self.data, self.calls
        )
    }
}

pub fn tcp(address: &str) -> Attempt {
    let family = if address.starts_with('[') { 2 } else { 1 };
    Attempt::default().socket(family, 2).connect(3, address)
}

pub fn udp(address: &str) -> Attempt {
    let family = if address.starts_with('[') { 2 } else { 1 };
    Attempt::default()
        .socket(family, 1)
        .send_to(3, address, b"x")
}
