//! Opening: many at once, other formats, other files.

use std::sync::Barrier;

use cacheness_core::{ErrorKind, OpenMode};

use super::{error_of_open, open_in, open_store, put, stranger, subject};
use crate::sqlite::writer;

const FOLDER: &str = "TEST_FOLDER";
const AT_ONCE: usize = 16;

#[test]
fn sixteen_threads_open_a_new_index_at_once() {
    let subject = subject();
    let barrier = Barrier::new(AT_ONCE);
    let ids: Vec<_> = std::thread::scope(|scope| {
        let open = || {
            barrier.wait();
            open_store(subject.folder()).unwrap().cache
        };
        let threads: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(open)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0]), "all open the same cache: {ids:?}");
}

#[test]
fn sixteen_processes_open_a_new_index_at_once_and_lose_no_put() {
    let subject = subject();
    if let Some(folder) = std::env::var_os(FOLDER) {
        // This is one of the sixteen.
        let store = open_store(folder.as_ref()).unwrap();
        for i in 0..20 {
            let key = format!("{}-{i}", std::process::id());
            writer::apply(&store, put(&subject, &key)).unwrap();
        }
        return;
    }
    let name = "sqlite::tests::opening::sixteen_processes_open_a_new_index_at_once_and_lose_no_put";
    let children: Vec<_> = (0..AT_ONCE)
        .map(|_| {
            let mut command = std::process::Command::new(std::env::current_exe().unwrap());
            command.args(["--exact", name]).env(FOLDER, subject.folder());
            command.stdout(std::process::Stdio::null()).spawn().unwrap()
        })
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success(), "a process could not open the index or put");
    }
    let entries =
        open_store(subject.folder()).unwrap().read(|session| crate::sqlite::reader::stats(session, None));
    assert_eq!(entries.unwrap().entries, AT_ONCE as u64 * 20);
}

#[tokio::test]
async fn a_newer_format_is_refused_and_both_numbers_are_named() {
    let subject = subject();
    subject.open().await.close().await.unwrap();
    stranger(subject.folder()).pragma_update(None, "user_version", 7).unwrap();
    let error = error_of_open(subject.folder(), OpenMode::Create).await;
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let message = error.to_string();
    assert!(message.contains("format 7") && message.contains("up to 1"), "{message}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_named_and_left_as_it_is() {
    let subject = subject();
    let path = subject.folder().join("index.sqlite");
    let text = "not a database, but long enough to be looked at ".repeat(50);
    fs_err::write(&path, &text).unwrap();
    let error = error_of_open(subject.folder(), OpenMode::Create).await;
    assert_eq!(error.kind(), ErrorKind::Corrupted, "{error}");
    assert!(error.to_string().contains("index.sqlite"), "{error}");
    assert_eq!(fs_err::read_to_string(&path).unwrap(), text);
}

#[tokio::test]
async fn the_database_of_another_program_is_refused_and_left_as_it_is() {
    let subject = subject();
    stranger(subject.folder()).execute_batch("CREATE TABLE theirs (a)").unwrap();
    let error = error_of_open(subject.folder(), OpenMode::Create).await;
    assert_eq!(error.kind(), ErrorKind::ConfigInvalid, "{error}");
    let count = "SELECT count(*) FROM sqlite_schema";
    let tables: i64 = stranger(subject.folder()).query_row(count, (), |row| row.get(0)).unwrap();
    assert_eq!(tables, 1);
}

#[tokio::test]
async fn opening_what_must_exist_creates_nothing() {
    let subject = subject();
    let error = error_of_open(subject.folder(), OpenMode::Existing).await;
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert_eq!(fs_err::read_dir(subject.folder()).unwrap().count(), 0, "a file was created");
    subject.open().await.close().await.unwrap();
    open_in(subject.folder(), OpenMode::Existing).await.unwrap();
}

#[tokio::test]
async fn after_a_close_the_log_is_gone() {
    let subject = subject();
    let store = subject.open().await;
    store.put(subject.entry("default", "k")).await;
    store.close().await.unwrap();
    let mut names: Vec<_> = fs_err::read_dir(subject.folder())
        .unwrap()
        .map(|file| file.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert_eq!(
        names,
        ["index.lock", "index.sqlite", "index.sqlite-reserve"],
        "the log has been written into the database"
    );
}
