//! Writers on servers that are killed at any moment: of a batch everything is there or nothing.

mod marked;
mod network;

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use cacheness::blocking::Cache;
use cacheness::{ConfigOptions, PutOptions};
use network::{place, s3_at, server};

/// The task of a process that a test has started: the backend, the place, and the number of its first batch.
const TASK: &str = "TEST_BATCHES";

/// What has been put at any moment are keys `k0` to `k9`, all of one batch.
const KEYS: u64 = 10;

fn open(metadata: &str, place: &str) -> Cache {
    let options = match metadata {
        "postgres" => ConfigOptions::new().with("url", server("TEST_POSTGRES")).with("schema", place),
        _ => ConfigOptions::new().with("url", server("TEST_REDIS")).with("prefix", place),
    };
    let builder = Cache::builder().metadata_with(metadata, options);
    builder.blobs_with("s3", s3_at(&server("TEST_S3"), place)).open_blocking().unwrap()
}

/// Puts batches until it is killed.
fn write(task: &str) -> ! {
    let [metadata, place, first] = task.split(' ').collect::<Vec<_>>()[..] else { panic!("{task}") };
    let (cache, mut serial) = (open(metadata, place), first.parse::<u64>().unwrap());
    loop {
        // Most batches are of the index alone; of every fifth, some values lie in the store.
        let len = |at: u64| if serial.is_multiple_of(5) && at.is_multiple_of(4) { 40_000 } else { 100 };
        let values: Vec<(String, Vec<u8>)> =
            (0..KEYS).map(|at| (format!("k{at}"), marked::value(1, serial, len(at)))).collect();
        cache.put_many(values.iter().map(|(key, value)| (key, value)), PutOptions::new()).unwrap();
        writeln!(std::io::stdout().lock(), "@put {serial}").unwrap();
        serial += 1;
    }
}

// shows: row 85
#[test]
fn batches_on_servers_are_all_or_nothing() {
    if let Ok(task) = std::env::var(TASK) {
        write(&task);
    }
    let keys: Vec<String> = (0..KEYS).map(|at| format!("k{at}")).collect();
    for metadata in ["postgres", "redis"] {
        let folder = tempfile::tempdir().unwrap();
        let (place, mut first) = (place(folder.path()), 0);
        let cache = open(metadata, &place);
        for round in 0..12_u64 {
            let mut writer = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "batches_on_servers_are_all_or_nothing", "--nocapture", "--quiet"])
                .env(TASK, format!("{metadata} {place} {first}"))
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines();
            assert!(lines.any(|line| line.unwrap().contains("@put")), "the writer did not come up");
            std::thread::sleep(Duration::from_micros(round * 6_131 % 20_000));
            writer.kill().unwrap();
            writer.wait().unwrap();
            let confirmed =
                lines.map_while(Result::ok).filter_map(|line| line.split_once("@put ")?.1.parse().ok());
            first = confirmed.max().unwrap_or(first);
            // What the dead one has sent may still arrive while this reads, so all are read at once, and again and again.
            for _ in 0..5 {
                let found = cache.get_many::<Vec<u8>, _>(&keys).unwrap();
                let found: Vec<u64> =
                    found.iter().map(|value| marked::marks(value.as_ref().unwrap()).1).collect();
                assert!(
                    found.iter().all(|&serial| serial == found[0] && serial >= first),
                    "{metadata}: {found:?}, and {first} was confirmed"
                );
            }
            // Above what may still arrive.
            first += 1_000;
        }
        cache.close().unwrap();
    }
}
