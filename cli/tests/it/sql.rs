//! `timecraft sql`, over two recordings of a hello.

use std::io::Read;

use rustix::process::Signal;

use crate::snapshot;
use crate::support::{Dir, HELLO, guest, signal, wait_for};

const CALLS: &str = "select name, function, fd, bytes, host_calls.args as args from host_calls \
                     join processes using (process_id) order by start_time";

/// Odd values of each kind.
const ODD: &str = "select * from (values \
    (1, '=1+1', 'a,\"b\"', E'line\\nbreak\\ttab', X'00ff', -1.5, make_array('x', null)), \
    (2, null, '', E'\\x1b[31mred', null, null, null), \
    (3, '-1', 'a|b*c', 'größe', X'', 0.0, make_array())) \
    as t (n, formula, quotes, control, bytes, number, list)";

#[test]
fn every_text_format() {
    let dir = Dir::recorded();
    for format in ["table", "csv", "tsv", "json", "ndjson", "markdown"] {
        let said = dir.cmd(["sql", "--format", format, CALLS]).assert(0);
        snapshot!(format!("sql_calls_{format}"), said);
        let said = dir.cmd(["sql", "--format", format, ODD]).assert(0);
        snapshot!(format!("sql_odd_{format}"), said);
        let said = dir
            .cmd(["sql", "--format", format, "select 1 as n where false"])
            .assert(0);
        snapshot!(format!("sql_none_{format}"), said);
    }
}

/// A query result, as a table of text, read back from the bytes of a binary format.
fn pretty(batches: &[arrow::array::RecordBatch]) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    for batch in batches {
        let text = |column: usize, row| {
            let column = batch.column(column);
            arrow::util::display::array_value_to_string(column, row).unwrap()
        };
        rows.extend((0..batch.num_rows()).map(|i| (text(0, i), text(1, i))));
    }
    rows
}

