//! Several processes on one index, and processes that are killed while they write.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use cacheness_core::{Namespace, Timestamp};

use super::*;

const FOLDER: &str = "TEST_FOLDER";
const AT_ONCE: usize = 8;
const WRITERS: usize = 4;
const PUTS: usize = 100;

/// Where this process is to do its part, if it is one of those that a test has started.
fn given_folder() -> Option<std::path::PathBuf> {
    std::env::var_os(FOLDER).map(Into::into)
}

/// Starts this test anew, in a process of its own.
fn start(name: &str, folder: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", &format!("json::tests::processes::{name}")]).env(FOLDER, folder);
    command.stdout(Stdio::piped()).spawn().unwrap()
}

fn wait_for_all(children: Vec<Child>) {
    for child in children {
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "a process failed: {said}");
    }
}

#[tokio::test]
async fn eight_processes_open_a_new_index_at_once_and_all_open_the_same() {
    if let Some(folder) = given_folder() {
        let store = open_in(&folder, OpenMode::Create).await.unwrap();
        fs_err::write(folder.join(format!("{}.id", std::process::id())), store.cache_id().to_string())
            .unwrap();
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let name = "eight_processes_open_a_new_index_at_once_and_all_open_the_same";
    wait_for_all((0..AT_ONCE).map(|_| start(name, folder.path())).collect());
    let id = open_in(folder.path(), OpenMode::Existing).await.unwrap().cache_id().to_string();
    let names = names_in(folder.path()).into_iter().filter(|name| name.ends_with(".id"));
    let ids: Vec<_> = names.map(|name| fs_err::read_to_string(folder.path().join(name)).unwrap()).collect();
    assert_eq!(ids, vec![id; AT_ONCE]);
}

#[tokio::test]
async fn four_processes_that_put_the_same_keys_lose_nothing() {
    let subject = subject();
    let name = Namespace::default();
    if let Some(folder) = given_folder() {
        let store = open_in(&folder, OpenMode::Create).await.unwrap();
        for i in 0..PUTS {
            let shared = subject.putting(subject.entry("default", &format!("shared{}", i % 10)));
            store.apply(vec![shared]).await.unwrap();
            let own = subject.putting(subject.entry("default", &format!("{}-{i}", std::process::id())));
            store.apply(vec![own]).await.unwrap();
            let mut counters = cacheness_core::Counters::default();
            counters.hits = 1;
            let batch =
                cacheness_core::AccessBatch { counters: vec![(name.clone(), counters)], accesses: vec![] };
            store.record_accesses(batch).await.unwrap();
        }
        return;
    }
    let test = "four_processes_that_put_the_same_keys_lose_nothing";
    let store = open_in(subject.folder(), OpenMode::Create).await.unwrap();
    let children = (0..WRITERS).map(|_| start(test, subject.folder())).collect();
    wait_for_all(children);
    // One that was open all the time, and one that is opened now.
    for store in [store, open_in(subject.folder(), OpenMode::Existing).await.unwrap()] {
        let stats = store.stats(None).await.unwrap();
        assert_eq!(stats.entries, (WRITERS * PUTS + 10) as u64);
        assert_eq!(stats.counters.hits, (WRITERS * PUTS) as u64);
        let far = Timestamp::from_nanos(i64::MAX);
        let superseded = store.due_garbage(far, usize::MAX).await.unwrap().len();
        assert_eq!(superseded, WRITERS * PUTS - 10, "each put of a shared key but ten left its blob behind");
    }
}

#[tokio::test]
async fn every_put_that_returned_is_there_after_the_process_was_killed() {
    let subject = subject();
    let name = Namespace::default();
    if let Some(folder) = given_folder() {
        let store = open_in(&folder, OpenMode::Create).await.unwrap();
        let mut out = std::io::stdout();
        for i in 0.. {
            let key = format!("{}-{i}", std::process::id());
            // Inline bytes make the journal grow quickly, so that it is replaced now and then.
            let put = subject.putting(subject.inline_entry("default", &key, &[0xAB; 1500]));
            store.apply(vec![put]).await.unwrap();
            writeln!(out, "returned {key}").unwrap();
        }
        return;
    }
    let test = "every_put_that_returned_is_there_after_the_process_was_killed";
    let watching = open_in(subject.folder(), OpenMode::Create).await.unwrap();
    let mut returned = Vec::new();
    for round in 0..20_u64 {
        let mut child = start(test, subject.folder());
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // From the first put on, so that each process is killed while it writes.
        let first = lines.by_ref().map(Result::unwrap).find(|line| line.contains("returned "));
        assert!(first.is_some(), "the process of round {round} could not put");
        let killer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_micros(round * round * 7919 % 60_000));
            child.kill().unwrap();
            child.wait().unwrap();
        });
        let said = first.into_iter().chain(lines.map_while(Result::ok));
        returned.extend(said.filter_map(|line| line.split_once("returned ").map(|(_, key)| key.to_owned())));
        killer.join().unwrap();

        let opened = open_in(subject.folder(), OpenMode::Existing).await.unwrap();
        for store in [&watching, &opened] {
            for key in &returned {
                assert!(
                    store.get_entry(&name, key).await.unwrap().is_some(),
                    "{key} of round {round} is gone"
                );
            }
            let entries = store.stats(None).await.unwrap().entries;
            let unreported = entries - returned.len() as u64;
            assert!(unreported <= round + 1, "only the put that was killed may be there without its report");
        }
    }
    assert!(returned.len() > 100, "too few puts to mean anything: {}", returned.len());
    let index = fs_err::read_to_string(subject.folder().join("index.json")).unwrap();
    assert!(!index.contains("\"generation\":1,"), "the journal was replaced at least once");
}
