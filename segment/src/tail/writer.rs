//! Appends records to the tail, on the guest's thread.
//!
//! It never blocks but for a free buffer, and never calls the system on the way of a call that
//! fits the buffer it is in.

use std::sync::Arc;

use super::map::Owner;
use super::{
    ALL_CONSUMED, BEGIN, BEGIN_FIXED, CONTINUED, END, ENTRY_HEADER, ENTRY_ROOM, MORE, TRAILER,
    WRITE_HEADER,
};
use crate::ids::{FunctionId, Offset};
use crate::record::Outcome;

/// Who takes full buffers and gives them back.
pub(crate) trait Buffers {
    /// Buffer `sequence - 1` is full; returns once buffer `sequence` may be written.
    /// False where it never will be.
    fn next(&self, sequence: u64) -> bool;
}

/// Whether the beginning of the open record is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Published {
    No,
    Yes,
}

/// The write position in the tail.
pub(crate) struct TailWriter<B> {
    owner: Owner,
    buffers: Arc<B>,
    /// The buffer that is written.
    sequence: u64,
    /// Where the next byte goes in it.
    position: usize,
    /// Where the header of the open entry stands in it.
    entry: usize,
    kind: u8,
    offset: Offset,
    /// Between `begin` and `finish`: whether the beginning is published.
    open: Option<Published>,
    /// No buffer will come any more: what is appended from now on is lost.
    failed: bool,
}

impl<B: Buffers> TailWriter<B> {
    /// Starts at the first buffer.
    pub(crate) fn new(mut owner: Owner, buffers: Arc<B>) -> Self {
        owner.take(1);
        TailWriter {
            owner,
            buffers,
            sequence: 1,
            position: 0,
            entry: 0,
            kind: 0,
            offset: Offset(0),
            open: None,
            failed: false,
        }
    }

    pub(crate) fn failed(&self) -> bool {
        self.failed
    }

    /// The offset of the record that is open, or will be next.
    #[inline]
    pub(crate) fn offset(&self) -> Offset {
        self.offset
    }

    /// How far the open record is, where one is open.
    pub(crate) fn open_record(&self) -> Option<Published> {
        self.open
    }

    pub(crate) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Opens a record.
    #[inline]
    pub(crate) fn begin(&mut self, start: u64, function: FunctionId, args: &[u64]) {
        self.open = Some(Published::No);
        self.open(BEGIN);
        let mut fixed = [0; BEGIN_FIXED];
        fixed[..8].copy_from_slice(&start.to_le_bytes());
        fixed[8..10].copy_from_slice(&function.0.to_le_bytes());
        fixed[10] = args.len() as u8;
        self.put(&fixed);
        for arg in args {
            self.put(&arg.to_le_bytes());
        }
    }

    /// Appends input of the open record, or raw bytes of its end.
    #[inline]
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        let free = self.owner.unpublished(self.sequence, self.position);
        if let Some(room) = free.get_mut(..bytes.len()) {
            room.copy_from_slice(bytes);
            self.position += bytes.len();
        } else {
            self.put_across(bytes);
        }
    }

    /// Publishes the beginning: from here on the record is in the log, in flight.
    #[inline]
    pub(crate) fn publish_begin(&mut self) {
        self.close(0);
        self.publish();
        self.open = Some(Published::Yes);
        self.open(END);
    }

    /// The host wrote `bytes` to guest memory at `address`.
    #[inline]
    pub(crate) fn write(&mut self, address: u64, bytes: &[u8]) {
        let mut header = [0; WRITE_HEADER];
        header[..8].copy_from_slice(&address.to_le_bytes());
        header[8..].copy_from_slice(&(bytes.len() as u32).to_le_bytes());
        self.put(&header);
        self.put(bytes);
    }

    /// Ends the record and publishes it whole.
    #[inline]
    pub(crate) fn finish(
        &mut self,
        duration: u64,
        outcome: Outcome,
        result: u64,
        consumed: Option<usize>,
        note: &str,
    ) {
        self.put(note.as_bytes());
        let mut trailer = [0; TRAILER];
        trailer[..8].copy_from_slice(&duration.to_le_bytes());
        trailer[8..16].copy_from_slice(&result.to_le_bytes());
        let consumed = consumed.map_or(ALL_CONSUMED, |n| n as u64);
        trailer[16..24].copy_from_slice(&consumed.to_le_bytes());
        trailer[24..28].copy_from_slice(&(note.len() as u32).to_le_bytes());
        trailer[28] = outcome as u8;
        self.put(&trailer);
        self.close(0);
        self.publish();
        self.open = None;
        self.offset = self.offset.plus(1);
    }

    /// Begins an entry, in the next buffer where this one has not enough room left.
    #[inline]
    fn open(&mut self, kind: u8) {
        if self.position + ENTRY_ROOM > self.owner.map().buffer_bytes() {
            self.next_buffer();
        }
        self.kind = kind;
        self.start_entry();
    }

    /// Writes the header of the open entry.
    #[inline]
    fn close(&mut self, flags: u8) {
        if self.failed {
            return;
        }
        let length = self.position - self.entry - ENTRY_HEADER;
        let mut header = [0; ENTRY_HEADER];
        header[..4].copy_from_slice(&(length as u32).to_le_bytes());
        header[4] = self.kind | flags;
        header[6..8].copy_from_slice(&(self.sequence as u16).to_le_bytes());
        header[8..].copy_from_slice(&self.offset.0.to_le_bytes());
        self.owner.unpublished(self.sequence, self.entry)[..ENTRY_HEADER].copy_from_slice(&header);
    }

    #[cold]
    fn put_across(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.failed {
            let free = self.owner.unpublished(self.sequence, self.position);
            let (now, rest) = bytes.split_at(bytes.len().min(free.len()));
            free[..now.len()].copy_from_slice(now);
            self.position += now.len();
            bytes = rest;
            if !bytes.is_empty() {
                self.close(MORE);
                self.publish();
                self.next_buffer();
                self.kind |= CONTINUED;
                self.start_entry();
            }
        }
    }

    #[inline]
    fn start_entry(&mut self) {
        self.entry = self.position;
        // The header is written by `close`, when the length is known.
        self.position += ENTRY_HEADER;
    }

    #[inline]
    fn publish(&mut self) {
        if !self.failed {
            self.owner.publish(self.sequence, self.position);
        }
    }

    #[cold]
    fn next_buffer(&mut self) {
        if self.failed || !self.buffers.next(self.sequence + 1) {
            // Past the end nothing fits, so nothing is written any more, and nothing is published:
            // the guest's thread goes on to where the failure is reported.
            self.failed = true;
            self.position = self.owner.map().buffer_bytes();
            return;
        }
        self.sequence += 1;
        self.position = 0;
        self.owner.take(self.sequence);
    }
}
