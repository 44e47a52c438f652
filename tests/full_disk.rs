//! A disk that is full, has no inodes left or may not be written, and a process without file descriptors: the error says so, what was put
//! stays readable, and room that is made is used.
#![cfg(target_os = "linux")]

use std::path::{Path, PathBuf};
use std::process::Command;

use cacheness::blocking::Cache;
use cacheness::{Error, ErrorKind, PutOptions};
use fs_err as fs;

const FOLDER: &str = "TEST_SMALL_DISK";

/// Runs a test on a small file system in memory, that only a process of its own sees. Without root that takes a kernel that gives every user
/// namespaces.
fn on_small_disk(test: &str, options: &str, work: impl FnOnce(&Path)) {
    if let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) {
        mount(&["-t", "tmpfs", "-o", options, "tmpfs"], &folder);
        return work(&folder);
    }
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("unshare");
    command.arg("--mount");
    if !rustix::process::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    let command = command.arg(std::env::current_exe().unwrap()).args(["--exact", test, "--nocapture"]);
    let output = command.env(FOLDER, folder.path()).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.contains("1 passed"), "{out}\n{err}");
}

fn mount(arguments: &[&str], folder: &Path) {
    let status = Command::new("mount").args(arguments).arg(folder).status().unwrap();
    assert!(status.success(), "mount {arguments:?} failed");
}

fn as_blob() -> PutOptions {
    PutOptions::new().inline(false)
}

