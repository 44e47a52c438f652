//! What is particular to the backend `filesystem`: its layout, its marker, and what it does not follow.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use cacheness_core::{
    Blob, BlobBackend, BlobId, BlobKey, BlobSource, CacheId, Durability, Env, ErrorKind, OpenContext,
    OpenMode, StagedFile,
};
use fs_err as fs;

use super::FilesystemBlobs;

async fn open(path: &Path) -> FilesystemBlobs {
    FilesystemBlobs::open(path, &OpenContext::new(Env::new())).await.unwrap()
}

fn key(cache: CacheId) -> BlobKey {
    BlobKey { cache, blob: BlobId::new(Env::new().now()) }
}

fn bytes(content: &'static [u8]) -> BlobSource {
    BlobSource::Bytes(Bytes::from_static(content))
}

async fn all(blobs: &FilesystemBlobs, cache: CacheId, limit: usize) -> Vec<BlobId> {
    let (mut listed, mut after) = (Vec::new(), None::<String>);
    loop {
        let page = blobs.list_keys(cache, after.as_deref(), limit).await.unwrap();
        assert!(page.blobs.len() <= limit);
        listed.extend(page.blobs);
        after = page.next;
        if after.is_none() {
            return listed;
        }
    }
}

#[tokio::test]
async fn a_blob_lies_two_folders_deep_by_the_last_digits_of_its_id() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = open(dir.path()).await;
    let key = key(CacheId::random());
    blobs.put(&key, bytes(b"content")).await.unwrap();
    let id = key.blob.to_string();
    let path = dir.path().join(key.cache.to_string()).join(&id[28..30]).join(&id[30..]).join(&id);
    assert_eq!(fs::read(path).unwrap(), b"content");
    assert_eq!(fs::read_to_string(dir.path().join("cacheness-blobs")).unwrap(), "1\n");
    assert_eq!(fs::read_dir(dir.path().join("staging")).unwrap().count(), 0);
}

#[tokio::test]
async fn without_the_marker_nothing_is_said_to_be_missing() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = open(dir.path()).await;
    let key = key(CacheId::random());
    assert!(blobs.get(&key).await.unwrap().is_none());
    assert!(!blobs.exists(&key).await.unwrap());
    assert!(!blobs.delete(&key).await.unwrap());
    assert!(blobs.list_keys(key.cache, None, 10).await.unwrap().blobs.is_empty());

    fs::remove_file(dir.path().join("cacheness-blobs")).unwrap();
    let errors = [
        blobs.get(&key).await.unwrap_err(),
        blobs.get_range(&key, 0..1).await.unwrap_err(),
        blobs.exists(&key).await.unwrap_err(),
        blobs.delete(&key).await.unwrap_err(),
        blobs.list_keys(key.cache, None, 10).await.unwrap_err(),
        blobs.put(&key, bytes(b"x")).await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.to_string().contains(&*dir.path().to_string_lossy()), "{error}");
    }
}

#[tokio::test]
async fn a_put_does_not_make_a_store_anew_that_has_gone_away() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("blobs");
    let blobs = open(&root).await;
    fs::remove_dir_all(&root).unwrap();
    assert_eq!(
        blobs.put(&key(CacheId::random()), bytes(b"x")).await.unwrap_err().kind(),
        ErrorKind::Unavailable
    );
    assert!(!root.exists());
}

#[tokio::test]
async fn opening_what_must_exist_creates_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("blobs");
    let context = OpenContext::new(Env::new()).with_mode(OpenMode::Existing);
    assert_eq!(FilesystemBlobs::open(&root, &context).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert!(!root.exists());
    open(&root).await;
    FilesystemBlobs::open(&root, &context).await.unwrap();
}

#[tokio::test]
async fn a_newer_or_damaged_marker_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for (content, kind) in
        [("2\n", ErrorKind::Unsupported), ("", ErrorKind::Corrupted), ("?", ErrorKind::Corrupted)]
    {
        fs::write(dir.path().join("cacheness-blobs"), content).unwrap();
        let error = FilesystemBlobs::open(dir.path(), &OpenContext::new(Env::new())).await.unwrap_err();
        assert_eq!(error.kind(), kind);
    }
}

#[tokio::test]
async fn two_caches_in_one_folder_do_not_see_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (open(dir.path()).await, open(dir.path()).await);
    let key = key(CacheId::random());
    let other = BlobKey { cache: CacheId::random(), blob: key.blob };
    one.put(&key, bytes(b"one")).await.unwrap();
    assert!(!two.exists(&other).await.unwrap());
    two.put(&other, bytes(b"two")).await.unwrap();
    assert_eq!(all(&one, key.cache, 10).await, [key.blob]);
    assert!(two.delete(&other).await.unwrap());
    assert!(one.exists(&key).await.unwrap());
}

