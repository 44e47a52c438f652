//! The snapshot takes over from the journal, and whatever an interruption on the way leaves can be read.

use cacheness_core::{ErrorKind, Permissions};

use super::*;
use crate::json::files::Files;
use crate::json::journal;

/// Adds to so many rows until the snapshot was replaced `times` times, and returns how many there are then.
fn write_until_replaced(store: &Store, folder: &Path, mut rows: usize, times: usize) -> usize {
    let mut seen = 0;
    let mut last = fs_err::read(folder.join("index.json")).unwrap();
    while seen < times {
        assert!(store.write(setting(&format!("k{rows:05}"), &"v".repeat(1000))).unwrap());
        rows += 1;
        let now = fs_err::read(folder.join("index.json")).unwrap();
        if now != last {
            (last, seen) = (now, seen + 1);
        }
    }
    rows
}

fn count(store: &Store) -> usize {
    value(store, "k00000");
    store.read_known(|rows| rows.len()).unwrap()
}

#[test]
fn a_long_journal_becomes_a_snapshot_and_others_that_are_open_go_along() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_rows(folder.path()).unwrap();
    let other = open_rows(folder.path()).unwrap();
    let behind = open_rows(folder.path()).unwrap();
    let rows = write_until_replaced(&store, folder.path(), 0, 1);
    assert!((60..70).contains(&rows), "64 KiB of journal hold {rows} writes");
    assert_eq!(count(&other), rows);
    assert!(fs_err::metadata(folder.path().join("index.json.journal")).unwrap().len() < 200);
    let more = write_until_replaced(&store, folder.path(), rows, 2);
    assert!(more > 3 * rows, "the journal may grow as long as the snapshot");
    assert_eq!((count(&other), count(&behind)), (more, more));
    assert!(behind.write(setting("z", "behind")).unwrap());
    assert_eq!(value(&store, "z").as_deref(), Some("behind"));
    assert_eq!(count(&open_rows(folder.path()).unwrap()), more + 1);
}

#[test]
fn a_short_journal_is_not_touched_by_opening_and_closing() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_rows(folder.path()).unwrap();
    store.write(setting("a", "1")).unwrap();
    store.close();
    let before = fs_err::read(folder.path().join("index.json.journal")).unwrap();
    open_rows(folder.path()).unwrap().close();
    assert_eq!(fs_err::read(folder.path().join("index.json.journal")).unwrap(), before);
    assert_eq!(
        names_in(folder.path()),
        ["index.json", "index.json.journal", "index.json.lock", "index.json.users"]
    );
}

#[test]
fn a_journal_that_was_ended_without_a_new_snapshot_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index.json.journal");
    let store = open_rows(folder.path()).unwrap();
    for i in 0..3 {
        store.write(setting("a", &i.to_string())).unwrap();
        let ended = [fs_err::read(&path).unwrap(), journal::last_line(i + 1).into_bytes()].concat();
        fs_err::write(&path, ended).unwrap();
        let other = (i == 1).then(|| open_rows(folder.path()).unwrap());
        assert_eq!(value(other.as_ref().unwrap_or(&store), "a"), Some(i.to_string()));
    }
    store.write(setting("b", "after")).unwrap();
    let other = open_rows(folder.path()).unwrap();
    assert_eq!((value(&other, "a").as_deref(), value(&other, "b").as_deref()), (Some("2"), Some("after")));
}

#[test]
fn a_new_snapshot_beside_the_journal_before_it_is_read_and_begins_its_own() {
    for writes_first in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::new(folder.path().join("index.json"), Permissions::Private);
        let store = open_rows(folder.path()).unwrap();
        store.write(setting("a", "1")).unwrap();
        store.write(setting("b", "2")).unwrap();

        // As far as a process came that died before it began the new journal.
        let (mut snapshot, _) = files.read_snapshot().unwrap().unwrap();
        snapshot.identity.generation += 1;
        let rows = store.read_known(Clone::clone).unwrap();
        files.prepare_snapshot(&snapshot.identity, &rows).unwrap();
        let ended = [fs_err::read(&files.journal).unwrap(), journal::last_line(2).into_bytes()].concat();
        fs_err::write(&files.journal, ended).unwrap();
        files.publish_snapshot().unwrap();

        if writes_first {
            store.write(setting("c", "3")).unwrap();
        }
        let other = open_rows(folder.path()).unwrap();
        assert_eq!(value(&other, "b").as_deref(), Some("2"));
        other.write(setting("d", "4")).unwrap();
        assert_eq!(value(&store, "c").is_some(), writes_first);
        assert_eq!(value(&store, "d").as_deref(), Some("4"));
    }
}

