//! Header blocks: HEADERS, PUSH_PROMISE and CONTINUATION. Each block is read, wanted or not, for the
//! table of HPACK goes on with it.

use serde::{Deserialize, Serialize};

use super::fields::Fields;
use super::frame::{self, Header, unpadded};
use super::side::MAX_FRAME;
use super::stream::{Part, Stream};
use super::{H2, MAX_OPEN_FIELDS, Out, Place};
use crate::http::Oddity;
use crate::protocol::At;

/// A block of which CONTINUATION is to come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Block {
    stream: u32,
    /// The stream that is promised.
    promised: Option<u32>,
    /// Whether the stream ends with it.
    last: bool,
    start: At,
    #[serde(with = "crate::state::hexadecimal")]
    bytes: Vec<u8>,
}

impl H2 {
    /// Whether a frame is what must come after a block that has begun; where not, the block is lost.
    pub(super) fn block_goes_on(&mut self, header: &Header, place: Place, out: &mut Out<'_>) {
        let side = self.side_mut(place.direction);
        let Some(block) = &side.block else {
            return;
        };
        let stream = block.stream;
        if header.kind == frame::CONTINUATION && header.stream == stream {
            return;
        }
        side.block = None;
        side.lost = true;
        let why = format!("by a frame of type {}", header.kind);
        self.odd(place, Oddity::H2InterruptedBlock, Some(stream), &why, out);
        self.fail(stream, place, "its header block is interrupted");
    }

    /// A frame with a part of a block that cannot be read.
    pub(super) fn unread_block(&mut self, header: &Header, place: Place, out: &mut Out<'_>) {
        if !matches!(
            header.kind,
            frame::HEADERS | frame::PUSH_PROMISE | frame::CONTINUATION
        ) {
            return;
        }
        let side = self.side_mut(place.direction);
        side.block = None;
        side.lost = true;
        let why = "part of a header block is not read";
        self.odd(place, Oddity::H2BadBlock, Some(header.stream), why, out);
        self.fail(header.stream, place, why);
    }

    fn fail(&mut self, stream: u32, place: Place, why: &str) {
        if let Some(stream) = self.streams.get_mut(&stream) {
            stream.fail(|| format!("{}: {why}", place.text()));
        }
    }

    pub(super) fn headers(
        &mut self,
        header: &Header,
        place: Place,
        payload: &[u8],
        out: &mut Out<'_>,
    ) {
        let Some(mut bytes) = unpadded(header, payload) else {
            return self.unread_block(header, place, out);
        };
        let mut promised = None;
        if header.kind == frame::PUSH_PROMISE {
            let Some((id, rest)) = bytes.split_first_chunk() else {
                return self.unread_block(header, place, out);
            };
            promised = Some(u32::from_be_bytes(*id) & (u32::MAX >> 1));
            bytes = rest;
        }
        let block = Block {
            stream: header.stream,
            promised,
            last: header.kind == frame::HEADERS && header.has(frame::END_STREAM),
            start: place.start,
            bytes: Vec::new(),
        };
        if header.has(frame::END_HEADERS) {
            return self.block(&block, bytes, place, out);
        }
        let bytes = bytes.to_vec();
        self.side_mut(place.direction).block = Some(Block { bytes, ..block });
    }

    pub(super) fn continuation(
        &mut self,
        header: &Header,
        place: Place,
        payload: &[u8],
        out: &mut Out<'_>,
    ) {
        let Some(mut block) = self.side_mut(place.direction).block.take() else {
            // Its beginning was not read, or there is none.
            return self.unread_block(header, place, out);
        };
        block.bytes.extend(payload);
        if block.bytes.len() > MAX_FRAME {
            return self.unread_block(header, place, out);
        }
        if header.has(frame::END_HEADERS) {
            let bytes = std::mem::take(&mut block.bytes);
            return self.block(&block, &bytes, place, out);
        }
        self.side_mut(place.direction).block = Some(block);
    }

