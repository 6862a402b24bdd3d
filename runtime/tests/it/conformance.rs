//! What WASI calls return, as files of cases: `conformance/*.strace`.
//!
//! A file is one guest, which makes the calls of its lines in turn in a directory of its own, empty
//! at first, as descriptor 3. A line is a call with all that must come of it, as a trace prints it; one
//! that ends in `...` may go on otherwise. `#` begins a comment. Each file is run recorded and blind.
//!
//! A new case is a line. `TIMECRAFT_UPDATE=1` writes what came of the calls into the files; what is
//! left to a machine then has to be cut to `...` again.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use timecraft_runtime::End;
use timecraft_runtime::wasi::Directory;
use timecraft_segment::function::{Kind, Names};
use timecraft_segment::{Record, describe};

use crate::Machine;
use crate::script::{Call, Script};

/// Where the host's results go; before it lies what lines pass in.
const RESULTS: usize = 16 << 10;
/// How much room each of them gets.
const ROOM: u64 = 4096;
/// Set to write what came of the calls into the files.
const UPDATE: &str = "TIMECRAFT_UPDATE";

#[test]
fn calls_return_what_the_files_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/conformance");
    let mut wrong = Vec::new();
    let mut files = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        files += 1;
        for (mode, lines) in [("recorded", recorded(&text)), ("blind", blind(&text))] {
            if std::env::var_os(UPDATE).is_some() {
                fs::write(&path, updated(&text, &lines)).unwrap();
            }
            wrong.extend(
                differences(&text, &lines)
                    .into_iter()
                    .map(|d| format!("{name}, {mode}: {d}")),
            );
        }
    }
    assert!(files > 5, "the files are not there");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The lines with a call, and their numbers.
fn cases(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_call = |line: &str| !line.is_empty() && !line.starts_with('#');
    (1..)
        .zip(text.lines())
        .filter(move |(_, line)| is_call(line))
}

fn differences(text: &str, lines: &[String]) -> Vec<String> {
    let mut all = Vec::new();
    let mut lines = lines.iter();
    for (number, expected) in cases(text) {
        let found = lines.next().map_or("no call", String::as_str);
        let same = match expected.strip_suffix("...") {
            Some(start) => found.starts_with(start),
            None => found == expected,
        };
        if !same {
            all.push(format!(
                "line {number}\n  expected {expected}\n  found    {found}"
            ));
        }
    }
    all
}

fn updated(text: &str, lines: &[String]) -> String {
    let mut lines = lines.iter();
    let mut out = String::new();
    for (number, line) in (1..).zip(text.lines()) {
        let found = match cases(text).any(|(n, _)| n == number) {
            true => lines.next().map_or(line, String::as_str),
            false => line,
        };
        let kept = line
            .strip_suffix("...")
            .is_some_and(|start| found.starts_with(start));
        out.push_str(if kept { line } else { found });
        out.push('\n');
    }
    out
}

fn recorded(text: &str) -> Vec<String> {
    let machine = Machine::new();
    let directory = directory(&machine);
    let source = script(text).source();
    let report = machine.run_from(&source, 0, |o| o.directories = vec![directory]);
    let report = report.unwrap();
    assert_eq!(report.end, End::Exit(0));
    let mut lines = Vec::new();
    machine.each_call(&report, |r| lines.push(describe::strace(r)));
    lines
}

fn blind(text: &str) -> Vec<String> {
    let machine = Machine::new();
    let directory = directory(&machine);
    let source = script(text).source();
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&lines);
    let report = machine.run_from(&source, 0, |o| {
        o.directories = vec![directory];
        o.recording = None;
        o.trace = Some(Box::new(move |r: &Record<'_>| {
            sink.lock().unwrap().push(describe::strace(r));
        }));
    });
    assert_eq!(report.unwrap().end, End::Exit(0));
    std::mem::take(&mut *lines.lock().unwrap())
}

fn directory(machine: &Machine) -> Directory {
    let host = machine.folder.path().join("data");
    fs::create_dir(&host).unwrap();
    Directory {
        host,
        guest: "/".to_owned(),
        read_only: false,
    }
}

/// The guest that makes the calls of a file.
fn script(text: &str) -> Script {
    let mut data = Vec::new();
    let calls = cases(text)
        .map(|(number, line)| {
            call(line, &mut data).unwrap_or_else(|| panic!("line {number} is no call: {line}"))
        })
        .collect();
    assert!(data.len() <= RESULTS);
    Script {
        pages: 1,
        data,
        prelude: Vec::new(),
        calls,
    }
}

