//! The requests that wait for their responses, in order: responses come in the order of the requests
//! (RFC 9112, section 9.3.2), so that the next response is that of the oldest.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::head::Odds;
use super::{MAX_INFORMATIONAL, MAX_WAITING};
use crate::http::events::Events;
use crate::http::{Exchange, Informational, Oddity, Request, Version};
use crate::protocol::{At, Direction, Found, Odd, Room};

/// How far a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Part {
    /// It has not begun, or there is none in the log.
    None,
    /// Its head is read, its body is not at its end.
    Begun,
    /// It is at its end.
    Done,
    /// Nothing more of it will be read.
    Cut,
}

/// An exchange that is open. It is large, and boxed so that it is not moved on the way to its row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Open {
    pub(super) exchange: Exchange,
    pub(super) asked: Part,
    pub(super) answered: Part,
    /// Events within the response.
    pub(super) events: Option<Events>,
}

impl Open {
    /// Says that something is odd, once.
    pub(super) fn odd(&mut self, oddity: Oddity, at: At, out: &mut Vec<Found<Exchange>>) {
        if !self.exchange.warnings.contains(&oddity) {
            self.exchange.warnings.push(oddity);
            out.push(Found::Odd(Odd {
                at,
                protocol: "http",
                name: oddity.name(),
                detail: String::new(),
            }));
        }
    }

    pub(super) fn odds(&mut self, odds: &Odds, at: At, out: &mut Vec<Found<Exchange>>) {
        odds.0.iter().for_each(|oddity| self.odd(*oddity, at, out));
    }

    /// Says what could not be decoded. The first of it is the one that explains the others.
    pub(super) fn fail(&mut self, error: String) {
        self.exchange.error.get_or_insert(error);
    }

    pub(super) fn informational(&mut self, at: At, status: u16, out: &mut Vec<Found<Exchange>>) {
        match self.exchange.informational.len() < MAX_INFORMATIONAL {
            true => self
                .exchange
                .informational
                .push(Informational { at, status }),
            false => self.odd(Oddity::TooManyInformational, at, out),
        }
    }

    /// Gives the row.
    pub(super) fn give(mut self: Box<Open>, room: &mut Room, out: &mut Vec<Found<Exchange>>) {
        let request = self.exchange.request.as_ref().map(|r| r.body.kept.len());
        let response = self.exchange.response.as_ref().map(|r| r.body.kept.len());
        room.give(request.unwrap_or(0) + response.unwrap_or(0));
        let both = self.exchange.request.is_some() && self.exchange.response.is_some();
        self.exchange.complete = both && self.asked == Part::Done && self.answered == Part::Done;
        out.push(Found::Row(self.exchange));
    }
}

/// The exchanges of a connection that are open.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pipeline {
    next: u64,
    heard: bool,
    waiting: VecDeque<Box<Open>>,
    /// How many requests wait behind these whose rows are out already.
    beyond: u64,
    /// A response without a request.
    lone: Option<Box<Open>>,
    /// Whether no more responses can come.
    pub(super) over: bool,
}

impl Pipeline {
    fn open(&mut self, client: Direction, version: Version, at: At) -> Box<Open> {
        let number = self.next;
        self.next += 1;
        Box::new(Open {
            exchange: Exchange {
                number,
                stream: None,
                client,
                version,
                request: None,
                response: None,
                informational: Vec::new(),
                upgrade: None,
                messages: None,
                complete: false,
                warnings: Vec::new(),
                error: None,
                end: at,
            },
            asked: Part::None,
            answered: Part::None,
            events: None,
        })
    }

    /// Whether a request was ever seen.
    pub(super) fn heard(&self) -> bool {
        self.heard
    }

    /// A request has begun; none where there are bytes that are none, but that will be answered.
    pub(super) fn ask(
        &mut self,
        client: Direction,
        version: Version,
        request: Option<Request>,
        at: At,
    ) -> &mut Open {
        let mut open = self.open(client, version, at);
        open.asked = match request {
            Some(_) => Part::Begun,
            None => Part::Cut,
        };
        open.exchange.request = request;
        self.heard = true;
        self.waiting.push_back_mut(open)
    }