#[test]
fn every_binary_format() {
    let dir = Dir::recorded();
    let query = "select name, time from host_calls join processes using (process_id) order by time";
    let expected = {
        let said = dir.cmd(["sql", "--format", "tsv", query]).assert(0);
        let rows = said.out().lines().skip(1);
        let split = |line: &str| {
            line.split_once('\t')
                .map(|(a, b)| (a.to_owned(), b.to_owned()))
        };
        rows.map(|line| split(line).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(expected.len(), 2);

    let stream = dir
        .cmd(["sql", "--format", "arrow", query])
        .assert(0)
        .stdout;
    let batches: Result<Vec<_>, _> =
        arrow::ipc::reader::StreamReader::try_new(stream.as_slice(), None)
            .unwrap()
            .collect();
    assert_eq!(pretty(&batches.unwrap()), expected);

    dir.cmd(["sql", "--to", "x.arrow", query]).assert(0);
    let file = std::fs::File::open(dir.path("x.arrow")).unwrap();
    let batches: Result<Vec<_>, _> = arrow::ipc::reader::FileReader::try_new(file, None)
        .unwrap()
        .collect();
    assert_eq!(pretty(&batches.unwrap()), expected);

    dir.cmd(["sql", "--to", "x.parquet", query]).assert(0);
    let file = std::fs::File::open(dir.path("x.parquet")).unwrap();
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(file, 1024);
    let batches: Result<Vec<_>, _> = reader.unwrap().collect();
    assert_eq!(pretty(&batches.unwrap()), expected);

    let said = dir
        .cmd(["sql", "--format", "parquet", "select 1; select 2"])
        .assert(1);
    assert!(
        said.stderr.contains("this format holds one"),
        "{}",
        said.stderr
    );
}

#[test]
fn the_query_comes_from_an_argument_a_file_or_standard_input() {
    let dir = Dir::recorded();
    let query = "-- how many\nselect count(*) as n from processes;\n";
    dir.create("q.sql", query);
    let expected = "n\n2\n";
    let tsv = |args: &[&str]| dir.cmd(["sql", "--format", "tsv"].iter().chain(args));
    assert_eq!(tsv(&[query]).assert(0).out(), expected);
    assert_eq!(tsv(&["-f", "q.sql"]).assert(0).out(), expected);
    assert_eq!(tsv(&[]).stdin(query).assert(0).out(), expected);
    assert_eq!(tsv(&["-f", "-"]).stdin(query).assert(0).out(), expected);
    tsv(&["-f", "q.sql", "select 1"]).assert(2);
    tsv(&["-f", "absent.sql"]).assert(1);
    snapshot!("sql_empty", tsv(&[" ; -- nothing"]).assert(2));
    snapshot!("sql_empty_stdin", tsv(&[]).assert(2));
}

#[test]
fn statements_run_in_turn() {
    let dir = Dir::recorded();
    let script = "create view v as select function from host_calls; \
                  select count(*) as n from v; select distinct function from v";
    let said = dir.cmd(["sql", "--format", "csv", script]).assert(0);
    assert_eq!(said.out(), "n\n2\nfunction\nfd_write\n");
    // The last does not parse, so the first is not run either.
    let said = dir.cmd(["sql", "select 1; selec 2"]).assert(1);
    assert_eq!(said.out(), "");
}

#[test]
fn parameters_take_the_type_of_their_place() {
    let dir = Dir::recorded();
    let count = |predicate: &str, value: &str| {
        let query = format!("select count(*) as n from host_calls where {predicate}");
        let param = format!("p={value}");
        let said = dir
            .cmd(["sql", "--format", "tsv", "--param", &param, &query])
            .assert(0);
        said.out().trim_start_matches("n\n").trim().to_owned()
    };
    assert_eq!(count("function = $p", "fd_write"), "2");
    assert_eq!(count("function = $p", "x' or 'a'='a"), "0");
    assert_eq!(count("fd = $p", "1"), "2");
    assert_eq!(count("bytes between $p and 6", "6"), "2");
    assert_eq!(count("time > $p", "2020-01-01T00:00:00Z"), "2");
    assert_eq!(count("record_offset in ($p, 99)", "2"), "2");

    let query = "select name from processes order by start_time limit $n";
    let said = dir
        .cmd(["sql", "--format", "tsv", "--param", "$n=1", query])
        .assert(0);
    assert_eq!(said.out(), "name\nfirst\n");
    snapshot!("sql_parameter_missing", dir.cmd(["sql", query]).assert(1));
    snapshot!(
        "sql_parameter_malformed",
        dir.cmd(["sql", "--param", "n", query]).assert(2)
    );
    let query = "select 1 from host_calls where fd = $n";
    let said = dir.cmd(["sql", "--param", "n=one", query]).assert(1);
    snapshot!("sql_parameter_of_another_type", said);
}

#[test]
fn mistakes_are_explained() {
    let dir = Dir::recorded();
    for (name, query) in [
        (
            "column",
            "select function,\n  durration_ns\nfrom host_calls",
        ),
        ("column_far", "select zzz from log_lines"),
        ("column_qualified", "select p.nam from processes p"),
        (
            "column_ambiguous",
            "select function from host_calls join processes p using (process_id) where process_id = 'x'",
        ),
        ("table", "select * from hostcalls"),
        ("table_far", "select * from zzz"),
        ("function", "select floo(1)"),
        ("syntax", "select count(*) fro m processes"),
        ("syntax_end", "select count(*) from processes group by"),
        ("string", "select 'open"),
        ("type", "select 1 where arrow_cast('a', 'Int64') = 1"),
        ("division", "select 1 / 0"),
        (
            "group",
            "select function, fd from host_calls group by function",
        ),
    ] {
        snapshot!(
            format!("sql_wrong_{name}"),
            dir.cmd(["sql", query]).assert(1)
        );
    }
}

#[test]
fn a_result_can_go_to_a_file() {
    let dir = Dir::recorded();
    let query = "select name from processes order by start_time";
    for (name, contents) in [
        ("x.csv", "name\nfirst\nsecond\n"),
        ("x.ndjson", "{\"name\":\"first\"}\n{\"name\":\"second\"}\n"),
        ("x.md", "| name |\n|---|\n| first |\n| second |\n"),
        (
            "x.txt",
            "+--------+\n| name   |\n+--------+\n| first  |\n| second |\n+--------+\n",
        ),
    ] {
        let said = dir.cmd(["sql", "--to", name, query]).assert(0);
        assert_eq!((said.out(), said.stderr.as_str()), ("", ""));
        assert_eq!(dir.read(name), contents, "{name}");
    }
    dir.cmd(["sql", "--to", "x.csv", "--format", "json", "select 1 as n"])
        .assert(0);
    assert_eq!(dir.read("x.csv"), "[\n{\"n\":1}\n]\n");

    // A query that fails leaves what was there, and nothing beside it.
    dir.cmd(["sql", "--to", "x.csv", "select 1 / 0"]).assert(1);
    assert_eq!(dir.read("x.csv"), "[\n{\"n\":1}\n]\n");
    let names = std::fs::read_dir(dir.path(""))
        .unwrap()
        .map(|e| e.unwrap().file_name());
    assert!(
        names
            .into_iter()
            .all(|n| !n.to_string_lossy().ends_with(".new"))
    );

    snapshot!(
        "sql_to_folder",
        dir.cmd(["sql", "--to", "home", query]).assert(1)
    );
    snapshot!(
        "sql_to_nowhere",
        dir.cmd(["sql", "--to", "no/such/x.csv", query]).assert(1)
    );
}

/// Putting a file in the place of a device would break the machine.
#[test]
fn a_device_stays_one() {
    let dir = Dir::new();
    std::os::unix::fs::symlink("/dev/stdout", dir.path("out")).unwrap();
    let said = dir
        .cmd(["sql", "--to", "out", "--format", "tsv", "select 1 as n"])
        .assert(0);
    assert_eq!(said.out(), "n\n1\n");
    assert!(dir.path("out").is_symlink());
}

/// A link stays, and what it leads to is replaced.
#[test]
fn a_link_stays_one() {
    let dir = Dir::new();
    dir.create("real.csv", "old");
    std::os::unix::fs::symlink("real.csv", dir.path("link.csv")).unwrap();
    dir.cmd(["sql", "--to", "link.csv", "select 1 as n"])
        .assert(0);
    assert_eq!(dir.read("real.csv"), "n\n1\n");
    assert!(dir.path("link.csv").is_symlink());
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let dir = Dir::new();
    for format in ["table", "csv", "json", "arrow", "parquet"] {
        let query = "select value, repeat('x', 100) as x from range(10000000)";
        let mut child = dir.cmd(["sql", "--format", format, query]).spawn();
        let mut first = [0; 1];
        child.stdout.take().unwrap().read_exact(&mut first).unwrap();
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            (output.status.code(), stderr.as_ref()),
            (Some(0), ""),
            "{format}"
        );
    }
}

/// Rows are out when they are there, and not when the query is done; Ctrl-C ends it.
#[test]
fn rows_stream_and_a_query_can_be_cancelled() {
    let dir = Dir::new();
    let query = "select value from range(1000000000000)";
    let mut child = dir.cmd(["sql", "--format", "csv", query]).spawn();
    let mut out = child.stdout.take().unwrap();
    wait_for(&mut out, "value\n0\n1\n");
    let reader = std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()));
    signal(&child, Signal::INT);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    reader.join().unwrap().unwrap();
}

