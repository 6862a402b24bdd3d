//! Where a host call is written down: the recording, and the trace that a person reads meanwhile.
//!
//! Either may be absent. A call goes through `begin`, `input`, `publish`, then [`Capture::write`] for
//! what the host writes, and `finish`.
//! This module must never look at what a function does, and never touch guest memory.

use timecraft_segment::recorder::{Recorder, StopWaiting};
use timecraft_segment::{Event, FunctionId, Outcome, error::Result};

use crate::trace::Trace;

/// Writes down the calls of one guest. Belongs to the guest's thread.
#[derive(Default)]
pub struct Capture {
    recorder: Option<Recorder>,
    trace: Option<Box<Trace>>,
    growths: u64,
}

impl Capture {
    /// Writes to a recording, to a trace, to both.
    #[must_use]
    pub(crate) fn new(recorder: Option<Recorder>, trace: Option<Box<Trace>>) -> Capture {
        Capture {
            recorder,
            trace,
            growths: 0,
        }
    }

    /// Writes down nothing.
    #[must_use]
    pub fn off() -> Capture {
        Capture::default()
    }

    /// Whether anything is written down, so that inputs are worth copying.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.recorder.is_some() || self.trace.is_some()
    }

    /// Begins the record of a call, with its arguments zero-extended.
    ///
    /// # Errors
    ///
    /// The log cannot be written any more; the guest must not go on.
    #[inline]
    pub(crate) fn begin(&mut self, function: FunctionId, args: &[u64]) -> Result<()> {
        self.growths = 0;
        if let Some(trace) = &mut self.trace {
            trace.begin(function, args);
        }
        match &mut self.recorder {
            Some(recorder) => recorder.begin(function, args),
            None => Ok(()),
        }
    }

    /// Appends bytes of the guest that go into the call.
    #[inline]
    pub(crate) fn input(&mut self, bytes: &[u8]) {
        if let Some(trace) = &mut self.trace {
            trace.input(bytes);
        }
        if let Some(recorder) = &mut self.recorder {
            recorder.input(bytes);
        }
    }

    /// Puts the call into the log as in flight; its effect comes after.
    ///
    /// # Errors
    ///
    /// The log cannot be written any more; the call must not be made.
    #[inline]
    pub(crate) fn publish(&mut self) -> Result<()> {
        match &mut self.recorder {
            Some(recorder) => recorder.publish(),
            None => Ok(()),
        }
    }

    /// The host wrote these bytes to guest memory.
    #[inline]
    pub fn write(&mut self, address: u64, bytes: &[u8]) {
        if let Some(trace) = &mut self.trace {
            trace.write(address, bytes);
        }
        if let Some(recorder) = &mut self.recorder {
            recorder.write(address, bytes);
        }
    }

    /// The host took only so many of the input bytes, from their beginning.
    #[inline]
    pub fn consumed(&mut self, input_bytes: usize) {
        if let Some(trace) = &mut self.trace {
            trace.consumed(input_bytes);
        }
        if let Some(recorder) = &mut self.recorder {
            recorder.consumed(input_bytes);
        }
    }

    /// Something that the guest never sees: why the host refused.
    pub fn note(&mut self, text: &str) {
        if let Some(trace) = &mut self.trace {
            trace.note(text);
        }
        if let Some(recorder) = &mut self.recorder {
            recorder.note(text);
        }
    }

    /// Ends the record of the call. The guest resumes after.
    ///
    /// # Errors
    ///
    /// The log cannot be written any more; the guest must not go on.
    #[inline]
    pub(crate) fn finish(&mut self, outcome: Outcome, result: u64) -> Result<()> {
        let offset = match &mut self.recorder {
            Some(recorder) => Some(recorder.finish(outcome, result)?),
            None => None,
        };
        if let Some(trace) = &mut self.trace {
            trace.finish(outcome, result, offset);
        }
        Ok(())
    }

    /// Records an event. The trace shows calls only.
    ///
    /// # Errors
    ///
    /// The log cannot be written any more.
    pub(crate) fn event<E: Event>(&mut self, event: &E) -> Result<()> {
        self.growths = 0;
        match &mut self.recorder {
            Some(recorder) => recorder.event(event).map(drop),
            None => Ok(()),
        }
    }

    /// Counts an attempt of the guest to grow a memory or a table.
    pub(crate) fn grows(&mut self) {
        self.growths += 1;
    }

    /// How many attempts to grow there were since the record before.
    pub(crate) fn growths(&self) -> u64 {
        self.growths
    }

    /// The guest has ended: its log is waited for from here on. False where it cannot be written.
    pub(crate) fn settle(&mut self) -> bool {
        self.recorder.as_mut().is_none_or(Recorder::settle)
    }

    /// A handle that ends the guest's wait for its log.
    pub(crate) fn stop_waiting(&self) -> Option<StopWaiting> {
        self.recorder.as_ref().map(Recorder::stop_waiting)
    }

    /// Takes the recording out, to be closed. Nothing is recorded from here on.
    pub(crate) fn into_recorder(self) -> Option<Recorder> {
        self.recorder
    }
}