#[cfg(unix)]
#[tokio::test]
async fn a_link_or_a_folder_in_place_of_a_blob_is_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = open(dir.path()).await;
    let secret = dir.path().join("secret");
    fs::write(&secret, b"secret").unwrap();
    let key = key(CacheId::random());
    blobs.put(&key, bytes(b"content")).await.unwrap();
    let path = blobs.folder().path_of(&key);
    fs::remove_file(&path).unwrap();
    fs_err::os::unix::fs::symlink(&secret, &path).unwrap();
    assert_eq!(blobs.get(&key).await.unwrap_err().kind(), ErrorKind::Corrupted);
    assert_eq!(blobs.get_range(&key, 0..3).await.unwrap_err().kind(), ErrorKind::Corrupted);
    assert!(!blobs.exists(&key).await.unwrap());
    assert_eq!(all(&blobs, key.cache, 10).await, []);
    assert!(blobs.delete(&key).await.unwrap());
    assert_eq!(fs::read(&secret).unwrap(), b"secret");
    fs::create_dir(&path).unwrap();
    assert_eq!(blobs.get(&key).await.unwrap_err().kind(), ErrorKind::Corrupted);
}

#[cfg(unix)]
#[tokio::test]
async fn nothing_is_written_read_or_deleted_where_a_folder_is_a_link() {
    use fs_err::os::unix::fs::symlink;

    // The cache's own folder, and the two below it.
    for step in 0..3 {
        let dir = tempfile::tempdir().unwrap();
        let (store, outside) = (dir.path().join("store"), dir.path().join("outside"));
        let blobs = open(&store).await;
        let there = key(CacheId::random());
        blobs.put(&there, bytes(b"content")).await.unwrap();
        let path = blobs.folder().path_of(&there);
        // One of another time whose last digits are the same lies in the same folder.
        let id = format!("f{}", &there.blob.to_string()[1..]);
        let beside = BlobKey { blob: BlobId::parse(&id).unwrap(), ..there };
        assert_ne!(beside, there);

        let folder = path.ancestors().nth(3 - step).unwrap();
        fs::rename(folder, &outside).unwrap();
        symlink(&outside, folder).unwrap();
        let refused = [
            blobs.put(&beside, bytes(b"other")).await.unwrap_err(),
            blobs.get(&there).await.unwrap_err(),
            blobs.get_range(&there, 0..3).await.unwrap_err(),
            blobs.exists(&there).await.unwrap_err(),
            blobs.delete(&there).await.unwrap_err(),
        ];
        for error in refused {
            assert_eq!(error.kind(), ErrorKind::Corrupted, "step {step}: {error}");
        }
        match blobs.list_keys(there.cache, None, 10).await {
            Ok(page) => assert!(step > 0 && page.blobs.is_empty(), "step {step}"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupted, "step {step}: {error}"),
        }

        // Moved back, all of it is possible, so it was the link.
        fs::remove_file(folder).unwrap();
        fs::rename(&outside, folder).unwrap();
        blobs.put(&beside, bytes(b"other")).await.unwrap();
        assert_eq!(all(&blobs, there.cache, 10).await.len(), 2);
        assert_eq!(&blobs.get_range(&there, 0..7).await.unwrap().unwrap()[..], b"content");
        assert!(blobs.delete(&there).await.unwrap());
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_staged_file_is_renamed_and_not_copied() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    for durability in [Durability::Process, Durability::Power] {
        let context = OpenContext::new(Env::new()).with_durability(durability);
        let blobs = FilesystemBlobs::open(dir.path(), &context).await.unwrap();
        let file = tempfile::NamedTempFile::new_in(blobs.staging_dir().unwrap()).unwrap();
        fs::write(file.path(), vec![7; 100_000]).unwrap();
        let inode = fs::metadata(file.path()).unwrap().ino();
        let key = key(CacheId::random());
        blobs.put(&key, BlobSource::File(StagedFile::new(file, 100_000))).await.unwrap();
        let Some(Blob::File(file, 100_000)) = blobs.get(&key).await.unwrap() else {
            panic!("a large blob is a file")
        };
        assert_eq!(file.metadata().unwrap().ino(), inode);
        assert_eq!(blobs.get_range(&key, 10..90_000).await.unwrap().unwrap().len(), 89_990);
    }
}

#[tokio::test]
async fn a_file_that_was_staged_elsewhere_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = open(&dir.path().join("blobs")).await;
    let file = tempfile::NamedTempFile::new_in(dir.path()).unwrap();
    fs::write(file.path(), b"elsewhere").unwrap();
    let key = key(CacheId::random());
    blobs.put(&key, BlobSource::File(StagedFile::new(file, 9))).await.unwrap();
    assert_eq!(blobs.get_range(&key, 0..99).await.unwrap().unwrap(), "elsewhere");
}