fn value(of: usize, len: usize) -> Vec<u8> {
    // What cannot be compressed or taken for a hole.
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&of.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// Values in the index, in blobs, and in a blob that was staged first.
const OLD: [(&str, usize); 4] = [("tiny", 10), ("inline", 1_500), ("blob", 100_000), ("staged", 2 << 20)];

fn put_old(cache: &Cache) {
    for (at, (key, len)) in OLD.into_iter().enumerate() {
        cache.put(key, &value(at, len)).unwrap();
    }
}

fn old_is_whole(cache: &Cache) {
    for (at, (key, len)) in OLD.into_iter().enumerate() {
        assert!(cache.get::<Vec<u8>, _>(key).unwrap() == Some(value(at, len)), "{key}");
    }
}

/// Puts values until one fails, and returns how many there are and the error.
fn fill(cache: &Cache, name: &str, len: usize, options: &PutOptions) -> (usize, Error) {
    for at in 0..100_000 {
        if let Err(error) = cache.put_with(format!("{name}-{at}"), &value(at, len), options.clone()) {
            return (at, error);
        }
    }
    panic!("the disk is never full");
}

/// Takes what is left of a disk.
fn take_all(folder: &Path) {
    for len in [1 << 20, 4_096, 1] {
        for at in 0.. {
            let path = folder.join(format!("filler-{len}-{at}"));
            if fs::write(&path, vec![7; len]).is_err() {
                break;
            }
        }
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

fn says(error: &Error, folder: &Path) {
    let said = error.to_string();
    assert_eq!(error.kind(), ErrorKind::StorageFull, "{said}");
    assert!(said.contains("disk") || said.contains("space"), "{said}");
    assert!(said.contains(&*folder.to_string_lossy()), "{said}");
}

fn nothing_stays_behind(cache: &Cache, folder: &Path) {
    assert_eq!(files(&folder.join("blobs/staging")), Vec::<PathBuf>::new());
    let entries = cache.list(cacheness::ListOptions::new()).unwrap().entries;
    let named = entries.iter().filter(|entry| entry.blob_id().is_some()).count();
    // The markers of the store and of the cache are no blobs.
    assert_eq!(files(&folder.join("blobs")).len() - 2, named, "blobs that no entry names");
}

#[test]
fn on_a_full_disk_old_values_stay_and_removing_makes_room() {
    on_small_disk("on_a_full_disk_old_values_stay_and_removing_makes_room", "size=24m", |disk| {
        let folder = disk.join("cache");
        let cache = Cache::open(&folder).unwrap();
        put_old(&cache);
        let (large, error) = fill(&cache, "large", 3 << 20, &as_blob());
        says(&error, &folder);
        let (blobs, error) = fill(&cache, "blob", 60_000, &as_blob());
        says(&error, &folder);
        let (_, error) = fill(&cache, "inline", 1_000, &PutOptions::new());
        says(&error, &folder);
        assert!(large > 2 && blobs > 2);
        take_all(disk);
        old_is_whole(&cache);

        // Neither the index nor its log has room, so that this takes the reserve.
        assert!(cache.remove("large-1").unwrap());
        cache.put_with("after", &value(1, 2 << 20), as_blob()).unwrap();
        assert!(cache.get::<Vec<u8>, _>("after").unwrap() == Some(value(1, 2 << 20)));
        assert!(cache.remove_many(&["blob-0", "blob-1", "inline-0"]).unwrap() == 3);
        cache.put("small", "value").unwrap();
        old_is_whole(&cache);
        nothing_stays_behind(&cache, &folder);
        cache.clear().unwrap();
        put_old(&cache);
        old_is_whole(&cache);
    });
}

#[test]
fn a_cache_on_a_full_disk_can_be_opened_read_and_emptied() {
    on_small_disk("a_cache_on_a_full_disk_can_be_opened_read_and_emptied", "size=16m", |disk| {
        let folder = disk.join("cache");
        let cache = Cache::open(&folder).unwrap();
        put_old(&cache);
        cache.close().unwrap();
        take_all(disk);
        let cache = Cache::open(&folder).unwrap();
        old_is_whole(&cache);
        says(&cache.put_with("new", &value(1, 100_000), as_blob()).unwrap_err(), &folder);
        assert!(cache.remove("staged").unwrap());
        cache.put_with("new", &value(1, 100_000), as_blob()).unwrap();
    });
}

#[test]
fn without_inodes_old_values_stay_and_removing_makes_room() {
    on_small_disk("without_inodes_old_values_stay_and_removing_makes_room", "nr_inodes=120", |disk| {
        let folder = disk.join("cache");
        let cache = Cache::open(&folder).unwrap();
        put_old(&cache);
        let (blobs, error) = fill(&cache, "blob", 40_000, &as_blob());
        says(&error, &folder);
        assert!(blobs > 5);
        old_is_whole(&cache);
        // What lies in the index needs no file.
        cache.put("inline-value", "value").unwrap();
        assert!(cache.remove("blob-1").unwrap());
        // Its place may lie in a folder that is not there yet, so others must go, too.
        let made = (2..blobs).find(|at| {
            let put = cache.put_with("after", &value(1, 40_000), as_blob()).is_ok();
            put || !cache.remove(format!("blob-{at}")).unwrap()
        });
        assert!(made.is_some_and(|removed| removed < 8), "{made:?} blobs had to go before one could be put");
        old_is_whole(&cache);
        nothing_stays_behind(&cache, &folder);
    });
}

#[test]
fn on_a_full_disk_a_json_index_serves_what_is_there_and_goes_on_with_room() {
    let name = "on_a_full_disk_a_json_index_serves_what_is_there_and_goes_on_with_room";
    on_small_disk(name, "size=8m", |disk| {
        let folder = disk.join("cache");
        let open = || Cache::builder().folder(&folder).metadata("json").open_blocking().unwrap();
        let cache = open();
        put_old(&cache);
        cache.put("removed", "value").unwrap();
        // This index has no reserve, so the room that is to be made is put beside it.
        fs::write(disk.join("room"), vec![7; 1 << 20]).unwrap();
        take_all(disk);
        says(&cache.put_with("new", &value(1, 100_000), as_blob()).unwrap_err(), &folder);
        // Until its journal has no room for a line.
        let (_, error) = fill(&cache, "inline", 1_000, &PutOptions::new());
        says(&error, &folder);
        old_is_whole(&cache);
        fs::remove_file(disk.join("room")).unwrap();
        assert!(cache.remove("removed").unwrap());
        cache.put_with("new", &value(1, 100_000), as_blob()).unwrap();
        old_is_whole(&cache);
        nothing_stays_behind(&cache, &folder);
        cache.close().unwrap();
        let cache = open();
        assert!(!cache.contains("removed").unwrap());
        old_is_whole(&cache);
        assert!(cache.get::<Vec<u8>, _>("new").unwrap() == Some(value(1, 100_000)));
    });
}

#[test]
fn where_a_disk_becomes_read_only_under_a_cache_it_can_be_read() {
    on_small_disk("where_a_disk_becomes_read_only_under_a_cache_it_can_be_read", "size=16m", |disk| {
        let folder = disk.join("cache");
        let cache = Cache::open(&folder).unwrap();
        put_old(&cache);
        // A file system that is being written cannot be made so in order; what is mounted over it can.
        mount(&["--bind", disk.to_str().unwrap()], disk);
        mount(&["-o", "remount,bind,ro"], disk);
        let said = cache.put_with("new", &value(1, 100), as_blob()).unwrap_err().to_string();
        assert!(said.contains("Read-only file system") && said.contains(folder.to_str().unwrap()), "{said}");
        old_is_whole(&cache);
        assert!(Command::new("umount").arg(disk).status().unwrap().success());
        cache.put_with("new", &value(1, 100), as_blob()).unwrap();
        old_is_whole(&cache);
        nothing_stays_behind(&cache, &folder);
    });
}

#[test]
fn where_blobs_may_not_be_written_they_can_be_read() {
    on_small_disk("where_blobs_may_not_be_written_they_can_be_read", "size=16m", |disk| {
        let folder = disk.join("cache");
        let cache = Cache::open(&folder).unwrap();
        put_old(&cache);
        let blobs = folder.join("blobs");
        mount(&["--bind", blobs.to_str().unwrap()], &blobs);
        mount(&["-o", "remount,bind,ro"], &blobs);
        for len in [100, 2 << 20] {
            let error = cache.put_with("new", &value(1, len), as_blob()).unwrap_err();
            let said = error.to_string();
            assert!(
                said.contains("Read-only file system") && said.contains(blobs.to_str().unwrap()),
                "{said}"
            );
        }
        old_is_whole(&cache);
        assert!(Command::new("umount").arg(&blobs).status().unwrap().success());
        cache.put_with("new", &value(1, 100), as_blob()).unwrap();
        old_is_whole(&cache);
        nothing_stays_behind(&cache, &folder);
    });
}

#[test]
fn a_cache_that_may_not_be_written_cannot_be_opened_and_is_left_as_it_is() {
    on_small_disk(
        "a_cache_that_may_not_be_written_cannot_be_opened_and_is_left_as_it_is",
        "size=16m",
        |disk| {
            let folder = disk.join("cache");
            let cache = Cache::open(&folder).unwrap();
            put_old(&cache);
            cache.close().unwrap();
            mount(&["-o", "remount,ro"], disk);
            let said = Cache::open(&folder).unwrap_err().to_string();
            assert!(
                said.contains("Read-only file system") && said.contains(folder.to_str().unwrap()),
                "{said}"
            );
            mount(&["-o", "remount,rw"], disk);
            let cache = Cache::open(&folder).unwrap();
            old_is_whole(&cache);
            nothing_stays_behind(&cache, &folder);
        },
    );
}

#[test]
fn without_file_descriptors_nothing_is_lost() {
    on_small_disk("without_file_descriptors_nothing_is_lost", "size=16m", |disk| {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let folder = disk.join("cache");
        let cache = Cache::open(&folder).unwrap();
        put_old(&cache);
        let before = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(64), ..before }).unwrap();
        let taken: Vec<_> = std::iter::from_fn(|| fs::File::open("/dev/null").ok()).collect();
        assert!(!taken.is_empty());
        let error = cache.put_with("new", &value(1, 100_000), as_blob()).unwrap_err();
        let said = error.to_string();
        assert!(said.contains("Too many open files") && said.contains(&*folder.to_string_lossy()), "{said}");
        // A blob cannot be read now, which must not cost its entry; what lies in the index can.
        assert!(cache.get::<Vec<u8>, _>("blob").unwrap().is_none());
        assert!(cache.get::<Vec<u8>, _>("tiny").unwrap() == Some(value(0, 10)));
        drop(taken);
        old_is_whole(&cache);
        cache.put_with("new", &value(1, 100_000), as_blob()).unwrap();
        nothing_stays_behind(&cache, &folder);
    });
}
