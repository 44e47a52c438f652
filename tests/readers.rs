//! Reading values piece by piece: what is given up, sought, missing, or at odds with its entry.

use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex};
#[cfg(feature = "sqlite")]
use std::task::Poll;

use async_trait::async_trait;
use bytes::Bytes;
use cacheness::*;

#[test]
fn a_seek_past_the_end_reads_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let cache = blocking::Cache::open(folder.path()).unwrap();
    cache.put("k", &vec![7_u8; 700_000]).unwrap();
    let mut reader = cache.reader("k").unwrap().unwrap();
    for far in [700_000, 700_001, u64::MAX - 1, u64::MAX] {
        assert_eq!(reader.seek(SeekFrom::Start(far)).unwrap(), far);
        assert_eq!(reader.read(&mut [0; 10]).unwrap(), 0);
    }
    reader.seek(SeekFrom::Start(699_998)).unwrap();
    assert_eq!(reader.read(&mut [0; 10]).unwrap(), 2);
}

#[cfg(feature = "sqlite")]
#[test]
fn a_blob_that_is_cut_under_a_reader_without_maps_is_an_error_and_then_a_counted_miss() {
    let folder = tempfile::tempdir().unwrap();
    let builder = blocking::Cache::builder().folder(folder.path()).mmap(false);
    let cache = builder.open_blocking().unwrap();
    cache.put("k", &vec![7_u8; 3 << 20]).unwrap();
    let mut reader = cache.reader("k").unwrap().unwrap();
    reader.read_exact(&mut [0; 100]).unwrap();
    for path in files(&folder.path().join("blobs")) {
        if path.metadata().unwrap().len() > 1 << 20 {
            fs_err::OpenOptions::new().write(true).open(path).unwrap().set_len(1 << 20).unwrap();
        }
    }
    // Not a byte that is not there, and no signal that ends the process.
    let mut rest = Vec::new();
    assert!(reader.read_to_end(&mut rest).is_err());
    assert!(rest.len() < 1 << 20 && rest.iter().all(|byte| *byte == 7));
    drop(reader);
    assert_eq!(cache.get::<Vec<u8>, _>("k").unwrap(), None);
    let counters = cache.stats().unwrap().counters;
    assert!(counters.errors >= 1 && counters.misses >= 1, "{counters:?}");
    assert!(!cache.contains("k").unwrap(), "it was taken out");
}

/// A program that maps the blob is ended by a signal here.
#[cfg(all(feature = "sqlite", feature = "arrow"))]
#[test]
fn without_maps_a_table_is_whole_when_its_file_is_cut_after_it_was_read() {
    use arrow_array::{ArrayRef, Int64Array, RecordBatch};

    let folder = tempfile::tempdir().unwrap();
    let cache = blocking::Cache::builder().folder(folder.path()).mmap(false).open_blocking().unwrap();
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..500_000));
    let table = RecordBatch::try_from_iter([("n", numbers)]).unwrap();
    cache.put_with("k", &table, PutOptions::new().handler("arrow_ipc")).unwrap();
    let got: RecordBatch = cache.get("k").unwrap().unwrap();
    let mut cut = 0;
    for path in files(&folder.path().join("blobs")) {
        if path.metadata().unwrap().len() > 1 << 20 {
            fs_err::OpenOptions::new().write(true).open(path).unwrap().set_len(0).unwrap();
            cut += 1;
        }
    }
    assert_eq!(cut, 1);
    assert_eq!(got, table);
}

#[cfg(feature = "sqlite")]
fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for item in fs_err::read_dir(folder).unwrap() {
        let path = item.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

/// Text that shrinks to about half, and no more.
fn digits(len: u64) -> Vec<u8> {
    let mut state = 1_u64;
    let mut digit = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        b"0123456789abcdef"[(state >> 60) as usize]
    };
    (0..len).map(|_| digit()).collect()
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn a_read_that_is_given_up_loses_no_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path()).await.unwrap();
    let text = digits(2_000_000);
    for compression in [Compression::None, Compression::Zstd(1)] {
        let options = PutOptions::new().compression(compression);
        cache.put_reader("k", &text[..], options).await.unwrap();
        let mut reader = cache.reader("k").await.unwrap().unwrap();
        let mut read = Vec::new();
        loop {
            let mut given_up = Box::pin(reader.next_piece());
            let polled = std::future::poll_fn(|cx| Poll::Ready(given_up.as_mut().poll(cx))).await;
            drop(given_up);
            if let Poll::Ready(piece) = polled {
                let Some(piece) = piece.unwrap() else { break };
                read.extend_from_slice(&piece);
                continue;
            }
            // Now and then what was given up goes on to its end before the next call.
            std::thread::sleep(std::time::Duration::from_millis(read.len() as u64 % 7));
            read.extend_from_slice(&reader.next_piece().await.unwrap().expect("the value goes on"));
        }
        assert!(read == text, "{compression:?}");
    }
}