    /// A block is whole.
    fn block(&mut self, block: &Block, bytes: &[u8], place: Place, out: &mut Out<'_>) {
        let room = MAX_OPEN_FIELDS.saturating_sub(self.fields);
        let side = self.side_mut(place.direction);
        let mut fields = Fields::new(room);
        // About as much as it will be.
        fields.headers.reserve(bytes.len().clamp(128, 512));
        let mut error = None;
        let mut big_table = false;
        if side.lost {
            error =
                Some("an earlier header block was lost, and this one needs its table".to_owned());
        } else {
            match side.hpack.read(bytes, |field| fields.take(field)) {
                Ok(said) => {
                    fields.left_out += said.left_out;
                    big_table = said.beyond_table;
                }
                Err(why) => {
                    side.lost = true;
                    error = Some(why.to_string());
                }
            }
        }
        if big_table {
            self.odd(place, Oddity::H2BigTable, None, "", out);
        }
        if fields.left_out > 0 {
            fields.add(Oddity::H2FieldsLeftOut);
        }
        let id = match block.promised {
            Some(promised) => self.promise(promised, block, place, out),
            None => self.opened(block.stream, place, out),
        };
        let Some(id) = id else {
            if let Some(error) = error {
                self.odd(place, Oddity::H2BadBlock, None, &error, out);
            }
            return;
        };
        let part = match block.promised {
            Some(_) => Part::Request,
            None => self.part(place.direction),
        };
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        stream.touch(place.at);
        if let Some(error) = &error {
            stream.fail(|| format!("{}: {error}", place.text()));
        }
        let before = stream.fields;
        let ended = stream.ended(part);
        let odd = if ended {
            vec![Oddity::H2WrongStream]
        } else if error.is_some() {
            // What could not be read is not held to be missing.
            stream.unread(part, fields, block.start, block.last);
            Vec::new()
        } else {
            stream.head(part, fields, block.start, block.last)
        };
        self.fields += stream.fields.saturating_sub(before);
        for odd in odd {
            self.odd(place, odd, Some(id), "", out);
        }
        if let Some(error) = error {
            self.odd(place, Oddity::H2BadBlock, Some(id), &error, out);
        }
        if block.promised.is_some() {
            let asked = Place {
                direction: self.client,
                ..place
            };
            self.finish(id, asked, out);
        } else if block.last {
            self.finish(id, place, out);
        }
    }

    /// The stream of HEADERS, opened where they may do that. None where there can be none.
    fn opened(&mut self, id: u32, place: Place, out: &mut Out<'_>) -> Option<u32> {
        if self.streams.contains_key(&id) {
            return Some(id);
        }
        let [newest, _] = self.newest;
        if id % 2 == 1 && id > newest {
            let [newest, _] = &mut self.newest;
            *newest = id;
            self.open(id, Stream::new(self.number, place.start), place, out);
            if place.direction != self.client {
                self.odd(place, Oddity::UnexpectedResponse, Some(id), "", out);
            }
            return Some(id);
        }
        if !self.reset.contains(&id) {
            let why = "HEADERS on a stream that is not open";
            self.odd(place, Oddity::H2WrongStream, Some(id), why, out);
        }
        None
    }

    /// The stream that PUSH_PROMISE opens.
    fn promise(
        &mut self,
        promised: u32,
        block: &Block,
        place: Place,
        out: &mut Out<'_>,
    ) -> Option<u32> {
        let [_, newest] = self.newest;
        if place.direction == self.client || promised % 2 == 1 || promised <= newest {
            let why = format!("stream {promised} cannot be promised");
            self.odd(place, Oddity::H2WrongStream, Some(block.stream), &why, out);
            return None;
        }
        let [_, newest] = &mut self.newest;
        *newest = promised;
        self.open(promised, Stream::new(self.number, block.start), place, out);
        Some(promised)
    }
}
