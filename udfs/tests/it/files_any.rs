//! What holds of any calls, sensible or not.

use proptest::prelude::*;
use timecraft_segment::descriptors::Descriptors;
use timecraft_segment::testing::process_start;
use timecraft_segment::{FunctionId, Outcome, function};
use timecraft_udfs::files::{self, Files, Row};

use crate::calls::*;
use crate::files::{follow, line};
use crate::socket_calls;

fn fd() -> impl Strategy<Value = u32> {
    0..9_u32
}

fn path() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "./b//", "a/../c", ".", "", "/x", "\u{e9}/d"])
        .prop_map(str::to_owned)
}

/// A call that guests make, which may fail or not return.
fn sensible() -> impl Strategy<Value = Call> {
    let bytes = prop::collection::vec(b'a'..b'f', 0..6);
    let call = prop_oneof![
        3 => (fd(), path(), 0..16_u64, 0..2_u64, fd()).prop_map(|(d, p, o, f, n)| open(d, &p, o, f, n)),
        2 => fd().prop_map(close),
        2 => (fd(), fd()).prop_map(|(from, to)| renumber(from, to)),
        2 => (fd(), bytes.clone()).prop_map(|(fd, b)| read(fd, &[&b, b"-"])),
        1 => (fd(), 0..99_u64, bytes.clone()).prop_map(|(fd, at, b)| pread(fd, at, &[&b])),
        2 => (fd(), bytes.clone(), 0..4_usize).prop_map(|(fd, b, n)| write(fd, &b, n.min(b.len()))),
        1 => (fd(), 0..99_u64, bytes).prop_map(|(fd, at, b)| pwrite(fd, at, &b)),
        1 => (fd(), 0..99_u64).prop_map(|(fd, at)| seek(fd, at)),
        1 => (fd(), 0..99_u64).prop_map(|(fd, at)| tell(fd, at)),
        1 => (fd(), 0..4_u64).prop_map(|(fd, flags)| set_flags(fd, flags)),
        1 => (fd(), path()).prop_map(|(d, p)| at("path_filestat_get", d, &p)),
        1 => (fd(), path(), fd(), path()).prop_map(|(f, o, t, n)| rename(f, &o, t, &n)),
        1 => (path(), fd(), path()).prop_map(|(t, d, p)| symlink(&t, d, &p)),
        1 => fd().prop_map(|fd| Call::new("fd_sync", &[fd.into()])),
        1 => fd().prop_map(|fd| socket_calls::open_socket(socket_calls::TCP, fd)),
    ];
    let end = prop_oneof![
        8 => Just((Outcome::Returned, 0)),
        2 => (1..77_u64).prop_map(|errno| (Outcome::Returned, errno)),
        1 => prop::sample::select(&Outcome::ALL[1..]).prop_map(|outcome| (outcome, 0)),
    ];
    (call, end).prop_map(|(call, (outcome, result))| match (outcome, result) {
        (Outcome::Returned, 0) => call,
        (Outcome::Returned, errno) => call.fails(errno),
        (outcome, _) => call.ends(outcome),
    })
}

/// Anything that can stand in a log, and more.
fn senseless() -> impl Strategy<Value = Call> {
    let function = prop_oneof![
        20 => 0..70_u16,
        1 => prop::sample::select(vec![FunctionId::START.0, FunctionId::GAP.0, u16::MAX]),
    ];
    let args = prop::collection::vec(prop_oneof![0..9_u64, any::<u64>()], 0..10);
    let bytes = prop::collection::vec(any::<u8>(), 0..40);
    let writes = prop::collection::vec((0..9_u64, prop::collection::vec(any::<u8>(), 0..9)), 0..4);
    let outcome = prop::sample::select(&Outcome::ALL[..]);
    (function, args, bytes, writes, outcome, 0..3_u64).prop_map(
        |(function, args, input, writes, outcome, result)| Call {
            function: FunctionId(function),
            args,
            input,
            consumed: None,
            writes,
            outcome,
            result,
            note: None,
        },
    )
}

fn guest() -> impl Strategy<Value = Vec<Call>> {
    prop::collection::vec(sensible(), 0..60)
}