#[test]
fn a_raw_entry_keeps_to_the_rules_of_a_put() {
    let cache = blocking::Cache::memory().unwrap();
    cache.put("k", "some text").unwrap();
    type Spoil = fn(&mut Entry);
    let spoils: [(Spoil, ErrorKind); 8] = [
        (|entry| entry.priority = f32::NAN, ErrorKind::InvalidInput),
        (|entry| entry.tags.push(String::new()), ErrorKind::InvalidInput),
        (|entry| entry.tags.push("t".repeat(PutOptions::MAX_TAG_LEN + 1)), ErrorKind::LimitExceeded),
        (
            |entry| entry.description = Some("d".repeat(PutOptions::MAX_TEXT_LEN + 1)),
            ErrorKind::LimitExceeded,
        ),
        (
            |entry| entry.format.meta = FormatMeta::new(vec![0; FormatMeta::MAX_LEN + 1]),
            ErrorKind::LimitExceeded,
        ),
        (|entry| entry.format.stages = vec![Stage::Lz4, Stage::Zstd], ErrorKind::Unsupported),
        (|entry| entry.size += 1, ErrorKind::Corrupted),
        (|entry| entry.size = u64::MAX, ErrorKind::Corrupted),
    ];
    for (i, (spoil, kind)) in spoils.into_iter().enumerate() {
        let mut raw = cache.get_raw("k").unwrap().unwrap();
        spoil(&mut raw.entry);
        let error = cache.put_raw(raw).unwrap_err();
        assert_eq!(error.kind(), kind, "{i}: {error}");
    }
    let mut raw = cache.get_raw("k").unwrap().unwrap();
    raw.entry.tags = vec!["b".into(), "a".into(), "b".into()];
    cache.put_raw(raw).unwrap();
    assert_eq!(cache.get_entry("k").unwrap().unwrap().tags, ["a", "b"]);
}

/// Backends in memory that a test has its hands on: it changes entries, and loses blobs as a remote store does.
#[derive(Clone, Default)]
struct Within {
    metadata: Arc<Mutex<Option<Arc<dyn MetadataBackend>>>>,
    blobs: Arc<Mutex<Option<Arc<dyn BlobBackend>>>>,
    lost: Arc<Mutex<Lost>>,
}

#[derive(Clone, Copy, PartialEq, Default)]
enum Lost {
    #[default]
    Nothing,
    /// The store says that the blob is not there.
    Blob,
    /// The store has lost the bucket and can say nothing of the blob.
    Bucket,
}

impl Within {
    fn cache(&self) -> blocking::Cache {
        let registry = Registry::builtin().with_metadata_backend(self.clone()).unwrap();
        let registry = registry.with_blob_backend(self.clone()).unwrap();
        let builder = CacheBuilder::new(registry).metadata("within").blobs("within");
        builder.on_read_error(OnReadError::Error).open_blocking().unwrap()
    }

    fn change(&self, key: &str, change: impl FnOnce(&mut Entry)) {
        let metadata = self.metadata.lock().unwrap().clone().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let namespace = Namespace::new(Namespace::DEFAULT).unwrap();
            let mut entry = metadata.get_entry(&namespace, key).await.unwrap().unwrap();
            change(&mut entry);
            let now = entry.created_at;
            let change = Change::Put { entry: Box::new(entry), condition: Condition::Always, now };
            metadata.apply(vec![change]).await.unwrap();
        });
    }

    fn lose(&self, lost: Lost) {
        *self.lost.lock().unwrap() = lost;
    }

    /// The store, or `None` where it has lost the blob.
    fn blobs(&self) -> Result<Option<Arc<dyn BlobBackend>>> {
        match *self.lost.lock().unwrap() {
            Lost::Nothing => Ok(self.blobs.lock().unwrap().clone()),
            Lost::Blob => Ok(None),
            Lost::Bucket => Err(Error::new(ErrorKind::NotFound, "there is no such bucket")),
        }
    }
}

#[async_trait]
impl MetadataFactory for Within {
    fn name(&self) -> &str {
        "within"
    }

    fn description(&self) -> &str {
        "Entries that a test can change."
    }

    fn options(&self) -> &[OptionSpec] {
        &[]
    }

    async fn open(&self, options: &ConfigOptions, context: &OpenContext) -> Result<Arc<dyn MetadataBackend>> {
        let opened = metadata::memory::MemoryMetadataFactory.open(options, context).await?;
        *self.metadata.lock().unwrap() = Some(opened.clone());
        Ok(opened)
    }
}