#[test]
fn a_journal_that_is_gone_is_damage_where_no_crash_leaves_none() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_rows(folder.path()).unwrap();
    let journal = folder.path().join("index.json.journal");
    // As far as a process came that died while it made the index.
    fs_err::remove_file(&journal).unwrap();
    drop(store);
    let store = open_rows(folder.path()).unwrap();
    write_until_replaced(&store, folder.path(), 0, 1);
    store.close();
    fs_err::remove_file(&journal).unwrap();
    let error = open_rows(folder.path()).err().unwrap();
    assert!(error.to_string().contains("journal is gone"), "{error}");
}

#[test]
fn what_an_interrupted_replacement_left_is_removed_on_open() {
    let folder = tempfile::tempdir().unwrap();
    open_rows(folder.path()).unwrap().close();
    for name in ["index.json.new", "index.json.journal.new"] {
        fs_err::write(folder.path().join(name), "half a").unwrap();
    }
    open_rows(folder.path()).unwrap();
    assert_eq!(
        names_in(folder.path()),
        ["index.json", "index.json.journal", "index.json.lock", "index.json.users"]
    );
}

#[test]
fn another_index_in_the_same_place_is_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_rows(folder.path()).unwrap();
    fs_err::remove_file(folder.path().join("index.json")).unwrap();
    fs_err::remove_file(folder.path().join("index.json.journal")).unwrap();
    let newer = open_rows(folder.path()).unwrap();
    newer.write(setting("new", "1")).unwrap();
    assert_eq!(store.write(setting("old", "1")).unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(open_rows(folder.path()).unwrap().read_known(|rows| rows.len()).unwrap(), 1);
}

/// What happens to the folder of an index that is open; `true` where what is there afterwards can be opened.
type Fate = fn(&Path) -> bool;

#[test]
fn a_write_into_files_that_lost_their_place_is_an_error() {
    fn copy(from: &Path, to: &Path) {
        fs_err::create_dir(to).unwrap();
        for name in names_in(from) {
            fs_err::copy(from.join(&name), to.join(&name)).unwrap();
        }
    }
    let fates: [Fate; 4] = [
        |folder| {
            fs_err::remove_dir_all(folder).unwrap();
            false
        },
        |folder| {
            fs_err::remove_dir_all(folder).unwrap();
            fs_err::create_dir(folder).unwrap();
            open_rows(folder).unwrap().write(setting("new", "1")).unwrap();
            true
        },
        |folder| {
            let aside = folder.with_extension("aside");
            fs_err::rename(folder, &aside).unwrap();
            copy(&aside, folder);
            true
        },
        |folder| {
            let journal = folder.join("index.json.journal");
            let bytes = fs_err::read(&journal).unwrap();
            fs_err::remove_file(&journal).unwrap();
            fs_err::write(&journal, bytes).unwrap();
            true
        },
    ];
    for (i, fate) in fates.into_iter().enumerate() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("cache");
        let store = open_rows(&folder).unwrap();
        store.write(setting("a", "1")).unwrap();
        let opens = fate(&folder);
        for _ in 0..2 {
            let error = store.write(setting("lost", "1")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Conflict, "fate {i}: {error}");
            assert!(error.to_string().contains("open the cache anew"), "{error}");
        }
        assert_eq!(store.catch_up().unwrap_err().kind(), ErrorKind::Conflict, "fate {i}");
        if opens {
            assert_eq!(value(&open_rows(&folder).unwrap(), "lost"), None);
        }
    }
}

#[cfg(unix)]
#[test]
fn a_read_notices_that_the_files_are_gone() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_rows(folder.path()).unwrap();
    store.write(setting("a", "1")).unwrap();
    assert!(store.read_current(|_| ()).unwrap().is_some());
    fs_err::remove_dir_all(folder.path()).unwrap();
    assert!(store.read_current(|_| ()).unwrap().is_none());
}

#[cfg(unix)]
#[test]
fn an_index_that_is_opened_by_a_link_is_the_same_index() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open_rows(folder.path()).unwrap();
    let link = elsewhere.path().join("index.json");
    fs_err::os::unix::fs::symlink(folder.path().join("index.json"), &link).unwrap();
    let linked = open_rows(elsewhere.path()).unwrap();
    let rows = write_until_replaced(&linked, folder.path(), 0, 1);
    assert_eq!(count(&store), rows);
    assert_eq!(names_in(elsewhere.path()), ["index.json"]);
    assert!(fs_err::symlink_metadata(&link).unwrap().is_symlink());
}
