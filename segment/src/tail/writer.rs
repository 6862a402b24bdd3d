//! Appends records to the tail, on the guest's thread.
//!
//! It never blocks but for a free buffer, and never calls the system on the way of a call that
//! fits the buffer it is in.

use std::io;
use std::sync::Arc;

use super::last_words::LastWords;
use super::map::Owner;
use super::{
    ALL_CONSUMED, BEGIN, BEGIN_FIXED, CONTINUED, END, ENTRY_HEADER, ENTRY_ROOM, GIVEN_UP, MORE,
    TRAILER, WRITE_HEADER, entry_check,
};
use crate::ids::{FunctionId, Offset};
use crate::record::Outcome;

/// At most this part of a buffer, one in so many, is left empty so that an entry need not be split.
const WASTE: usize = 8;

/// Who takes full buffers and gives them back.
pub(crate) trait Buffers {
    /// Buffer `sequence - 1` is full; returns once buffer `sequence` may be written.
    /// False where that would take the disk to be well again, or the guest was interrupted.
    fn next(&self, sequence: u64) -> bool;

    /// Whether buffer `sequence` may be written by now.
    fn is_free(&self, sequence: u64) -> bool;
}

/// Why nothing can be appended.
#[derive(Debug)]
pub(crate) enum Failed {
    /// There is no free buffer, and will be none soon.
    NoBuffer,
    /// What was appended could not be written.
    Write(io::Error),
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
    /// What is below is published.
    published: usize,
    /// Between `begin` and `finish`: whether the beginning is published.
    open: Option<Published>,
    /// Whether the log has a piece of the record that is open.
    begun: bool,
    /// Why nothing can be appended: until [`TailWriter::resume`] succeeds, what is appended is lost.
    failed: Option<Failed>,
}

impl<B: Buffers> TailWriter<B> {
    /// Starts at the first buffer.
    ///
    /// # Errors
    /// When it has to be written, and cannot.
    pub(crate) fn new(mut owner: Owner, buffers: Arc<B>) -> io::Result<Self> {
        owner.take(1)?;
        Ok(TailWriter {
            owner,
            buffers,
            sequence: 1,
            position: 0,
            entry: 0,
            kind: 0,
            offset: Offset(0),
            published: 0,
            open: None,
            begun: false,
            failed: None,
        })
    }

    #[inline]
    pub(crate) fn failed(&self) -> Option<&Failed> {
        self.failed.as_ref()
    }

    /// Tries to go on after a failure. The record that was open then is given up, and counts as one
    /// of the log where the log has a piece of it.
    pub(crate) fn resume(&mut self) -> bool {
        match self.failed {
            None => return true,
            Some(Failed::NoBuffer) => {
                if !self.buffers.is_free(self.sequence + 1) {
                    return false;
                }
                self.failed = None;
                self.next_buffer();
                if self.failed.is_some() {
                    return false;
                }
            }
            Some(Failed::Write(_)) => {
                // Nobody counts on what was to be published: it is written over. A half of it may be
                // in the file, and more of it than was published, which is taken back first.
                let published = self.published;
                if self
                    .owner
                    .publish(self.sequence, published, published)
                    .is_err()
                {
                    return false;
                }
                self.failed = None;
                self.position = published;
            }
        }
        self.give_up();
        self.failed.is_none()
    }

    fn give_up(&mut self) {
        self.open = None;
        if std::mem::take(&mut self.begun) && self.failed.is_none() {
            self.open(GIVEN_UP);
            self.close(0);
            self.publish();
            if self.failed.is_some() {
                // It is still to be done.
                self.begun = true;
            } else {
                self.begun = false;
                self.offset = self.offset.plus(1);
            }
        }
    }

    /// Puts the counters into the file.
    pub(crate) fn save_counters(&self) {
        self.owner.save_counters();
    }

    /// Writes what there is no buffer for.
    pub(crate) fn say_last(&mut self, words: &LastWords) -> io::Result<()> {
        self.owner.save_counters();
        self.owner.say_last(words)
    }

    /// The offset of the record that is open, or will be next.
    #[inline]
    pub(crate) fn offset(&self) -> Offset {
        self.offset
    }

    /// Whether the log has a piece of the record that is open.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun
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
        let fixed: [u64; BEGIN_FIXED / 8] =
            [start, u64::from(function.0) | (args.len() as u64) << 16];
        self.put_words(fixed);
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

