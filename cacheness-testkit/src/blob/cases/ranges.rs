//! Ranges of a blob.

use std::ops::Range;

use cacheness_core::BlobSource;

use crate::blob::BlobSubject;

pub async fn a_range_gives_just_its_bytes(subject: &BlobSubject) {
    let store = subject.open().await;
    let bytes = subject.bytes(300_000, 1);
    let (from_memory, from_file) = (subject.key(), subject.key());
    store.put_bytes(&from_memory, &bytes).await;
    store.store(&from_file, BlobSource::File(subject.staged(&store, &bytes))).await;
    for key in [from_memory, from_file] {
        for range in [0..1, 0..300_000, 1..2, 262_100..262_200, 299_999..300_000, 5..5, 0..0] {
            let got =
                store.range(&key, range.clone()).await.expect("a range of a blob that was put is found");
            let expected = &bytes[range.start as usize..range.end as usize];
            assert!(got == expected, "the range {range:?} gives just its bytes; {} came", got.len());
        }
    }
}

pub async fn a_range_past_the_end_gives_what_there_is(subject: &BlobSubject) {
    let store = subject.open().await;
    let (key, bytes) = (subject.key(), subject.bytes(1000, 2));
    store.put_bytes(&key, &bytes).await;
    // From `start` to past the end, by a little and by as much as there is: nothing may be reserved for it.
    let ranges: [(Range<u64>, usize); 6] = [
        (900..1100, 900),
        (999..u64::MAX, 999),
        (0..u64::MAX, 0),
        (1000..1001, 1000),
        (5000..6000, 1000),
        (u64::MAX - 1..u64::MAX, 1000),
    ];
    for (range, from) in ranges {
        let got = store.range(&key, range.clone()).await.expect("a range of a blob that was put is found");
        assert!(
            got == bytes[from..],
            "the range {range:?} of 1000 bytes gives what there is; {} came",
            got.len()
        );
    }
}

pub async fn a_range_of_a_missing_blob_is_none(subject: &BlobSubject) {
    let store = subject.open().await;
    assert_eq!(store.range(&subject.key(), 0..10).await, None, "a range of a missing blob is None");
    let key = subject.key();
    store.put_bytes(&key, b"value").await;
    store.remove(&key).await;
    assert_eq!(store.range(&key, 0..10).await, None, "a range of a deleted blob is None");
}
