//! A way through the log of one process with the decoder of connections, from its first record on.
//!
//! Damage is gone past, and told to whoever walks. What was read is never read again, so that a log
//! that grows can be followed. This module must never print.

use std::ops::ControlFlow;

use timecraft_segment::snapshot::{Chunk, Damage};
use timecraft_segment::{
    FunctionId, LogState, Offset, Outcome, ProcessId, ProcessStart, Projection, Record, Registry,
    SegmentInfo, SegmentNumber, Snapshot, function,
};
use timecraft_udfs::connections::{Connection, Connections, Event, Matters, matters};
use timecraft_udfs::conversations::Conversations;
use timecraft_udfs::protocol::{At, Decoder, Found};

/// What is done with what a record meant, and whether to go on.
pub type Step<E> = Result<ControlFlow<()>, E>;

/// What a record meant.
pub struct Meant<'a> {
    /// The record; none where records are missing.
    pub record: Option<&'a Record<'a>>,
    /// What it meant, in order.
    pub events: &'a [Event],
    /// The connections that it was about and that are open after it, each once.
    pub connections: &'a [Connection],
    /// The decoder, after it.
    pub decoder: &'a Connections,
}

impl Meant<'_> {
    /// Hands it to the decoders of a protocol, and gives what they found.
    ///
    /// # Errors
    /// Those of `give`.
    pub fn apply<D: Decoder, E>(
        &self,
        conversations: &mut Conversations<D>,
        give: impl FnMut(&Connection, Found<D::Row>) -> Result<(), E>,
    ) -> Result<(), E> {
        let at = self.record.map_or_else(At::default, |record| At {
            offset: record.offset.0,
            time_ns: record.start.0,
            end_ns: record.start.0.saturating_add(record.duration_ns),
        });
        conversations.apply(at, self.record, self.events, self.decoder, give)
    }
}

/// How the log stands that was gone through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// More may come.
    Now,
    /// No more will come.
    End,
    /// Whoever walks had enough.
    Enough,
}

/// A way through a log.
pub struct Walk {
    registry: Registry,
    process: ProcessId,
    decoder: Connections,
    next: Offset,
    segment: Option<SegmentNumber>,
    /// What was told of damage.
    damage: Vec<Damage>,
    always: Vec<FunctionId>,
    with_sockets: Vec<FunctionId>,
}

impl Walk {
    /// Before the first record, with how the process began.
    ///
    /// # Errors
    /// When there is no such log, or nothing of it can be read.
    pub fn begin(
        registry: Registry,
        process: ProcessId,
    ) -> timecraft_segment::Result<(Walk, ProcessStart)> {
        let start = registry.snapshot_past_damage(process)?.start().clone();
        let all = function::functions().map(|row| row.id);
        let all: Vec<_> = all.chain([FunctionId::GAP, FunctionId::END]).collect();
        let which = |when| {
            let these = all.iter().copied().filter(move |&id| matters(id) == when);
            these.collect()
        };
        let walk = Walk {
            decoder: Connections::at_start(&start),
            registry,
            process,
            next: Offset(0),
            segment: None,
            damage: Vec::new(),
            always: which(Matters::Always),
            with_sockets: which(Matters::WithSockets),
        };
        Ok((walk, start))
    }

    /// The decoder of connections, as it is where the way has come to.
    #[must_use]
    pub fn decoder(&self) -> &Connections {
        &self.decoder
    }

