//! DNS: messages of a corpus, and connections that carry some.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use timecraft_udfs::dns::{MAX_TEXT, Message, Oddity, Section};

/// A case of the corpus: its file, its message and what is expected of it.
pub struct Case {
    pub path: PathBuf,
    pub message: Vec<u8>,
    pub expected: String,
}

/// What stands between the digits of a message and what is expected.
const RULE: &str = "----\n";

pub fn corpus() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/dns");
    let files = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|e| e == "dns"))
        .collect();
    files.sort();
    let case = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let (digits, expected) = text.split_once(RULE).unwrap();
        let digits: Vec<u8> = digits.bytes().filter(u8::is_ascii_hexdigit).collect();
        let pairs = digits
            .chunks_exact(2)
            .map(|pair| str::from_utf8(pair).unwrap());
        Case {
            message: pairs
                .map(|pair| u8::from_str_radix(pair, 16).unwrap())
                .collect(),
            expected: expected.to_owned(),
            path,
        }
    };
    files.into_iter().map(case).collect()
}

/// All that is known of a message.
fn described(message: &Message) -> String {
    let mut text = message.to_string();
    let addresses: Vec<_> = message.addresses().collect();
    if !addresses.is_empty() {
        text += &format!("addresses: {}\n", addresses.join(" "));
    }
    for oddity in message.oddities.iter() {
        text += &format!("odd: {}\n", oddity.name());
    }
    if let Some((at, what)) = message.error() {
        text += &format!("error: byte {at}: {what}\n");
    }
    text
}

/// With `TIMECRAFT_BLESS` set, what is found is written down as what is expected.
#[test]
fn each_message_of_the_corpus_says_what_is_expected() {
    let corpus = corpus();
    assert!(corpus.len() >= 80, "{}", corpus.len());
    let mut wrong = Vec::new();
    for case in corpus {
        let found = described(&Message::read(&case.message));
        if found != case.expected && std::env::var_os("TIMECRAFT_BLESS").is_some() {
            let text = fs::read_to_string(&case.path).unwrap();
            let digits = text.split_once(RULE).unwrap().0;
            fs::write(&case.path, format!("{digits}{RULE}{found}")).unwrap();
        } else if found != case.expected {
            wrong.push(format!("{}:\n{found}", case.path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_message_that_is_cut_anywhere_keeps_what_stood_before() {
    for case in corpus() {
        let whole = Message::read(&case.message);
        let questions: Vec<_> = whole.section(Section::Question).collect();
        for length in 0..case.message.len() {
            let cut = Message::read(&case.message[..length]);
            let found: Vec<_> = cut.section(Section::Question).collect();
            assert!(
                questions.starts_with(&found),
                "{} {length}",
                case.path.display()
            );
            assert_eq!(cut.size, length);
        }
    }
}

#[test]
fn a_name_that_is_meant_again_and_again_takes_bounded_memory() {
    let mut name = Vec::new();
    for length in [63, 63, 63, 61] {
        name.push(length);
        name.resize(name.len() + usize::from(length), 0);
    }
    name.push(0);
    let mut bytes = b"\x12\x34\x81\x80\0\x01\xff\xff\0\0\0\0\0".to_vec();
    bytes.extend([0, 16, 0, 1]);
    let at = bytes.len() as u16;
    let record = |name: &[u8]| [name, b"\0\x10\0\x01\0\0\0\0\0\x01\0"].concat();
    bytes.extend(record(&name));
    while bytes.len() < 65000 {
        bytes.extend(record(&(at | 0xc000).to_be_bytes()));
    }
    let message = Message::read(&bytes);
    assert!(message.oddities.has(Oddity::TextCut));
    let text: usize = message.section(Section::Answer).map(|r| r.name.len()).sum();
    assert!((MAX_TEXT / 2..=MAX_TEXT).contains(&text), "{text}");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        let _ = described(&Message::read(&bytes));
        let header = b"\0\0\x80\0\0\x01\0\x04\0\x04\0\x04";
        let _ = described(&Message::read(&[header, &bytes[..]].concat()));
    }

    #[test]
    fn no_change_of_a_message_makes_it_panic(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let corpus = corpus();
        let mut bytes = which.get(&corpus).message.clone();
        for (at, byte) in changes {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        let _ = described(&Message::read(&bytes));
    }
}