    /// Appends words, each in one piece: the checksum reads them right after, and a processor waits for
    /// what was stored in smaller pieces than it is loaded in.
    #[inline]
    fn put_words<const N: usize>(&mut self, words: [u64; N]) {
        for word in words {
            self.put(&word.to_le_bytes());
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
        if !note.is_empty() {
            self.put(note.as_bytes());
        }
        let consumed = consumed.map_or(ALL_CONSUMED, |n| n as u64);
        let note_and_outcome = u64::from(note.len() as u32) | (outcome as u64) << 32;
        let trailer: [u64; TRAILER / 8] = [duration, result, consumed, note_and_outcome];
        self.put_words(trailer);
        self.close(0);
        self.publish();
        // After a failure it stays to be given up.
        if self.failed.is_none() {
            self.open = None;
            self.begun = false;
            self.offset = self.offset.plus(1);
        }
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
        if self.failed.is_some() {
            return;
        }
        let length = self.position - self.entry - ENTRY_HEADER;
        let kind = u64::from(self.kind | flags);
        let generation = u64::from(self.sequence as u16);
        let first = (u64::from(length as u32) | kind << 32 | generation << 48).to_le_bytes();
        let entry = self.owner.unpublished(self.sequence, self.entry);
        let (header, content) = entry.split_at_mut(ENTRY_HEADER);
        let check = entry_check(first, self.offset.0, &content[..length]);
        header[..8].copy_from_slice(&first);
        header[8..12].copy_from_slice(&check.to_le_bytes());
        header[12..].copy_from_slice(&self.offset.0.to_le_bytes());
    }

    #[cold]
    fn put_across(&mut self, mut bytes: &[u8]) {
        if self.move_entry(bytes.len()) {
            return self.put(bytes);
        }
        while !bytes.is_empty() && self.failed.is_none() {
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

    /// Moves the open entry to the next buffer where it would take little room there with `more` bytes:
    /// of a record that crosses the end of a buffer, the pieces before it are stored twice. True where
    /// the bytes have room now.
    fn move_entry(&mut self, more: usize) -> bool {
        let length = self.position - self.entry;
        if self.failed.is_some() || length + more > self.owner.map().buffer_bytes() / WASTE {
            return false;
        }
        // None of it is published, and it has no header yet: to whoever reads the buffer of a writer
        // that died, it is not there.
        let entry = self.owner.unpublished(self.sequence, self.entry)[..length].to_vec();
        self.position = self.entry;
        self.next_buffer();
        if self.failed.is_some() {
            return false;
        }
        self.start_entry();
        self.put(&entry[ENTRY_HEADER..]);
        true
    }

    #[inline]
    fn start_entry(&mut self) {
        self.entry = self.position;
        // The header is written by `close`, when the length is known.
        self.position += ENTRY_HEADER;
    }

    #[inline]
    fn publish(&mut self) {
        if self.failed.is_some() {
            return;
        }
        match self
            .owner
            .publish(self.sequence, self.published, self.position)
        {
            Ok(()) => {
                self.published = self.position;
                self.begun = true;
            }
            Err(error) => self.fail(Failed::Write(error)),
        }
    }

    #[cold]
    fn next_buffer(&mut self) {
        if self.failed.is_some() {
            return;
        }
        if !self.buffers.next(self.sequence + 1) {
            return self.fail(Failed::NoBuffer);
        }
        if let Err(error) = self.owner.take(self.sequence + 1) {
            // Nothing of it is taken until that succeeds.
            return self.fail(Failed::Write(error));
        }
        self.sequence += 1;
        self.position = 0;
        self.published = 0;
    }

    #[cold]
    fn fail(&mut self, why: Failed) {
        self.failed = Some(why);
        // Past the end nothing fits, so nothing is written any more, and nothing is published: the
        // guest's thread goes on to where the failure is reported.
        self.position = self.owner.map().buffer_bytes();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Mutex;

    use super::*;
    use crate::calls::Calls;
    use crate::tail::decode::Decoder;
    use crate::tail::map::{Storage, TailMap, file_bytes};

    const BUFFER_BYTES: usize = 4096;

    /// Gives the next buffers as scripted, and then all of them.
    #[derive(Default)]
    struct Script(Mutex<Vec<bool>>);

    impl Buffers for Script {
        fn next(&self, _sequence: u64) -> bool {
            self.0.lock().unwrap().pop().unwrap_or(true)
        }

        fn is_free(&self, _sequence: u64) -> bool {
            true
        }
    }

    /// A buffer that is said to be free and then is not to be had must not end the memory of what the
    /// log holds of the record that is open: the next record would take its offset.
    #[test]
    fn a_record_begun_stays_to_be_given_up_until_it_is() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(file_bytes(4, BUFFER_BYTES)).unwrap();
        let map = Arc::new(TailMap::new(&file, Storage::Mapped, 4, BUFFER_BYTES).unwrap());
        // SAFETY: it is the only one of this map.
        let owner = unsafe { Owner::new(Arc::clone(&map)) };
        let script = Arc::new(Script::default());
        let mut writer = TailWriter::new(owner, Arc::clone(&script)).unwrap();
        let function = crate::wasi::FUNCTIONS[0].id;
        let end = |writer: &mut TailWriter<Script>| {
            writer.finish(1, Outcome::Returned, 0, None, "");
        };

        writer.begin(0, function, &[]);
        writer.publish_begin();
        assert!(writer.has_begun());
        script.0.lock().unwrap().extend([false, false]);
        writer.write(0, &[7; BUFFER_BYTES]);
        end(&mut writer);
        assert!(matches!(writer.failed(), Some(Failed::NoBuffer)));
        assert!(!writer.resume(), "the buffer is not to be had");
        assert!(writer.has_begun());
        assert!(writer.resume());
        assert_eq!(writer.offset(), Offset(1));
        writer.begin(1, function, &[]);
        writer.publish_begin();
        end(&mut writer);

        let (mut decoder, mut calls) = (Decoder::new(Some(Offset(0))), Calls::new(Offset(0)));
        for sequence in 1..=writer.sequence() {
            // SAFETY: nobody gives a buffer back here.
            let buffer = unsafe { map.published(sequence) };
            decoder.feed(buffer, sequence, &mut calls).unwrap();
        }
        assert_eq!(calls.outcomes, [Outcome::Unrecorded, Outcome::Returned]);
    }
}
