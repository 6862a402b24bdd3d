//! HPACK: what any encoder may choose is read as it was meant, and any bytes are survived.

use std::collections::VecDeque;

use proptest::collection::vec;
use proptest::prelude::*;
use timecraft_udfs::http::hpack::{DEFAULT_TABLE, Hpack};

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// How a field is written, where there is a choice.
#[derive(Clone, Copy, Debug)]
struct Choice {
    index: bool,
    name_by_index: bool,
    keep: bool,
}

/// An encoder that is written for these tests alone: without Huffman, and its table a plain list.
#[derive(Default)]
struct Encoder {
    table: VecDeque<(Vec<u8>, Vec<u8>)>,
}

fn number(out: &mut Vec<u8>, high: u8, prefix: u32, mut number: usize) {
    let mask = (1_usize << prefix) - 1;
    if number < mask {
        return out.push(high | number as u8);
    }
    out.push(high | mask as u8);
    number -= mask;
    while number >= 128 {
        out.push(0x80 | (number % 128) as u8);
        number /= 128;
    }
    out.push(number as u8);
}

fn string(out: &mut Vec<u8>, string: &[u8]) {
    number(out, 0, 7, string.len());
    out.extend(string);
}

impl Encoder {
    fn write(&mut self, field: &(Vec<u8>, Vec<u8>), choice: Choice, out: &mut Vec<u8>) {
        let index = |i: Option<usize>| i.map(|i| i + 62);
        let whole = index(self.table.iter().position(|known| known == field));
        if let (true, Some(index)) = (choice.index, whole) {
            return number(out, 0x80, 7, index);
        }
        let name = index(self.table.iter().position(|known| known.0 == field.0));
        let name = name.filter(|_| choice.name_by_index);
        let (high, prefix) = if choice.keep { (0x40, 6) } else { (0x10, 4) };
        number(out, high, prefix, name.unwrap_or(0));
        if name.is_none() {
            string(out, &field.0);
        }
        string(out, &field.1);
        if choice.keep {
            self.table.push_front(field.clone());
            let cost = |table: &VecDeque<(Vec<u8>, Vec<u8>)>| -> usize {
                table.iter().map(|(n, v)| n.len() + v.len() + 32).sum()
            };
            while cost(&self.table) > DEFAULT_TABLE {
                self.table.pop_back();
            }
        }
    }
}

fn read(hpack: &mut Hpack, block: &[u8]) -> Fields {
    let mut fields = Vec::new();
    let said = hpack.read(block, |field| {
        fields.push((field.name.unwrap().to_vec(), field.value.unwrap().to_vec()));
    });
    said.unwrap();
    fields
}

fn field() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    // Few names and values, so that they come again; long ones too, so that they are evicted.
    let name = prop_oneof!["[ab]{1,2}", "[a-z-]{1,40}"].prop_map(String::into_bytes);
    let value = prop_oneof![
        "[ab]{0,1}".prop_map(String::into_bytes),
        vec(any::<u8>(), 0..600),
        vec(any::<u8>(), 4000..4100),
    ];
    (name, value)
}

fn choice() -> impl Strategy<Value = Choice> {
    any::<[bool; 3]>().prop_map(|[index, name_by_index, keep]| Choice {
        index,
        name_by_index,
        keep,
    })
}

proptest! {
    #[test]
    fn whatever_an_encoder_chooses_is_read(
        blocks in vec(vec((field(), choice()), 0..8), 1..10),
        saved in 0_usize..10,
    ) {
        let mut encoder = Encoder::default();
        let mut hpack = Hpack::default();
        for (i, block) in blocks.iter().enumerate() {
            if i == saved {
                let state = serde_json::to_vec(&hpack).unwrap();
                hpack = serde_json::from_slice(&state).unwrap();
            }
            let mut bytes = Vec::new();
            for (field, choice) in block {
                encoder.write(field, *choice, &mut bytes);
            }
            let expected: Fields = block.iter().map(|(field, _)| field.clone()).collect();
            prop_assert_eq!(read(&mut hpack, &bytes), expected);
        }
    }

    #[test]
    fn any_bytes_are_survived(
        blocks in vec(vec(any::<u8>(), 0..200), 1..20),
        midstream: bool,
    ) {
        let mut hpack = if midstream { Hpack::midstream() } else { Hpack::default() };
        for block in &blocks {
            let mut size = 0;
            let _ = hpack.read(block, |field| {
                size += field.name.map_or(0, <[u8]>::len) + field.value.map_or(0, <[u8]>::len);
            });
            prop_assert!(size <= timecraft_udfs::http::hpack::MAX_FIELDS);
        }
    }
}
