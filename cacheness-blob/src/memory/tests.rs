//! What is particular to the backend `memory`.

use bytes::Bytes;
use cacheness_core::{
    Blob, BlobBackend, BlobId, BlobKey, BlobSource, CacheId, Env, ErrorKind, StagedFile, Timestamp,
};

use super::MemoryBlobs;

fn key(cache: CacheId) -> BlobKey {
    BlobKey { cache, blob: BlobId::new(Timestamp::from_nanos(1_700_000_000_000_000_000)) }
}

#[tokio::test]
async fn pages_follow_the_order_of_ids_and_keep_to_one_cache() {
    let blobs = MemoryBlobs::new(Env::new());
    let (ours, other) = (CacheId::random(), CacheId::random());
    let mut put = Vec::new();
    for _ in 0..25 {
        let key = key(ours);
        blobs.put(&key, BlobSource::Bytes(Bytes::from_static(b"x"))).await.unwrap();
        blobs.put(&self::key(other), BlobSource::Bytes(Bytes::from_static(b"y"))).await.unwrap();
        put.push(key.blob);
    }
    put.sort();
    let (mut listed, mut after) = (Vec::new(), None::<String>);
    loop {
        let page = blobs.list_keys(ours, after.as_deref(), 10).await.unwrap();
        listed.extend(page.blobs);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(listed, put);
    let last = BlobId::from_bytes([0xff; 16]).to_string();
    assert!(blobs.list_keys(ours, Some(&last), 10).await.unwrap().blobs.is_empty());
    assert_eq!(blobs.list_keys(ours, Some("?"), 10).await.unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn a_staged_file_is_taken_into_memory() {
    let blobs = MemoryBlobs::new(Env::new());
    let file = tempfile::NamedTempFile::new().unwrap();
    fs_err::write(file.path(), b"staged").unwrap();
    let key = key(CacheId::random());
    blobs.put(&key, BlobSource::File(StagedFile::new(file, 6))).await.unwrap();
    let Some(Blob::Bytes(bytes)) = blobs.get(&key).await.unwrap() else { panic!("memory gives bytes") };
    assert_eq!(bytes, "staged");
}

#[tokio::test]
#[expect(clippy::reversed_empty_ranges, reason = "a backward range must not panic")]
async fn ranges_outside_the_blob_give_what_there_is() {
    let blobs = MemoryBlobs::new(Env::new());
    let key = key(CacheId::random());
    blobs.put(&key, BlobSource::Bytes(Bytes::from_static(b"0123456789"))).await.unwrap();
    for (range, expected) in [(2..4, "23"), (8..u64::MAX, "89"), (10..12, ""), (99..100, ""), (5..3, "")] {
        assert_eq!(blobs.get_range(&key, range).await.unwrap().unwrap(), expected);
    }
    assert!(blobs.delete(&key).await.unwrap());
    assert_eq!(blobs.get_range(&key, 0..1).await.unwrap(), None);
}
