//! A message as lines, in the form of dig and so of zone files.

use std::fmt::{self, Display, Formatter};

use super::message::{Header, Message, Record, Section};
use super::numbers::{kind, option_name};

impl Display for Message {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let header = self.header;
        writeln!(
            f,
            ";; opcode: {}, status: {}, id: {}",
            header.opcode_name(),
            self.rcode_name(),
            header.id
        )?;
        let [questions, answers, authorities, additionals] = header.counts;
        writeln!(
            f,
            ";; flags:{}; QUERY: {questions}, ANSWER: {answers}, AUTHORITY: {authorities}, \
             ADDITIONAL: {additionals}",
            Flags(header)
        )?;
        if let Some(edns) = self.edns {
            let wants = if edns.dnssec_ok { " do" } else { "" };
            let (version, size) = (edns.version, edns.udp_size);
            writeln!(f, ";; EDNS: version: {version}, flags:{wants}; udp: {size}")?;
        }
        for (code, value) in self.options() {
            let gap = if value.is_empty() { "" } else { " " };
            writeln!(f, ";; {}:{gap}{value}", option_name(code))?;
        }
        for section in [
            Section::Question,
            Section::Answer,
            Section::Authority,
            Section::Additional,
        ] {
            // What EDNS says stands above.
            let shown = |record: &Record<'_>| record.kind != kind::OPT || self.edns.is_none();
            let mut records = self.section(section).filter(shown).peekable();
            if records.peek().is_some() {
                writeln!(f, ";; {section}")?;
            }
            for record in records {
                match section {
                    Section::Question => writeln!(f, ";{record}")?,
                    _ => writeln!(f, "{record}")?,
                }
            }
        }
        Ok(())
    }
}

/// The record as a line of a zone file; a question, without data, as dig writes one.
impl Display for Record<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let dot = if self.name == "." { "" } else { "." };
        write!(f, "{}{dot}", self.name)?;
        // Only a question has none: where there are no bytes, that is written.
        if !self.data.is_empty() {
            write!(f, " {}", self.ttl)?;
        }
        write!(f, " {} {}", self.class_name(), self.type_name())?;
        match self.data {
            "" => Ok(()),
            data => write!(f, " {data}"),
        }
    }
}

impl Display for Section {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Section::Question => "QUESTION",
            Section::Answer => "ANSWER",
            Section::Authority => "AUTHORITY",
            Section::Additional => "ADDITIONAL",
        })
    }
}

struct Flags(Header);

impl Display for Flags {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let flags = [
            (self.0.response(), " qr"),
            (self.0.authoritative(), " aa"),
            (self.0.truncated(), " tc"),
            (self.0.recursion_desired(), " rd"),
            (self.0.recursion_available(), " ra"),
            (self.0.reserved(), " z"),
            (self.0.authentic_data(), " ad"),
            (self.0.checking_disabled(), " cd"),
        ];
        let mut set = flags.into_iter().filter(|(set, _)| *set);
        set.try_for_each(|(_, name)| f.write_str(name))
    }
}
