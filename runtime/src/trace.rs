//! The trace: each call as a record, handed to a sink when the call is over.
//!
//! It is for people who watch, so it may allocate and be slow; without it none of this runs. It
//! must never change what is recorded.

use std::time::Instant;

use timecraft_segment::{Calls, ElapsedNs, FunctionId, Offset, Outcome, Parts, Record};

/// What a traced call is handed to, on the guest's thread, before the guest resumes.
pub type Sink = Box<dyn FnMut(&Record<'_>) + Send>;

/// The call that is under way, and where it goes.
pub(crate) struct Trace {
    sink: Sink,
    origin: Instant,
    next: Offset,
    start: ElapsedNs,
    function: FunctionId,
    args: Vec<u64>,
    input: Vec<u8>,
    consumed: Option<usize>,
    /// Address and length of each write; the bytes of all stand in `written`.
    writes: Vec<(u64, usize)>,
    written: Vec<u8>,
    note: String,
}

impl Trace {
    /// A trace of a process that starts now.
    pub fn new(sink: Sink) -> Trace {
        Trace {
            sink,
            origin: Instant::now(),
            next: Offset(0),
            start: ElapsedNs(0),
            function: FunctionId(0),
            args: Vec::new(),
            input: Vec::new(),
            consumed: None,
            writes: Vec::new(),
            written: Vec::new(),
            note: String::new(),
        }
    }

    pub fn begin(&mut self, function: FunctionId, args: &[u64]) {
        self.start = self.elapsed();
        self.function = function;
        self.args.clear();
        self.args.extend_from_slice(args);
        self.input.clear();
        self.consumed = None;
        self.writes.clear();
        self.written.clear();
        self.note.clear();
    }

    pub fn input(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    pub fn write(&mut self, address: u64, bytes: &[u8]) {
        self.writes.push((address, bytes.len()));
        self.written.extend_from_slice(bytes);
    }

    pub fn consumed(&mut self, input_bytes: usize) {
        self.consumed = Some(input_bytes);
    }

    pub fn note(&mut self, text: &str) {
        self.note.clear();
        self.note.push_str(text);
    }

    /// Hands the call to the sink, with the offset that the recording gave it; without a recording
    /// calls are numbered from 0.
    pub fn finish(&mut self, outcome: Outcome, result: u64, offset: Option<Offset>) {
        let offset = offset.unwrap_or(self.next);
        self.next = offset.plus(1);
        let mut written = &self.written[..];
        let writes: Vec<(u64, &[u8])> = self
            .writes
            .iter()
            .map(|&(address, length)| {
                let (bytes, rest) = written.split_at_checked(length).unwrap_or((written, &[]));
                written = rest;
                (address, bytes)
            })
            .collect();
        let mut calls = Calls::new(offset);
        calls.push(&Parts {
            start: self.start,
            duration_ns: self.elapsed().0.saturating_sub(self.start.0),
            function: self.function,
            outcome,
            result,
            args: &self.args,
            input: &self.input,
            consumed: self.consumed.unwrap_or(self.input.len()),
            writes: &writes,
            note: if self.note.is_empty() {
                None
            } else {
                Some(&self.note)
            },
        });
        if let Some(record) = calls.get(0) {
            (self.sink)(&record);
        }
    }

    fn elapsed(&self) -> ElapsedNs {
        ElapsedNs(u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::{Arc, Mutex};

    use timecraft_segment::function::by_name;

    use super::*;

    #[test]
    fn a_call_becomes_a_record() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink = {
            let seen = Arc::clone(&seen);
            Box::new(move |r: &Record<'_>| {
                seen.lock().unwrap().push((
                    r.offset.0,
                    r.input.to_vec(),
                    r.dropped,
                    r.out(0),
                    r.note.map(str::to_owned),
                ));
            })
        };
        let mut trace = Trace::new(sink);
        let id = by_name("wasi_snapshot_preview1", "fd_write").unwrap().id;
        for note in ["why", ""] {
            trace.begin(id, &[1, 8, 1, 100]);
            trace.input(b"iovecsXXhello");
            trace.consumed(10);
            trace.write(100, &2u32.to_le_bytes());
            if !note.is_empty() {
                trace.note(note);
            }
            trace.finish(Outcome::Returned, 0, None);
        }
        let seen = seen.lock().unwrap();
        assert_eq!(seen.len(), 2);
        assert_eq!(
            (seen[0].0, &seen[0].1[..], seen[0].3),
            (0, &b"iovecsXXhe"[..], Some(2))
        );
        assert_eq!(seen[0].2.unwrap().length, 3);
        assert_eq!(seen[0].4.as_deref(), Some("why"));
        assert_eq!((seen[1].0, seen[1].4.as_deref()), (1, None));
    }
}