/// A query that computes for long before its first row can be cancelled as well.
#[test]
fn a_query_without_rows_yet_can_be_cancelled() {
    let dir = Dir::new();
    let query =
        "select 1 as n; select sum(a.value * b.value) from range(10000000) a, range(10000000) b";
    let mut child = dir.cmd(["sql", "--format", "csv", query]).spawn();
    wait_for(child.stdout.as_mut().unwrap(), "n\n1\n");
    signal(&child, Signal::INT);
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn tables_are_there_before_there_is_data() {
    let dir = Dir::new();
    for table in [
        "processes",
        "modules",
        "segments",
        "host_calls",
        "log_lines",
    ] {
        let query = format!("select count(*) as n from {table}");
        assert_eq!(
            dir.cmd(["sql", "--format", "tsv", &query]).assert(0).out(),
            "n\n0\n"
        );
    }
    assert!(
        !dir.path("home/.timecraft").exists(),
        "reading creates nothing"
    );
}

/// Plans have line breaks in their cells, and are read by people.
#[test]
fn a_plan_keeps_its_lines() {
    let dir = Dir::new();
    let said = dir
        .cmd([
            "sql",
            "explain select function from host_calls where fd = 1",
        ])
        .assert(0);
    let plan = said.out();
    assert!(plan.lines().count() > 5 && !plan.contains("\\n"), "{plan}");
}

/// What a guest prints reaches no terminal as it is.
#[test]
fn what_a_guest_chose_is_escaped() {
    let dir = Dir::new();
    dir.create("hello.wat", HELLO.replace("hello\\n", "\\1b[31m\\n"));
    let said = dir.cmd(["run", "hello.wat"]).assert(0);
    assert_eq!(said.out(), "\u{1b}[31m\n", "its own output is its own");
    for format in ["table", "csv", "tsv", "json", "ndjson", "markdown"] {
        let said = dir
            .cmd(["sql", "--format", format, "select text from log_lines"])
            .assert(0);
        assert!(said.out().contains("[31m"), "{}", said.out());
        assert!(!said.out().contains('\u{1b}'), "{format}: {:?}", said.out());
    }
}

/// The same for bytes that no program meant as text: sequences of a terminal, a direction override,
/// and what is not UTF-8 at all.
#[test]
fn bytes_of_a_guest_are_escaped() {
    let dir = Dir::new();
    let bytes = b"\x1b]0;title\x07\xe2\x80\xaegnp.exe\xc2\x9b2J\r=cmd()\xff\n=1+1\n";
    dir.create("data/odd", bytes);
    let run = dir.cmd(["run", "--dir", "data"]);
    let said = run.arg(guest("cat.wasm")).arg("data/odd").assert(0);
    assert_eq!(said.stdout, bytes, "its own output is its own");
    let query = "select line, text from log_lines order by line";
    for format in ["table", "csv", "tsv", "json", "ndjson", "markdown"] {
        let said = dir.cmd(["sql", "--format", format, query]).assert(0);
        let active = |c: char| c.is_control() && !matches!(c, '\n' | '\t') || c == '\u{202e}';
        assert!(!said.out().contains(active), "{format}: {:?}", said.out());
    }
    snapshot!(
        "sql_bytes_csv",
        dir.cmd(["sql", "--format", "csv", query]).assert(0)
    );
    snapshot!(
        "sql_bytes_ndjson",
        dir.cmd(["sql", "--format", "ndjson", query]).assert(0)
    );
}

/// The columns of every table; no recording is needed to see them.
#[test]
fn tables_describe_themselves() {
    let dir = Dir::new();
    let describe = "describe processes; describe modules; describe segments; \
                    describe host_calls; describe log_lines";
    snapshot!(
        "sql_describe",
        dir.cmd(["sql", "--format", "tsv", describe]).assert(0)
    );
}

#[test]
fn arguments_are_json() {
    let dir = Dir::recorded();
    let query = "select json_get_int(args, 'fd') as fd, (args->'iovs')::text as iovs, \
                 args->>'nwritten' as nwritten from host_calls limit 1";
    assert_eq!(dir.query(query), [["1", "[6]", "6"]]);
}

/// What is pruned shows: of a recording in many batches, those of eleven records are read.
#[test]
fn a_plan_says_what_was_pruned() {
    let dir = Dir::new();
    dir.cmd(["run", "--record-batch-size", "64KiB"])
        .arg(guest("calls.wasm"))
        .args(["mixed", "20000"])
        .assert(0);
    let plan = "explain analyze select count(*) from host_calls \
                where record_offset between 5000 and 5010";
    let said = dir.cmd(["sql", plan]).assert(0);
    // batches=46 total → 1 matched
    let batches = said.out().split_once(", batches=").map_or("", |(_, b)| b);
    let numbers: Vec<u32> = batches
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|n| n.parse().ok())
        .take(2)
        .collect();
    assert!(
        matches!(numbers[..], [total, 1 | 2] if total > 5),
        "{numbers:?} in {}",
        said.out()
    );
}

#[test]
fn a_value_of_an_environment_is_given_by_name() {
    let dir = Dir::new();
    dir.create("hello.wat", HELLO);
    dir.cmd(["run", "-e", "TOKEN=secret", "hello.wat"])
        .assert(0);
    let query = "select environment, environment_value(process_id, 'TOKEN') as token, \
                 environment_value(process_id, 'X') is null as x from processes";
    assert_eq!(dir.query(query), [["{\"TOKEN\":null}", "secret", "true"]]);
}

#[test]
fn a_registry_that_is_a_file_is_an_error() {
    let dir = Dir::new();
    dir.create("file", "");
    snapshot!(
        "sql_registry_is_a_file",
        dir.cmd(["sql", "--registry", "file", "select * from processes"])
            .assert(1)
    );
}
