//! What a record means, from the host-function table: for people as strace prints calls, for SQL as
//! JSON and columns.

use std::fmt::Write as _;

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use crate::denial::Denial;
use crate::function::{Field, Function, Kind, Names, Param, Returns, Scalar, Structure};
use crate::record::{Outcome, Record};
use crate::socket::{self, Address};
use crate::{text, wasi, wasmedge};

/// How many bytes of a string strace text shows.
const SHOWN_BYTES: usize = 64;
/// How many elements of an array a description shows.
const SHOWN_ELEMENTS: usize = 16;

/// The `errno` that the call returned; none where it did not return one.
#[must_use]
pub fn errno(record: &Record<'_>) -> Option<u64> {
    let row = record.row()?;
    (row.returns == Returns::Errno && record.outcome == Outcome::Returned).then_some(record.result)
}

/// The name of the `errno`, where it is an error.
#[must_use]
pub fn error_name(record: &Record<'_>) -> Option<&'static str> {
    errno(record).filter(|&n| n != 0).and_then(wasi::errno_name)
}

/// The first descriptor among the arguments.
#[must_use]
pub fn fd(record: &Record<'_>) -> Option<u32> {
    let i = record.row()?.position(|k| k == Kind::Fd)?;
    record.args.get(i).map(|&fd| fd as u32)
}

/// The first path among the arguments, as the guest passed it.
#[must_use]
pub fn path<'a>(record: &Record<'a>) -> Option<&'a [u8]> {
    paths(record).next()
}

/// The second path among the arguments: of a rename, a link, a symbolic link.
#[must_use]
pub fn path2<'a>(record: &Record<'a>) -> Option<&'a [u8]> {
    paths(record).nth(1)
}

fn paths<'a>(record: &Record<'a>) -> impl Iterator<Item = &'a [u8]> {
    paths_at(record).map(|(_, path)| path)
}

/// The paths among the arguments, each with the descriptor of the directory that it is relative to:
/// none for the text of a symbolic link.
pub fn paths_at<'a>(record: &Record<'a>) -> impl Iterator<Item = (Option<u32>, &'a [u8])> {
    let params = record.row().map_or(&[][..], |row| row.params);
    let args = record.args;
    let inputs = Inputs::of(record);
    let parts = params.iter().zip(inputs.parts).enumerate();
    // A directory stands before its path.
    parts
        .scan(None, move |directory, (i, (param, part))| {
            if param.kind == Kind::Fd {
                *directory = args.get(i).map(|&fd| fd as u32);
            }
            let is_path = matches!(param.kind, Kind::Path { .. });
            Some(is_path.then_some((*directory, part.bytes)))
        })
        .flatten()
}

/// The argument of that name as text, where its values have names: flags joined with `|`.
#[must_use]
pub fn named_argument(record: &Record<'_>, name: &str) -> Option<String> {
    let params = record.row()?.params;
    let (i, names) = params.iter().enumerate().find_map(|(i, p)| match p.kind {
        Kind::Named(names) if p.name == name => Some((i, names)),
        _ => None,
    })?;
    record.args.get(i).map(|&arg| name_value(names, arg))
}

/// How many bytes the call moved between the guest and a descriptor.
#[must_use]
pub fn bytes(record: &Record<'_>) -> Option<u64> {
    let row = record.row()?;
    if record.result != 0 {
        return None;
    }
    record.out(row.bytes?)
}

/// The bytes that a call with [`Kind::ConstIovecs`] passed in, as far as the host took them.
#[must_use]
pub fn sent<'a>(record: &Record<'a>) -> Option<&'a [u8]> {
    let row = record.row()?;
    let at = row.position(|k| matches!(k, Kind::ConstIovecs { .. }))?;
    Inputs::of(record).parts.get(at).map(|part| part.bytes)
}

/// The bytes that a call with [`Kind::Iovecs`] put into the guest's memory, in pieces.
pub fn received<'a>(record: &Record<'a>) -> impl Iterator<Item = &'a [u8]> {
    let row = record.row();
    let has = |wanted: fn(Kind) -> bool| row.is_some_and(|row| row.position(wanted).is_some());
    let reads = has(|k| matches!(k, Kind::Iovecs { .. }));
    // The address is written behind them; what was received was counted.
    let mut left = match has(|k| k == Kind::OutAddress) {
        true => bytes(record).unwrap_or(0) as usize,
        false => usize::MAX,
    };
    ranges(record)
        .filter(move |_| reads)
        .map_while(move |piece| {
            let now = piece.get(..piece.len().min(left))?;
            left -= now.len();
            (!now.is_empty()).then_some(now)
        })
}