#[async_trait]
impl BlobFactory for Within {
    fn name(&self) -> &str {
        "within"
    }

    fn description(&self) -> &str {
        "Blobs that a test can lose."
    }

    fn options(&self) -> &[OptionSpec] {
        &[]
    }

    async fn open(&self, options: &ConfigOptions, context: &OpenContext) -> Result<Arc<dyn BlobBackend>> {
        let opened = blobs::memory::MemoryBlobFactory.open(options, context).await?;
        *self.blobs.lock().unwrap() = Some(opened);
        Ok(Arc::new(self.clone()))
    }
}

#[async_trait]
impl BlobBackend for Within {
    fn capabilities(&self) -> BlobCapabilities {
        BlobCapabilities::remote()
    }

    async fn put(&self, key: &BlobKey, source: BlobSource) -> Result<()> {
        self.blobs()?.unwrap().put(key, source).await
    }

    async fn get(&self, key: &BlobKey) -> Result<Option<Blob>> {
        let Some(blobs) = self.blobs()? else { return Ok(None) };
        blobs.get(key).await
    }

    async fn get_range(&self, key: &BlobKey, range: Range<u64>) -> Result<Option<Bytes>> {
        let Some(blobs) = self.blobs()? else { return Ok(None) };
        blobs.get_range(key, range).await
    }

    async fn delete(&self, _: &BlobKey) -> Result<bool> {
        Ok(true)
    }

    async fn exists(&self, _: &BlobKey) -> Result<bool> {
        Ok(true)
    }

    async fn list_keys(&self, _: CacheId, _: Option<&str>, _: usize) -> Result<BlobPage> {
        Ok(BlobPage::default())
    }