    /// The exchange whose request is being read.
    pub(super) fn asking(&mut self) -> Option<&mut Open> {
        let open = self.waiting.back_mut()?;
        (open.asked == Part::Begun).then_some(open)
    }

    /// The exchange whose response is next or being read, if there is one.
    pub(super) fn answering(&mut self) -> Option<&mut Open> {
        if let Some(lone) = &mut self.lone {
            return Some(lone);
        }
        // A request that is being read is behind all whose rows are out.
        let behind = self.beyond > 0;
        let open = self.waiting.front_mut()?;
        let is_next = matches!(open.answered, Part::None | Part::Begun)
            && !(behind && open.asked == Part::Begun);
        is_next.then_some(open)
    }

    /// The exchange whose response begins. Where no request asked for it, it gets one of its own.
    pub(super) fn answer(
        &mut self,
        client: Direction,
        version: Version,
        at: At,
        expected: bool,
        out: &mut Vec<Found<Exchange>>,
    ) -> Option<&mut Open> {
        if self.answering().is_none() {
            let mut open = self.open(client, version, at);
            match self.beyond {
                0 if expected => {}
                0 => open.odd(Oddity::UnexpectedResponse, at, out),
                _ => self.beyond -= 1,
            }
            self.lone = Some(open);
        }
        self.answering()
    }

    /// A request is at its end, or will not be read on.
    pub(super) fn asked(&mut self, part: Part, room: &mut Room, out: &mut Vec<Found<Exchange>>) {
        if let Some(open) = self.asking() {
            open.asked = part;
            if part == Part::Done
                && let Some(request) = &mut open.exchange.request
            {
                request.end = Some(open.exchange.end);
            }
        }
        self.bound(room, out);
        self.settle(room, out);
    }

    /// Gives the last one away where more wait than are kept.
    pub(super) fn bound(&mut self, room: &mut Room, out: &mut Vec<Found<Exchange>>) {
        let too_many = self.waiting.len() > MAX_WAITING || (self.beyond > 0 && !self.over);
        if too_many
            && self
                .waiting
                .back()
                .is_some_and(|open| matches!(open.asked, Part::Done | Part::Cut))
            && let Some(mut open) = self.waiting.pop_back()
        {
            let at = open.exchange.end;
            open.odd(Oddity::TooManyRequests, at, out);
            open.fail("its response is not looked for: too many requests wait before it".into());
            self.beyond += 1;
            open.give(room, out);
        }
    }

    /// A response is at its end, or will not be read on.
    pub(super) fn answered(&mut self, part: Part, room: &mut Room, out: &mut Vec<Found<Exchange>>) {
        if let Some(open) = self.answering() {
            open.answered = part;
            if part == Part::Done
                && let Some(response) = &mut open.exchange.response
            {
                response.end = Some(open.exchange.end);
            }
        }
        if let Some(lone) = self.lone.take() {
            lone.give(room, out);
        }
        self.settle(room, out);
    }

    /// Gives what nothing more will be known of.
    pub(super) fn settle(&mut self, room: &mut Room, out: &mut Vec<Found<Exchange>>) {
        let over = self.over;
        let finished = |open: &mut Box<Open>| {
            let answered = over || matches!(open.answered, Part::Done | Part::Cut);
            answered && matches!(open.asked, Part::Done | Part::Cut)
        };
        while let Some(open) = self.waiting.pop_front_if(finished) {
            open.give(room, out);
        }
    }

    /// Takes the exchange out whose response switches protocols.
    pub(super) fn switch(&mut self) -> Option<Box<Open>> {
        self.lone.take().or_else(|| self.waiting.pop_front())
    }

    /// Gives everything as it is.
    pub(super) fn close(self, room: &mut Room, out: &mut Vec<Found<Exchange>>) {
        let all = self.lone.into_iter().chain(self.waiting);
        all.for_each(|open| open.give(room, out));
    }
}