/// The decoded arguments and outputs, as a JSON object in the order of the parameters.
#[must_use]
pub fn args_json(record: &Record<'_>) -> String {
    let params = record.row().map_or(&[][..], |row| row.params);
    let inputs = Inputs::of(record);
    let mut members = Vec::with_capacity(params.len());
    for (i, param) in params.iter().enumerate() {
        let arg = record.args.get(i).copied().unwrap_or(0);
        let part = inputs.parts.get(i).copied().unwrap_or_default();
        if let Some(row) = record.row().filter(|row| !is_length(row, i))
            && let Some(value) = json_value(record, row, param, i, arg, part)
        {
            members.push((param.name, value));
        }
    }
    // Strings and numbers under text keys are always JSON.
    serde_json::to_string(&Json::Object(members)).unwrap_or_default()
}

/// JSON whose objects keep the order of the specification.
enum Json {
    Value(Value),
    Object(Vec<(&'static str, Json)>),
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Json::Value(value) => value.serialize(serializer),
            Json::Object(members) => serializer.collect_map(members.iter().map(|(k, v)| (k, v))),
        }
    }
}

fn json_value(
    record: &Record<'_>,
    row: &Function,
    param: &Param,
    i: usize,
    arg: u64,
    part: Part<'_>,
) -> Option<Json> {
    Some(Json::Value(match param.kind {
        Kind::Fd | Kind::Size | Kind::Number | Kind::FileSize | Kind::Timestamp => json!(arg),
        Kind::FileDelta => json!(arg as i64),
        Kind::Named(names) => json!(name_value(names, arg)),
        Kind::Path { .. } | Kind::Text { .. } | Kind::InBytes { .. } => {
            json!(text::lossless(part.bytes))
        }
        Kind::InStruct(structure) => return Some(structure_json(structure, part.bytes)),
        Kind::Address => json!(socket::passed(record)?.to_string()),
        Kind::OutAddress => json!(socket::returned(record)?.to_string()),
        Kind::ConstIovecs { .. } | Kind::Iovecs { .. } => json!(iovec_lengths(part.array)),
        Kind::Subscriptions { .. } => Value::Array(
            subscriptions(part.array)
                .take(SHOWN_ELEMENTS)
                .map(sub_json)
                .collect(),
        ),
        Kind::OutBytes { count } => json!(record.args.get(count).copied().unwrap_or(0)),
        Kind::OutVariable => return None,
        Kind::OutStruct(structure) => {
            let written = written_at(record, arg, structure.size)?;
            return Some(structure_json(structure, written));
        }
        Kind::Out(scalar) => {
            let value = record.out(row.outs.iter().position(|&o| o == i)?)?;
            match scalar {
                Scalar::Flags16(names) | Scalar::Named32(names) => json!(name_value(names, value)),
                _ => json!(value),
            }
        }
    }))
}

fn structure_json(structure: &'static Structure, bytes: &[u8]) -> Json {
    Json::Object(
        fields(structure, bytes)
            .map(|(f, n)| (f.name, Json::Value(field_json(f, n))))
            .collect(),
    )
}

/// The call as strace would print it, on one line, with the guest's text escaped.
#[must_use]
pub fn strace(record: &Record<'_>) -> String {
    let mut line = String::new();
    let Some(row) = record.row() else {
        // Writing to a string cannot fail, here and below.
        let _ = write!(line, "{}", event_text(record));
        return line;
    };
    line.push_str(row.name);
    line.push('(');
    let inputs = Inputs::of(record);
    let mut first = true;
    for (i, param) in row.params.iter().enumerate() {
        // Outputs stand behind the result, lengths with what they are the length of.
        if is_length(row, i)
            || matches!(
                param.kind,
                Kind::Out(_) | Kind::OutStruct(_) | Kind::OutVariable | Kind::OutAddress
            )
        {
            continue;
        }
        if !std::mem::take(&mut first) {
            line.push_str(", ");
        }
        let arg = record.args.get(i).copied().unwrap_or(0);
        strace_arg(
            &mut line,
            record,
            param,
            arg,
            inputs.parts.get(i).copied().unwrap_or_default(),
        );
    }
    line.push(')');
    match record.outcome {
        Outcome::Returned if row.returns == Returns::Nothing => {}
        Outcome::Returned => {
            let _ = write!(line, " = {}", record.result);
            if let Some(name) = error_name(record) {
                let _ = write!(line, " {name}");
            }
        }
        Outcome::InFlight => line.push_str(" ..."),
        other => {
            let _ = write!(line, " ({})", other.name());
        }
    }
    let outputs = outputs(record, row);
    if !outputs.is_empty() {
        let _ = write!(line, " {{{}}}", outputs.join(", "));
    }
    if let Some(note) = record.note {
        line.push_str(" # ");
        // Whoever made it quoted in it what a guest chose.
        for c in Denial::matter(note).chars() {
            match c {
                '"' | '\'' | '\\' => line.push(c),
                _ => line.extend(c.escape_debug()),
            }
        }
    }
    line
}