#[tokio::test]
async fn small_blobs_come_as_bytes_and_large_ones_stay_readable_when_deleted() {
    use std::io::Read;
    let dir = tempfile::tempdir().unwrap();
    let context = OpenContext::new(Env::new()).with_durability(Durability::Power);
    let blobs = FilesystemBlobs::open(dir.path(), &context).await.unwrap();
    let (small, large) = (key(CacheId::random()), key(CacheId::random()));
    blobs.put(&small, BlobSource::Bytes(vec![1; 32 * 1024].into())).await.unwrap();
    blobs.put(&large, BlobSource::Bytes(vec![2; 32 * 1024 + 1].into())).await.unwrap();
    let Some(Blob::Bytes(bytes)) = blobs.get(&small).await.unwrap() else { panic!("a small blob is bytes") };
    assert_eq!(bytes.len(), 32 * 1024);
    let Some(Blob::File(mut file, len)) = blobs.get(&large).await.unwrap() else {
        panic!("a large blob is a file")
    };
    assert!(blobs.delete(&large).await.unwrap());
    let mut content = Vec::new();
    file.read_to_end(&mut content).unwrap();
    assert_eq!((content.len() as u64, content[0]), (len, 2));
}

#[tokio::test]
async fn files_of_crashed_processes_go_at_open_and_fresh_ones_stay() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).await);
    let staging = dir.path().join("staging");
    let now = std::time::SystemTime::from(Env::new().now());
    for (name, hours) in [(".put-old", 25), (".put-fresh", 23), ("notes.txt", 25)] {
        let file = fs::File::create(staging.join(name)).unwrap();
        file.set_modified(now - Duration::from_secs(hours * 3600)).unwrap();
    }
    drop(open(dir.path()).await);
    assert!(!staging.join(".put-old").exists());
    assert!(staging.join(".put-fresh").exists());
    assert!(staging.join("notes.txt").exists(), "what nobody of the store's made stays");
}

#[tokio::test]
async fn ten_thousand_blobs_are_listed_once_each_and_foreign_files_never() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = open(dir.path()).await;
    let cache = CacheId::random();
    let mut put = BTreeSet::new();
    for _ in 0..10_000 {
        let key = key(cache);
        blobs.folder().put(&key, bytes(b"x")).unwrap();
        put.insert(key.blob);
    }
    let some = blobs.folder().path_of(&BlobKey { cache, blob: *put.first().unwrap() });
    fs::write(some.with_file_name("notes.txt"), b"foreign").unwrap();
    let mut misplaced = *put.first().unwrap().as_bytes();
    misplaced[15] ^= 1;
    fs::write(some.with_file_name(BlobId::from_bytes(misplaced).to_string()), b"misplaced").unwrap();
    fs::write(dir.path().join(cache.to_string()).join("zz"), b"foreign").unwrap();
    for limit in [7, 1_000, usize::MAX] {
        let listed = if limit == 7 {
            blobs.list_keys(cache, None, 7).await.unwrap().blobs
        } else {
            all(&blobs, cache, limit).await
        };
        let unique: BTreeSet<BlobId> = listed.iter().copied().collect();
        assert_eq!(unique.len(), listed.len());
        if limit > 7 {
            assert_eq!(unique, put);
        }
    }
    assert_eq!(
        blobs.list_keys(cache, Some("../../etc"), 7).await.unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
}

#[tokio::test]
async fn pages_of_one_shard_go_on_where_they_ended() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = open(dir.path()).await;
    let cache = CacheId::random();
    let mut put = Vec::new();
    for i in 0..20 {
        let mut id = *BlobId::new(Env::new().now()).as_bytes();
        id[14..].copy_from_slice(&[0xab, i % 2]);
        put.push(BlobId::from_bytes(id));
        blobs.put(&BlobKey { cache, blob: put[put.len() - 1] }, bytes(b"x")).await.unwrap();
    }
    put.sort();
    for limit in [1, 3, 10, 20, 21] {
        let mut listed = all(&blobs, cache, limit).await;
        listed.sort();
        assert_eq!(listed, put);
    }
}

#[cfg(unix)]
#[tokio::test]
async fn an_error_of_the_operating_system_names_the_path() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = open(dir.path()).await;
    let key = key(CacheId::random());
    // A file in place of the cache's folder fails for every user, root too.
    fs::write(dir.path().join(key.cache.to_string()), b"").unwrap();
    for error in [blobs.put(&key, bytes(b"x")).await.unwrap_err(), blobs.get(&key).await.unwrap_err()] {
        assert!(error.to_string().contains(&key.cache.to_string()), "{error}");
        assert_ne!(error.kind(), ErrorKind::NotFound);
    }
}
