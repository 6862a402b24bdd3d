//! The blocks of a pcapng file: draft-ietf-opsawg-pcapng, sections 3 and 4.
//!
//! One section with one interface, whose packets begin with their IP header and whose times are
//! nanoseconds. This module must never look into a packet.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::IpAddr;

use timecraft_segment::ProcessStart;

const SECTION_HEADER: u32 = 0x0A0D_0D0A;
const INTERFACE_DESCRIPTION: u32 = 1;
const NAME_RESOLUTION: u32 = 4;
const ENHANCED_PACKET: u32 = 6;

const BYTE_ORDER_MAGIC: u32 = 0x1A2B_3C4D;
/// `LINKTYPE_RAW`: IPv4 or IPv6, as the first four bits say.
const LINKTYPE_RAW: u16 = 101;

const OPT_COMMENT: u16 = 1;
const SHB_USERAPPL: u16 = 4;
const IF_NAME: u16 = 2;
const IF_DESCRIPTION: u16 = 3;
const IF_TSRESOL: u16 = 9;
/// Ten to the power of minus nine seconds.
const NANOSECONDS: u8 = 9;
const NRB_RECORD_IPV4: u16 = 1;
const NRB_RECORD_IPV6: u16 = 2;

/// The most bytes of an option's text: readers refuse options of 64 KiB, and nobody reads that much.
const MAX_TEXT: usize = 4096;

/// A file being written.
pub struct Blocks<W>(W);

impl<W: Write> Blocks<W> {
    /// The section and its interface, which is the process.
    ///
    /// # Errors
    /// Those of the write.
    pub fn begin(out: W, start: &ProcessStart) -> io::Result<Blocks<W>> {
        let mut blocks = Blocks(out);
        let mut body = Vec::new();
        body.extend(BYTE_ORDER_MAGIC.to_le_bytes());
        body.extend(1_u16.to_le_bytes());
        body.extend(0_u16.to_le_bytes());
        // The section's length is not known before its end.
        body.extend((-1_i64).to_le_bytes());
        text(
            &mut body,
            OPT_COMMENT,
            "synthesized from the calls of a WebAssembly guest: handshakes, acknowledgements and the \
             cut into segments are made up",
        );
        let version = concat!("timecraft ", env!("CARGO_PKG_VERSION"));
        text(&mut body, SHB_USERAPPL, version);
        end_of_options(&mut body);
        blocks.block(SECTION_HEADER, &body)?;

        let mut body = Vec::new();
        body.extend(LINKTYPE_RAW.to_le_bytes());
        body.extend([0; 2]);
        // No limit on what is kept of a packet.
        body.extend([0; 4]);
        text(
            &mut body,
            IF_NAME,
            start.name.as_ref().unwrap_or(&start.module_name),
        );
        text(
            &mut body,
            IF_DESCRIPTION,
            &format!("process {}", start.process_id),
        );
        option(&mut body, IF_TSRESOL, &[NANOSECONDS]);
        for comment in comments(start) {
            text(&mut body, OPT_COMMENT, &comment);
        }
        end_of_options(&mut body);
        blocks.block(INTERFACE_DESCRIPTION, &body)?;
        Ok(blocks)
    }

    /// A packet, whole, with its time in nanoseconds since 1970.
    ///
    /// # Errors
    /// Those of the write.
    pub fn packet(&mut self, time_ns: u64, packet: &[u8]) -> io::Result<()> {
        let length = (packet.len() as u32).to_le_bytes();
        let mut body = Vec::with_capacity(24 + packet.len());
        body.extend(0_u32.to_le_bytes());
        body.extend(((time_ns >> 32) as u32).to_le_bytes());
        body.extend((time_ns as u32).to_le_bytes());
        body.extend(length);
        body.extend(length);
        padded(&mut body, packet);
        self.block(ENHANCED_PACKET, &body)
    }

    /// Names of addresses. A name holds no zero.
    ///
    /// # Errors
    /// Those of the write.
    pub fn names(&mut self, names: &BTreeMap<IpAddr, &str>) -> io::Result<()> {
        let mut body = Vec::new();
        for (address, name) in names {
            let (kind, mut value) = match address {
                IpAddr::V4(ip) => (NRB_RECORD_IPV4, ip.octets().to_vec()),
                IpAddr::V6(ip) => (NRB_RECORD_IPV6, ip.octets().to_vec()),
            };
            value.extend(clipped(name).as_bytes());
            value.push(0);
            option(&mut body, kind, &value);
        }
        // Records end as options do, and there are none of these.
        end_of_options(&mut body);
        self.block(NAME_RESOLUTION, &body)
    }

    /// # Errors
    /// Those of the write.
    pub fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }

    /// A block, whose body is whole words.
    fn block(&mut self, kind: u32, body: &[u8]) -> io::Result<()> {
        let length = ((body.len() + 12) as u32).to_le_bytes();
        self.0.write_all(&kind.to_le_bytes())?;
        self.0.write_all(&length)?;
        self.0.write_all(body)?;
        self.0.write_all(&length)
    }
}

/// What is said of the process.
fn comments(start: &ProcessStart) -> Vec<String> {
    let mut all = vec![
        format!("module: {} {}", start.module_name, start.module_id),
        format!("arguments: {}", start.args.join(" ")),
        format!("host: {} (user {})", start.host, start.user),
    ];
    if !start.grants.is_empty() {
        all.push(format!("grants: {}", start.grants.join(" ")));
    }
    let labels = start.labels.iter();
    all.extend(labels.map(|(key, value)| format!("label: {key}={value}")));
    all
}

fn text(body: &mut Vec<u8>, code: u16, text: &str) {
    option(body, code, clipped(text).as_bytes());
}

fn clipped(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_TEXT)]
}

fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    body.extend(code.to_le_bytes());
    body.extend((value.len() as u16).to_le_bytes());
    padded(body, value);
}

fn end_of_options(body: &mut Vec<u8>) {
    body.extend([0; 4]);
}

fn padded(body: &mut Vec<u8>, bytes: &[u8]) {
    body.extend(bytes);
    body.resize(body.len().next_multiple_of(4), 0);
}