fn strace_arg(line: &mut String, record: &Record<'_>, param: &Param, arg: u64, part: Part<'_>) {
    let _ = match param.kind {
        Kind::FileDelta => write!(line, "{}", arg as i64),
        Kind::Named(names) => write!(line, "{}", name_value(names, arg)),
        Kind::Path { .. } | Kind::Text { .. } | Kind::InBytes { .. } => {
            write!(line, "{}", text::quoted(part.bytes, SHOWN_BYTES))
        }
        Kind::InStruct(structure) => {
            let fields: Vec<String> = fields(structure, part.bytes).map(field_text).collect();
            write!(line, "{{{}}}", fields.join(", "))
        }
        Kind::Address => match socket::address(part.bytes, 0) {
            Some(Address::Ip(address)) => write!(line, "{}", address.ip()),
            Some(unix) => write!(line, "{unix}"),
            None => write!(line, "{}", text::quoted(part.bytes, SHOWN_BYTES)),
        },
        Kind::ConstIovecs { .. } => {
            let mut rest = part.bytes;
            let shown = iovec_lengths(part.array)
                .into_iter()
                .take(SHOWN_ELEMENTS)
                .map(|n| {
                    let (now, later) = rest.split_at(rest.len().min(n as usize));
                    rest = later;
                    format!("{{{}, {n}}}", text::quoted(now, SHOWN_BYTES))
                });
            let shown: Vec<String> = shown.collect();
            write!(line, "[{}]", shown.join(", "))
        }
        Kind::Iovecs { .. } => {
            let lengths: Vec<String> = iovec_lengths(part.array)
                .iter()
                .take(SHOWN_ELEMENTS)
                .map(u64::to_string)
                .collect();
            write!(line, "[{}]", lengths.join(", "))
        }
        Kind::Subscriptions { .. } => {
            let shown: Vec<String> = subscriptions(part.array)
                .take(SHOWN_ELEMENTS)
                .map(|s| sub_text(&s))
                .collect();
            write!(line, "[{}]", shown.join(", "))
        }
        Kind::OutBytes { count } => {
            write!(line, "{}", record.args.get(count).copied().unwrap_or(0))
        }
        _ => write!(line, "{arg}"),
    };
}

/// What the host wrote, as `name: value`.
fn outputs(record: &Record<'_>, row: &Function) -> Vec<String> {
    let mut all = Vec::new();
    for (i, param) in row.params.iter().enumerate() {
        match param.kind {
            Kind::Out(scalar) => {
                let value = row
                    .outs
                    .iter()
                    .position(|&o| o == i)
                    .and_then(|o| record.out(o));
                all.extend(value.map(|value| match scalar {
                    Scalar::Flags16(names) | Scalar::Named32(names) => {
                        format!("{}: {}", param.name, name_value(names, value))
                    }
                    _ => format!("{}: {value}", param.name),
                }));
            }
            Kind::OutStruct(structure) => {
                let arg = record.args.get(i).copied().unwrap_or(0);
                if let Some(written) = written_at(record, arg, structure.size) {
                    all.extend(fields(structure, written).map(field_text));
                }
            }
            Kind::OutAddress => {
                all.extend(socket::returned(record).map(|a| format!("{}: {a}", param.name)));
            }
            Kind::OutVariable if row.name == "sock_getaddrinfo" => {
                all.extend(socket::resolved(record).iter().map(ToString::to_string));
            }
            Kind::Iovecs { .. } => {
                let read: Vec<u8> = received(record)
                    .flatten()
                    .copied()
                    .take(SHOWN_BYTES + 1)
                    .collect();
                if !read.is_empty() {
                    all.push(format!("read: {}", text::quoted(&read, SHOWN_BYTES)));
                }
            }
            _ => {}
        }
    }
    all
}