    fn staging_dir(&self) -> Option<&Path> {
        None
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}

#[test]
fn only_a_store_that_is_sure_of_a_missing_blob_removes_its_entry() {
    let (within, text) = (Within::default(), digits(2_000_000));
    let cache = within.cache();
    for compression in [Compression::None, Compression::Zstd(1)] {
        let put = || {
            let stored =
                cache.put_reader("k", &text[..], PutOptions::new().compression(compression)).unwrap();
            assert!(stored.stored_size > 2 * Checksums::CHUNK);
        };
        let there = || cache.get_entry("k").unwrap().is_some();
        put();
        within.lose(Lost::Bucket);
        assert_eq!(cache.reader("k").unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(cache.get_raw("k").unwrap_err().kind(), ErrorKind::NotFound);
        within.lose(Lost::Nothing);

        let mut reader = cache.reader("k").unwrap().unwrap();
        let mut read = vec![0; 100_000];
        reader.read_exact(&mut read).unwrap();
        within.lose(Lost::Bucket);
        let error = Error::io(reader.read_to_end(&mut read).unwrap_err(), "reading");
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(there());
        within.lose(Lost::Nothing);
        reader.read_to_end(&mut read).unwrap();
        assert!(read == text, "after a failure the reader goes on where it was: {compression:?}");

        let mut reader = cache.reader("k").unwrap().unwrap();
        reader.read_exact(&mut [0]).unwrap();
        within.lose(Lost::Blob);
        let error = Error::io(reader.read_to_end(&mut Vec::new()).unwrap_err(), "reading");
        assert_eq!(error.kind(), ErrorKind::Corrupted);
        assert!(error.to_string().contains("went away"), "{error}");
        assert!(!there());
        within.lose(Lost::Nothing);

        put();
        within.lose(Lost::Blob);
        assert!(cache.reader("k").unwrap().is_none());
        assert!(!there());
        within.lose(Lost::Nothing);
    }
}

#[test]
fn a_reader_refuses_an_entry_that_contradicts_itself() {
    type Spoil = fn(&mut Entry);
    let spoils: [Spoil; 4] = [
        |entry| entry.size = u64::MAX,
        |entry| (entry.size, entry.stored_size) = (9, 9),
        |entry| entry.checksums = Checksums::default(),
        |entry| entry.location = Location::Inline(Bytes::new()),
    ];
    let within = Within::default();
    let cache = within.cache();
    for (i, spoil) in spoils.into_iter().enumerate() {
        for raw in [true, false] {
            cache.put("k", "some texts").unwrap();
            within.change("k", spoil);
            if raw {
                assert_eq!(cache.get_raw("k").unwrap(), None, "{i}");
            } else if let Some(mut reader) = cache.reader("k").unwrap() {
                assert!(reader.read_to_end(&mut Vec::new()).is_err(), "{i}");
            }
            assert!(cache.get_entry("k").unwrap().is_none(), "{i}");
        }
    }
}

#[test]
fn a_compressed_value_that_is_shorter_than_its_entry_says_is_damaged() {
    let within = Within::default();
    let cache = within.cache();
    let options = PutOptions::new().compression(Compression::Lz4);
    cache.put_with("k", "over and over ".repeat(1000).as_str(), options).unwrap();
    within.change("k", |entry| entry.size += 1);
    let mut reader = cache.reader("k").unwrap().unwrap();
    let error = Error::io(reader.read_to_end(&mut Vec::new()).unwrap_err(), "reading");
    assert_eq!(error.kind(), ErrorKind::Corrupted);
    assert!(cache.get_entry("k").unwrap().is_none());
}

#[test]
fn a_value_in_several_stages_is_not_handed_out_half_decoded() {
    let within = Within::default();
    let cache = within.cache();
    cache.put("k", "some text").unwrap();
    within.change("k", |entry| entry.format.stages = vec![Stage::Lz4, Stage::Zstd]);
    assert_eq!(cache.reader("k").unwrap_err().kind(), ErrorKind::Unsupported);
    assert!(cache.get_entry("k").unwrap().is_some());
}

#[test]
fn a_value_that_is_replaced_while_it_is_read_is_no_damage() {
    let (within, text) = (Within::default(), digits(2_000_000));
    for compression in [Compression::None, Compression::Zstd(1)] {
        let damaged = Arc::new(Mutex::new(0));
        let counted = damaged.clone();
        let registry = Registry::builtin().with_metadata_backend(within.clone()).unwrap();
        let registry = registry.with_blob_backend(within.clone()).unwrap();
        let cache = CacheBuilder::new(registry).metadata("within").blobs("within").listener(move |event| {
            if matches!(event, cacheness::Event::Corrupt { .. }) {
                *counted.lock().unwrap() += 1;
            }
        });
        let cache = cache.open_blocking().unwrap();
        let put = || {
            let options = PutOptions::new().compression(compression).inline(false);
            cache.put_reader("k", &text[..], options).unwrap();
        };
        for replaced in [true, false] {
            put();
            let mut reader = cache.reader("k").unwrap().unwrap();
            reader.read_exact(&mut [0]).unwrap();
            if replaced {
                put();
            } else {
                assert!(cache.remove("k").unwrap());
            }
            // The minute is over in which what was replaced is kept.
            within.lose(Lost::Blob);
            let error = Error::io(reader.read_to_end(&mut Vec::new()).unwrap_err(), "reading");
            assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
            within.lose(Lost::Nothing);
            assert_eq!(cache.get_entry("k").unwrap().is_some(), replaced);
        }
        assert_eq!(cache.stats().unwrap().counters.errors, 0);
        cache.close().unwrap();
        assert_eq!(*damaged.lock().unwrap(), 0);
    }
}

#[tokio::test]
async fn a_value_is_read_as_any_other_source_of_tokio() {
    let cache = cacheness::Cache::memory().await.unwrap();
    let text = digits(1_000_000);
    for compression in [Compression::None, Compression::Zstd(1)] {
        let options = PutOptions::new().compression(compression);
        cache.put_reader("k", &text[..], options.clone()).await.unwrap();
        let reader = cache.reader("k").await.unwrap().unwrap().into_async_read();
        // From one place of a cache to another, as from any source.
        cache.put_reader("copy", reader, options).await.unwrap();
        let mut reader = cache.reader("copy").await.unwrap().unwrap();
        let first = reader.next_piece().await.unwrap().unwrap();
        let mut read = first.to_vec();
        let mut rest = reader.into_async_read();
        tokio::io::AsyncReadExt::read_to_end(&mut rest, &mut read).await.unwrap();
        assert!(read == text);
        // At the end it stays there.
        assert_eq!(tokio::io::AsyncReadExt::read(&mut rest, &mut [0; 8]).await.unwrap(), 0);
    }
}

/// All the source is there at once, so nothing but the writing can give others their turn.
#[cfg(feature = "sqlite")]
#[tokio::test]
async fn a_value_that_is_taken_from_a_reader_is_compressed_and_written_away_from_the_worker() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path()).await.unwrap();
    let text = digits(4_000_000);
    let options = PutOptions::new().compression(Compression::Zstd(12));
    let (mut turns, mut putting) = (0, std::pin::pin!(cache.put_reader("k", &text[..], options)));
    let stored = std::future::poll_fn(|context| {
        turns += 1;
        putting.as_mut().poll(context)
    });
    assert!(stored.await.unwrap().stored_size < 3_000_000);
    // One for each 256 KiB, and the end.
    assert!(turns > 12, "{turns} turns");
    assert!(cache.get::<Vec<u8>, _>("k").await.unwrap() == Some(text.clone()));
}
