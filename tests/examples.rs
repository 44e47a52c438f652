//! The examples run, and print what their pages say.

mod running;

use std::path::Path;

use running::{example, output};

// Examples that bring a part of their own, for the suites in their own tests.
#[allow(dead_code, reason = "it is a program")]
#[path = "../examples/custom_blob_backend.rs"]
mod custom_blob_backend;
#[allow(dead_code, reason = "it is a program")]
#[path = "../examples/custom_handler.rs"]
mod custom_handler;
#[allow(dead_code, reason = "it is a program")]
#[path = "../examples/custom_metadata_backend.rs"]
mod custom_metadata_backend;

// shows: rows 1-7, 12, 18, 21
#[test]
fn sales_analyzer_ends_with_the_report_of_its_seven_processes() {
    let text = output(&mut example("sales_analyzer"));
    for line in [
        "first run: configured as config:plugin",
        "5 columns, 5 rows",
        "Northeast: called the service, kept for 300 s",
        "Northeast: no call needed",
        "the file has changed; analysed again: 6 rows",
        "Configuration (manual mode): 1 entries",
        "File analysis (file mode): 1 entries",
        "API responses (TTL mode): 3 entries",
        "hits: 6\n",
        "misses: 6\n",
        "hit rate: 50.0%\n",
        "entries: 5\n",
    ] {
        assert!(text.contains(line), "{line:?} is missing in:\n{text}");
    }
    assert!(!text.contains("stale") && !text.contains("expired"), "{text}");
}

// shows: row U49
#[test]
fn fallback_goes_on_without_its_drive_and_brings_everything_there() {
    let text = output(&mut example("fallback"));
    let after = text.split_once("the drive is unmounted\n").expect("the drive is unmounted").1;
    for line in [", 0 read, the same words: true\nthe drive is back\n", "everything is on the drive\n"] {
        assert!(after.contains(line), "{line:?} is missing in:\n{text}");
    }
    assert!(after.ends_with(", 0 read, the same words: true\n"), "{text}");
}

// shows: rows 23-31
#[test]
fn shared_plugins_keeps_three_plugins_apart() {
    let text = output(&mut example("shared_plugins"));
    for line in [
        "code-analyzer sees its own data: true",
        "code-analyzer sees doc-generator's data: false",
        "code-analyzer: 1 entries",
        "1/1 hits/misses",
        "doc-generator: 1 entries",
        "test-generator: 1 entries",
        "all: 3 namespaces, 3 entries",
        "cleared 1 entries of code-analyzer",
        "doc-generator's data intact: true",
        "test-generator's data intact: true",
    ] {
        assert!(text.contains(line), "{line:?} is missing in:\n{text}");
    }
    assert_eq!(text.matches("1/0 hits/misses").count(), 2, "{text}");
}

#[test]
fn tables_reads_one_column_with_a_fraction_of_the_bytes() {
    let text = output(&mut example("tables"));
    assert!(text.contains("read 100000 rows of 8 columns"), "{text}");
    assert!(text.contains("all columns") && text.contains("in the West"), "{text}");
    let line =
        text.lines().find(|line| line.starts_with("bytes read for it")).expect("it says how many bytes");
    let percent = line.rsplit([',', '%']).nth(1).and_then(|n| n.trim().parse::<f64>().ok());
    assert!(percent.is_some_and(|percent| percent < 20.0), "{line}");
}

// shows: rows 2, 3
#[test]
fn quickstart_computes_a_file_once_and_again_only_when_it_changes() {
    let folder = tempfile::tempdir().unwrap();
    let files = folder.path().join("files");
    fs_err::create_dir_all(files.join("sub")).unwrap();
    for (name, text) in [("a.txt", "one two\nthree\n"), ("b.md", "# title\n"), ("sub/c.txt", "x\n")] {
        fs_err::write(files.join(name), text).unwrap();
    }
    let run = || output(example("quickstart").arg(&files).arg("--cache").arg(folder.path().join("cache")));
    let line = |text: &str, start: &str| {
        text.lines()
            .find(|line| line.starts_with(start))
            .unwrap_or_else(|| panic!("no {start} in {text}"))
            .to_owned()
    };
    let first = run();
    assert!(line(&first, "first pass").ends_with("4 lines, 3 files computed, 0 hits, 4 misses"), "{first}");
    assert!(line(&first, "second pass").ends_with("4 lines, 0 files computed, 4 hits, 0 misses"), "{first}");
    assert!(line(&first, "the cache lies in").ends_with(&folder.path().join("cache").display().to_string()));
    let second = run();
    assert!(line(&second, "first pass").ends_with("4 lines, 0 files computed, 4 hits, 0 misses"), "{second}");
    touch_with(&files.join("b.md"), "# title\n\nmore\n");
    let third = run();
    assert!(line(&third, "first pass").ends_with("6 lines, 1 files computed, 2 hits, 2 misses"), "{third}");
}

fn touch_with(path: &Path, text: &str) {
    fs_err::write(path, text).unwrap();
}