fn ranges<'a>(record: &Record<'a>) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = record.range_bytes;
    record.ranges.iter().map(move |r| {
        let (now, later) = rest.split_at(rest.len().min(r.length as usize));
        rest = later;
        now
    })
}

/// What the host wrote to that address, in order, beside numbers behind output pointers.
pub(crate) fn writes_at<'a>(record: &Record<'a>, address: u64) -> impl Iterator<Item = &'a [u8]> {
    let at = record.ranges.iter().map(move |r| r.address == address);
    ranges(record)
        .zip(at)
        .filter_map(|(bytes, is)| is.then_some(bytes))
}

/// The bytes that the host wrote at exactly that address, if it wrote so many there.
fn written_at<'a>(record: &Record<'a>, address: u64, size: usize) -> Option<&'a [u8]> {
    let at = record
        .ranges
        .iter()
        .position(|r| r.address == address && r.length as usize == size)?;
    ranges(record).nth(at)
}

fn fields<'a>(
    structure: &'static Structure,
    bytes: &'a [u8],
) -> impl Iterator<Item = (&'static Field, u64)> + use<'a> {
    structure.fields.iter().filter_map(|f| {
        let mut number = [0; 8];
        number[..f.size].copy_from_slice(bytes.get(f.offset..f.offset + f.size)?);
        Some((f, u64::from_le_bytes(number)))
    })
}

fn field_text((field, number): (&Field, u64)) -> String {
    match field.names {
        Some(names) => format!("{}: {}", field.name, name_value(names, number)),
        None => format!("{}: {number}", field.name),
    }
}

fn field_json(field: &Field, number: u64) -> Value {
    match field.names {
        Some(names) => json!(name_value(names, number)),
        None => json!(number),
    }
}

/// The name of a value, names of flags joined with `|`, and what has no name in hexadecimal.
fn name_value(names: &Names, value: u64) -> String {
    if !names.flags {
        let name = names
            .names
            .iter()
            .find(|(n, _)| *n == value)
            .map(|(_, s)| (*s).to_owned());
        return name.unwrap_or_else(|| format!("{value:#x}"));
    }
    if value == 0 {
        return "0".to_owned();
    }
    let mut rest = value;
    let mut parts = Vec::new();
    for (bit, name) in names.names {
        if rest & bit != 0 {
            rest &= !bit;
            parts.push((*name).to_owned());
        }
    }
    if rest != 0 {
        parts.push(format!("{rest:#x}"));
    }
    parts.join("|")
}

/// Whether parameter `i` is the length of another.
fn is_length(row: &Function, i: usize) -> bool {
    row.params.iter().any(|p| p.kind.count() == Some(i))
}

/// A parameter's part of the input.
#[derive(Clone, Copy, Debug, Default)]
struct Part<'a> {
    /// The array of `iovec`, `ciovec` or `subscription`; the pointer and length of an address.
    array: &'a [u8],
    /// The bytes: of a path, of an address, or what the `ciovec`s pointed to.
    bytes: &'a [u8],
}

/// The input of a record, by parameter.
pub(crate) struct Inputs<'a> {
    parts: Vec<Part<'a>>,
}