proptest! {
    #[test]
    fn any_split_gives_the_same_rows(calls in guest(), cuts in prop::collection::vec(0..60_usize, 0..4)) {
        let calls = record(&calls);
        let records = records(&calls);
        let mut whole = Files::at_start(&process_start());
        let expected = follow(&mut whole, &records);

        let mut files = Files::at_start(&process_start());
        let mut lines = Vec::new();
        for (i, record) in records.iter().enumerate() {
            if cuts.contains(&i) {
                // As an ingestion run would carry it.
                files = Files::restore(&files.save().unwrap()).unwrap();
            }
            lines.extend(follow(&mut files, std::slice::from_ref(record)));
        }
        prop_assert_eq!(lines, expected);
        prop_assert_eq!(files, whole);
    }

    /// What a segment opens with is enough for paths.
    #[test]
    fn a_segment_alone_gives_the_same_rows_but_for_positions(calls in guest(), border in 0..60_usize) {
        let calls = record(&calls);
        let records = records(&calls);
        let (before, after) = records.split_at(border.min(records.len()));
        let mut whole = Files::at_start(&process_start());
        let mut table = Descriptors::at_start(&process_start());
        follow(&mut whole, before);
        before.iter().for_each(|record| table.apply(record));
        let mut alone = Files::at_segment(&process_start(), &table.table());

        for record in after {
            let rows = |files: &mut Files| {
                let mut lines = Vec::new();
                files.apply(record, |row| {
                    match row {
                        Row::Transfer(t) => lines.push(line(record, &Row::Transfer(files::Transfer {
                            position: None, ..t
                        }))),
                        Row::Operation(_) => lines.push(line(record, &row)),
                        Row::File(_) => {}
                    }
                    Ok::<(), std::convert::Infallible>(())
                }).unwrap();
                lines
            };
            prop_assert_eq!(rows(&mut alone), rows(&mut whole));
        }
    }

    /// Leaving out records that mean nothing to the rows that are wanted changes none of them.
    #[test]
    fn what_a_record_can_mean_is_all_it_means(calls in guest()) {
        let calls = record(&calls);
        let mut all = Files::at_start(&process_start());
        let expected = follow(&mut all, &records(&calls));
        let without = |keep: fn(files::Meaning) -> bool| {
            let some: Vec<_> = records(&calls)
                .into_iter()
                .filter(|r| keep(files::meaning(r.function)))
                .collect();
            follow(&mut Files::at_start(&process_start()), &some)
        };
        let of = |lines: Vec<String>, kind: fn(&str) -> bool| -> Vec<String> {
            let is = |line: &String| kind(line.split(' ').nth(1).unwrap());
            lines.into_iter().filter(is).collect()
        };
        let is_transfer = |word: &str| matches!(word, "Read" | "Write");
        let is_file = |word: &str| word == "file";
        let is_operation = |word: &str| !matches!(word, "Read" | "Write" | "file");
        prop_assert_eq!(
            of(without(|m| m.follows || m.moves || m.transfers), is_transfer),
            of(expected.clone(), is_transfer)
        );
        prop_assert_eq!(of(without(|m| m.follows || m.names), is_file), of(expected.clone(), is_file));
        prop_assert_eq!(
            of(without(|m| m.follows || m.operates), is_operation),
            of(expected, is_operation)
        );
    }

    #[test]
    fn nothing_makes_it_panic_or_grow(
        calls in prop::collection::vec(prop_oneof![senseless(), sensible()], 0..80)
    ) {
        let calls = record(&calls);
        let mut files = Files::at_start(&process_start());
        for record in calls.iter() {
            follow(&mut files, &[record]);
        }
        let saved = files.save().unwrap();
        prop_assert_eq!(Files::restore(&saved).unwrap(), files);
    }
}

/// The functions that are known by name are there.
#[test]
fn every_function_that_matters_is_in_the_table() {
    let meanings: Vec<_> = function::functions()
        .map(|row| files::meaning(row.id))
        .collect();
    let count = |of: fn(&files::Meaning) -> bool| meanings.iter().filter(|m| of(m)).count();
    assert_eq!(
        count(|m| m.follows),
        6,
        "open, two accept, open a socket, close, renumber"
    );
    assert_eq!(count(|m| m.opens), 1);
    assert_eq!(count(|m| m.transfers), 4);
    assert_eq!(count(|m| m.moves), 5);
    assert_eq!(count(|m| m.operates), 17);
}