// shows: rows 53, 57, 61
#[test]
fn compose_from_config_makes_three_caches_of_one_program() {
    let folder = tempfile::tempdir().unwrap();
    let run = |name: &str, variables: &[(&str, &str)]| {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/compose_from_config").join(name);
        let mut command = example("compose_from_config");
        command.arg(file).env("CACHE_FOLDER", folder.path()).envs(variables.iter().copied());
        output(&mut command)
    };
    let holds = |text: &str, lines: &[&str]| {
        for line in lines {
            assert!(text.contains(line), "{line:?} is missing in:\n{text}");
        }
    };
    let memory = run("memory.toml", &[("CACHENESS_TTL", "90s")]);
    holds(&memory, &["ttl = \"1m 30s\"", "policy = \"lfu\"", "run 1 of this cache", "the same: true"]);
    let disk = run("sqlite_and_files.toml", &[]);
    holds(&disk, &["compression_level = 9", "/values\"", "run 1 of"]);
    holds(&run("sqlite_and_files.toml", &[]), &["run 2 of this cache", "the same: true"]);
    assert!(folder.path().join("values").is_dir() && folder.path().join("index.sqlite").is_file());
    holds(&run("volatile_index.toml", &[]), &["backend = \"sqlite_memory\"", "run 1 of", "the same: true"]);
    holds(&run("volatile_index.toml", &[]), &["run 1 of this cache"]);
}

// shows: row 46
#[test]
fn custom_handler_goes_before_the_built_in_one() {
    let text = output(&mut example("custom_handler"));
    for line in [
        "stored by `columns`: ",
        "header: {\"row_count\":86400,\"columns\":[[\"pressure\",",
        "the same comes back: true",
        "one column alone: [\"pressure\"]",
    ] {
        assert!(text.contains(line), "{line:?} is missing in:\n{text}");
    }
    let stored = text.split_once("`columns`: ").and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
    assert!(stored.is_some_and(|bytes: u64| bytes < 2 * 8 * 86_400 / 10), "compressed: {text}");
}

// shows: row 53
#[test]
fn custom_metadata_backend_keeps_its_entries_over_two_opens() {
    let text = output(&mut example("custom_metadata_backend"));
    assert!(text.contains("opened 1 times, counted 1; 1 entries in `redb`"), "{text}");
    assert!(text.contains("opened 2 times, counted 2; 1 entries in `redb`"), "{text}");
}

// shows: rows 57, 59
#[test]
fn custom_blob_backend_puts_objects_under_its_prefix() {
    let text = output(&mut example("custom_blob_backend"));
    assert!(text.contains("come back the same: true; objects under cache/v1: 1"), "{text}");
}

/// The code of an example that a page of the guide shows.
fn shown(example: &str) -> &str {
    let (_, code) = example.split_once("\n\nuse ").expect("it begins with what it uses");
    let (code, _) = code.split_once("\nfn main()").expect("it is a program");
    code.trim_end()
}

#[test]
fn the_guides_show_the_code_of_the_examples() {
    for (page, text, example) in [
        (
            "writing-a-metadata-backend.md",
            include_str!("../docs/writing-a-metadata-backend.md"),
            include_str!("../examples/custom_metadata_backend.rs"),
        ),
        (
            "writing-a-blob-backend.md",
            include_str!("../docs/writing-a-blob-backend.md"),
            include_str!("../examples/custom_blob_backend.rs"),
        ),
    ] {
        let listing = shown(example);
        assert!(text.contains(listing), "docs/{page} shows other code than its example; copy it anew");
        let lines = listing.lines().filter(|line| !line.trim().is_empty()).count();
        assert!(lines < 150, "docs/{page} promises a backend in less than 150 lines; it has {lines}");
    }
}

// shows: rows 94, U47
#[test]
fn custom_policy_evicts_by_its_own_ranks() {
    let text = output(&mut example("custom_policy"));
    for line in [
        "worth (ours): The one that took",
        "by worth, there are left: monthly, weekly, yearly\n",
        "first in, first out, there are left: extra, monthly, weekly\n",
        "another program: ",
        "`worth`, which is not registered",
        "opened again by worth\n",
    ] {
        assert!(text.contains(line), "{line:?} is missing in:\n{text}");
    }
}

// shows: row 101
#[test]
fn degraded_goes_on_while_its_server_is_gone() {
    let text = output(&mut example("degraded"));
    let lines: Vec<&str> = text.lines().collect();
    let counted: Vec<&str> =
        lines.iter().filter_map(|line| line.split_once(" words: ")).map(|(_, rest)| rest).collect();
    let hits = |line: &str| line.split(' ').next().and_then(|hits| hits.parse::<usize>().ok());
    let pages = hits(counted[1]).expect("a number");
    let all_hits = format!("{pages} hits, 0 computed, 0 queued");
    let none = |queued: usize| format!("0 hits, {pages} computed, {queued} queued");
    assert!(pages > 10, "{text}");
    assert_eq!(counted, [none(0), all_hits.clone(), none(pages), all_hits.clone(), all_hits], "{text}");
    for line in [
        "event: far is down",
        &format!("health: down, {pages} writes wait"),
        "event: far is ok",
        "health: ok",
    ] {
        assert!(lines.contains(&line), "{line:?} is missing in:\n{text}");
    }
}

// shows: rows 66, 109
#[test]
fn observability_prints_events_logs_and_metrics() {
    let text = output(&mut example("observability"));
    for line in [
        "event: answer was put by msgpack, 1 bytes\n",
        "event: answer was a hit of 1 bytes\n",
        "event: question was a miss: absent\n",
        "event: answer made room\n",
        r#""fields":{"message":"put","namespace":"default","key":"answer","handler":"msgpack","bytes":1,"size":1,"outcome":"stored"}"#,
        r#"metric: cacheness_hits_total{namespace="default"} 1"#,
        r#"metric: cacheness_entries{namespace="default"} 2"#,
    ] {
        assert!(text.contains(line), "{line:?} is missing in:\n{text}");
    }
}