impl<'a> Inputs<'a> {
    pub(crate) fn of(record: &Record<'a>) -> Inputs<'a> {
        let params = record.row().map_or(&[][..], |row| row.params);
        let mut rest = record.input;
        let mut take = |n: usize| {
            let (now, later) = rest.split_at(n.min(rest.len()));
            rest = later;
            now
        };
        let arg = |i: usize| record.args.get(i).map_or(0, |&n| n as usize);
        let array = |array: &'a [u8]| Part { array, bytes: &[] };
        let bytes = |bytes: &'a [u8]| Part { array: &[], bytes };
        let mut parts: Vec<Part<'a>> = params
            .iter()
            .map(|p| match p.kind {
                Kind::Path { count } | Kind::Text { count } | Kind::InBytes { count } => {
                    bytes(take(arg(count)))
                }
                Kind::InStruct(structure) => bytes(take(structure.size)),
                Kind::Iovecs { count } | Kind::ConstIovecs { count } => {
                    array(take(elements(arg(count), IOVEC)))
                }
                Kind::Subscriptions { count } => array(take(elements(arg(count), SUBSCRIPTION))),
                Kind::OutAddress => array(take(IOVEC)),
                Kind::Address => {
                    let array = take(IOVEC);
                    let length = iovec_lengths(array).first().copied().unwrap_or(0);
                    let bytes = take(length.min(wasmedge::ADDRESS_BYTES as u64) as usize);
                    Part { array, bytes }
                }
                _ => Part::default(),
            })
            .collect();
        // Behind all else, since they may be cut where the host took less.
        let sent = params
            .iter()
            .position(|p| matches!(p.kind, Kind::ConstIovecs { .. }));
        if let Some(part) = sent.and_then(|i| parts.get_mut(i)) {
            part.bytes = rest;
        }
        Inputs { parts }
    }

    /// The bytes of a parameter: of a path, of an address, or what the `ciovec`s pointed to.
    pub(crate) fn bytes(&self, param: usize) -> &'a [u8] {
        self.parts.get(param).map_or(&[], |part| part.bytes)
    }

    /// The array of a parameter, or the pointer and length of an address.
    pub(crate) fn array(&self, param: usize) -> &'a [u8] {
        self.parts.get(param).map_or(&[], |part| part.array)
    }
}

/// The size of an `iovec` and a `ciovec` in bytes: pointer and length, 32 bits each.
pub const IOVEC: usize = 8;
/// The size of a `subscription` in bytes.
pub const SUBSCRIPTION: usize = 48;
/// How many elements of an array are recorded, and looked at by one call.
pub const MAX_IOVECS: usize = 1024;

/// How many bytes of an array a record has.
fn elements(count: usize, size: usize) -> usize {
    if size == IOVEC {
        count.min(MAX_IOVECS) * size
    } else {
        count.saturating_mul(size)
    }
}

fn iovec_lengths(array: &[u8]) -> Vec<u64> {
    array
        .chunks_exact(IOVEC)
        .map(|v| u64::from(u32::from_le_bytes([v[4], v[5], v[6], v[7]])))
        .collect()
}

/// A `subscription` of WASI preview 1.
struct Subscription {
    tag: u8,
    fd_or_clock: u32,
    timeout: u64,
    absolute: bool,
}

fn subscriptions(array: &[u8]) -> impl Iterator<Item = Subscription> {
    array.chunks_exact(SUBSCRIPTION).map(|s| {
        let word = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&s[at..at + 8]);
            u64::from_le_bytes(bytes)
        };
        Subscription {
            tag: s[8],
            fd_or_clock: word(16) as u32,
            timeout: word(24),
            absolute: word(40) & 1 != 0,
        }
    })
}

fn sub_text(s: &Subscription) -> String {
    match s.tag {
        0 => {
            let clock = name_value(&wasi::CLOCKID, u64::from(s.fd_or_clock));
            let kind = if s.absolute { "until" } else { "for" };
            format!("{clock} {kind} {}ns", s.timeout)
        }
        1 => format!("read {}", s.fd_or_clock),
        2 => format!("write {}", s.fd_or_clock),
        other => format!("{other}?"),
    }
}

fn sub_json(s: Subscription) -> Value {
    match s.tag {
        0 => json!({
            "type": "clock",
            "id": name_value(&wasi::CLOCKID, u64::from(s.fd_or_clock)),
            "timeout": s.timeout,
            "absolute": s.absolute,
        }),
        1 => json!({"type": "fd_read", "fd": s.fd_or_clock}),
        2 => json!({"type": "fd_write", "fd": s.fd_or_clock}),
        other => json!({"type": other}),
    }
}

fn event_text(record: &Record<'_>) -> String {
    use crate::FunctionId;
    let name = match record.function {
        FunctionId::START => "process start",
        FunctionId::END => "process end",
        FunctionId::INVOKE => "invoke",
        FunctionId::GROW_FAILED => "grow failed",
        FunctionId::INTERRUPT => "interrupt",
        _ => return format!("function {}", record.function.0),
    };
    format!(
        "{name} {}",
        String::from_utf8_lossy(record.input).escape_debug()
    )
}