    /// Goes on to where the log ends now. With `follow`, a call that the guest is still in waits for
    /// the next time; else it is the last.
    ///
    /// # Errors
    /// When the log cannot be read, other than for damage, and those of `give`.
    pub fn advance<E: From<timecraft_segment::Error>>(
        &mut self,
        follow: bool,
        mut damaged: impl FnMut(&Damage),
        mut give: impl FnMut(Meant<'_>) -> Step<E>,
    ) -> Result<Reached, E> {
        let snapshot = self.registry.snapshot_past_damage(self.process)?;
        let live = snapshot.state() == LogState::Live;
        for damage in snapshot.damage() {
            self.tell(damage.clone(), &mut damaged);
        }
        for chunk in snapshot.chunks_from(self.next) {
            if chunk.summary().end_offset() <= self.next {
                continue;
            }
            if self.arrive(&snapshot, chunk, &mut give)?.is_break() {
                return Ok(Reached::Enough);
            }
            if !self.may_matter(chunk) {
                self.next = chunk.summary().end_offset();
                continue;
            }
            let calls = match chunk.read(Projection::ALL) {
                Ok(calls) => calls,
                Err(error) => {
                    let Some(damage) = Damage::of(&error) else {
                        return Err(error.into());
                    };
                    self.tell(damage, &mut damaged);
                    self.next = chunk.summary().end_offset();
                    if self.lose(&mut give)?.is_break() {
                        return Ok(Reached::Enough);
                    }
                    continue;
                }
            };
            let from = self.next;
            for record in calls.iter().filter(|r| r.offset >= from) {
                if follow && live && record.outcome == Outcome::InFlight {
                    return Ok(Reached::Now);
                }
                self.next = record.offset.plus(1);
                if self.apply(&record, &mut give)?.is_break() {
                    return Ok(Reached::Enough);
                }
            }
        }
        Ok(if live { Reached::Now } else { Reached::End })
    }

    fn tell(&mut self, damage: Damage, damaged: &mut impl FnMut(&Damage)) {
        if !self.damage.contains(&damage) {
            damaged(&damage);
            self.damage.push(damage);
        }
    }

    /// False where no record of the chunk can mean anything.
    fn may_matter(&self, chunk: &Chunk) -> bool {
        let summary = chunk.summary();
        let any = |ids: &[FunctionId]| ids.iter().any(|&id| summary.may_have_function(id));
        any(&self.always) || self.decoder.knows_sockets() && any(&self.with_sockets)
    }

    /// Notices what is missing before a chunk, and what its segment says anew.
    fn arrive<E>(
        &mut self,
        snapshot: &Snapshot,
        chunk: &Chunk,
        give: &mut impl FnMut(Meant<'_>) -> Step<E>,
    ) -> Step<E> {
        let first = chunk.summary().first_offset;
        if first > self.next && self.lose(give)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        let segment = chunk.segment();
        if segment.is_some() && segment != self.segment {
            self.segment = segment;
            let is_it = |s: &&SegmentInfo| Some(s.number) == segment;
            let begins = snapshot.segments().iter().find(is_it);
            if begins.is_some_and(|s| s.first_offset == first)
                && let Some(table) = chunk.descriptors_of_segment()
            {
                let mut events = Vec::new();
                let Ok(()) = self.decoder.found(table, |event| {
                    events.push(event);
                    Ok::<(), std::convert::Infallible>(())
                });
                if !events.is_empty() {
                    return self.missing(&events, give);
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn lose<E>(&mut self, give: &mut impl FnMut(Meant<'_>) -> Step<E>) -> Step<E> {
        let mut events = Vec::new();
        let Ok(()) = self.decoder.lose(|event| {
            events.push(event);
            Ok::<(), std::convert::Infallible>(())
        });
        self.missing(&events, give)
    }

    /// Tells what follows from records that are missing.
    fn missing<E>(&self, events: &[Event], give: &mut impl FnMut(Meant<'_>) -> Step<E>) -> Step<E> {
        give(Meant {
            record: None,
            events,
            connections: &[],
            decoder: &self.decoder,
        })
    }

    fn apply<E>(
        &mut self,
        record: &Record<'_>,
        give: &mut impl FnMut(Meant<'_>) -> Step<E>,
    ) -> Step<E> {
        let mut events = Vec::new();
        let Ok(()) = self.decoder.apply(record, |event| {
            events.push(event);
            Ok::<(), std::convert::Infallible>(())
        });
        if events.is_empty() {
            return Ok(ControlFlow::Continue(()));
        }
        let mut connections: Vec<Connection> = Vec::new();
        for event in &events {
            let (fd, id) = match event {
                Event::Call(call) => (call.fd, call.connection),
                Event::Data(data) => (data.fd, Some(data.connection)),
                _ => continue,
            };
            if let Some(id) = id
                && !connections.iter().any(|known| known.id == id)
            {
                let of_fd = self.decoder.of_descriptor(fd);
                connections.extend(of_fd.filter(|c| c.id == id).cloned());
            }
        }
        give(Meant {
            record: Some(record),
            events: &events,
            connections: &connections,
            decoder: &self.decoder,
        })
    }
}