/// The call of a line; what it passes in is put into the guest's memory.
fn call(line: &str, data: &mut Vec<u8>) -> Option<Call> {
    let (name, rest) = line.split_once('(')?;
    let mut call = Call::new(name, &vec![0; params(name)?]);
    let params = call.function.params;
    let is_length = |i: usize| params.iter().any(|p| p.kind.count() == Some(i));
    let mut text = rest;
    let mut result = RESULTS as u64;
    for (i, p) in params.iter().enumerate() {
        let is_output = matches!(
            p.kind,
            Kind::Out(_) | Kind::OutStruct(_) | Kind::OutVariable
        );
        if is_output || matches!(p.kind, Kind::OutBytes { .. }) {
            call.args[i] = result;
            result += ROOM;
        }
        if is_output || is_length(i) {
            continue;
        }
        text = text.strip_prefix(", ").unwrap_or(text);
        let args = &mut call.args;
        text = match p.kind {
            Kind::Path { count } => {
                let (bytes, rest) = quoted(text)?;
                (args[i], args[count]) = (put(data, &bytes), bytes.len() as u64);
                rest
            }
            Kind::ConstIovecs { count } | Kind::Iovecs { count } => {
                let (vectors, rest) = vectors(text.strip_prefix('[')?, data, result)?;
                result += ROOM;
                (args[i], args[count]) = (put(data, &vectors), vectors.len() as u64 / 8);
                rest
            }
            Kind::OutBytes { count } => {
                let (number, rest) = word(text);
                args[count] = number.parse().ok()?;
                rest
            }
            Kind::Named(names) => {
                let (word, rest) = word(text);
                args[i] = named(names, word)?;
                rest
            }
            _ => {
                let (number, rest) = word(text);
                let number: i128 = number.parse().ok()?;
                args[i] = number as u64;
                rest
            }
        };
    }
    text.starts_with(')').then_some(call)
}

fn params(name: &str) -> Option<usize> {
    let f = timecraft_segment::function::by_name("wasi_snapshot_preview1", name)?;
    Some(f.params.len())
}

/// Puts bytes into the guest's memory, where anything may lie.
fn put(data: &mut Vec<u8>, bytes: &[u8]) -> u64 {
    data.resize(data.len().next_multiple_of(8), 0);
    let address = data.len() as u64;
    data.extend(bytes);
    address
}

/// Everything up to the next separator.
fn word(text: &str) -> (&str, &str) {
    text.split_at(text.find([',', ')', ']', '}']).unwrap_or(text.len()))
}

fn named(names: &Names, text: &str) -> Option<u64> {
    let value = |name: &str| {
        let known = names
            .names
            .iter()
            .find(|(_, n)| *n == name)
            .map(|(v, _)| *v);
        let digits = name.strip_prefix("0x");
        let number = digits.map_or(name.parse().ok(), |d| u64::from_str_radix(d, 16).ok());
        known.or(number)
    };
    text.split('|')
        .try_fold(0, |all, name| Some(all | value(name)?))
}

/// A string in quotes, as bytes, and what follows.
fn quoted(text: &str) -> Option<(Vec<u8>, &str)> {
    let mut chars = text.strip_prefix('"')?.chars();
    let mut bytes = Vec::new();
    loop {
        match chars.next()? {
            '"' => return Some((bytes, chars.as_str())),
            '\\' => match chars.next()? {
                'x' => {
                    let (digits, rest) = chars.as_str().split_at_checked(2)?;
                    bytes.push(u8::from_str_radix(digits, 16).ok()?);
                    chars = rest.chars();
                }
                'n' => bytes.push(b'\n'),
                other => bytes.push(other as u8),
            },
            c => bytes.push(c as u8),
        }
    }
}

/// Vectors: lengths to read into from `address` on, or strings with their lengths to write.
fn vectors<'a>(text: &'a str, data: &mut Vec<u8>, mut address: u64) -> Option<(Vec<u8>, &'a str)> {
    let mut rest = text;
    let mut out = Vec::new();
    loop {
        if let Some(rest) = rest.strip_prefix(']') {
            return Some((out, rest));
        }
        rest = rest.strip_prefix(", ").unwrap_or(rest);
        let mut vector = |address: u64, length: u32| {
            out.extend((address as u32).to_le_bytes());
            out.extend(length.to_le_bytes());
        };
        if let Some(string) = rest.strip_prefix('{') {
            let (bytes, after) = quoted(string)?;
            let (length, after) = word(after.strip_prefix(", ")?);
            vector(put(data, &bytes), length.parse().ok()?);
            rest = after.strip_prefix('}')?;
        } else {
            let (length, after) = word(rest);
            let length: u32 = length.parse().ok()?;
            vector(address, length);
            address += u64::from(length);
            rest = after;
        }
    }
}
