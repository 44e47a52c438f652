//! Rebuilding from blobs that are slow to read, far away or cannot be read at all.

use std::path::Path;

use cacheness::{CacheBuilder, Error, ErrorKind, PutOptions, RebuildOptions, Registry};
use cacheness_testkit::chaos::{Chaos, ChaosBlobFactory};
use fs_err as fs;

fn with(chaos: &Chaos, folder: &Path) -> CacheBuilder {
    let builtin = Registry::builtin();
    let files = builtin.blob_backend("filesystem").unwrap().clone();
    let faulty = ChaosBlobFactory::wrap_shared(files, chaos.clone()).named("faulty");
    CacheBuilder::new(builtin.with_blob_backend(faulty).unwrap()).folder(folder).blobs("faulty")
}

/// Values of these lengths as blobs, of which the index says nothing any more. Gives the builder's options.
fn lost_index(folder: &Path, lengths: &[usize]) -> RebuildOptions {
    let cache = with(&Chaos::new(), folder).open_blocking().unwrap();
    for len in lengths {
        let value = vec![7_u8; *len];
        cache.put_with(format!("k{len}"), &value, PutOptions::new().inline(false)).unwrap();
    }
    cache.close().unwrap();
    let index = folder.join("index.sqlite");
    let len = fs::metadata(&index).unwrap().len() as usize;
    fs::write(&index, vec![0xA5; len]).unwrap();
    RebuildOptions::new().cache_id(cache.id()).trust_blobs(true)
}

#[test]
fn a_blob_that_cannot_be_read_for_the_moment_is_an_error_and_no_loss() {
    let folder = tempfile::tempdir().unwrap();
    let options = lost_index(folder.path(), &[10, 20, 30]);
    for number in [2, 5] {
        let chaos = Chaos::new();
        chaos.fail_call_of("get", number, Error::new(ErrorKind::Io, "too many open files"));
        let error = with(&chaos, folder.path()).rebuild_blocking(options.clone()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io, "{error}");
        assert!(error.to_string().contains("blob"), "it says which: {error}");
    }
    let report = with(&Chaos::new(), folder.path()).rebuild_blocking(options).unwrap();
    assert_eq!((report.restored, report.unconfirmed), (3, 3));
}

#[test]
fn of_a_large_blob_on_another_machine_only_the_end_is_read() {
    const MIB: usize = 1 << 20;
    let folder = tempfile::tempdir().unwrap();
    // With what follows the value, blobs that end around the borders at which they are looked for.
    let near = [1_000, 500, 300, 100, 0];
    let mut lengths: Vec<usize> =
        near.iter().flat_map(|less| [MIB - less, 2 * MIB - less, 4 * MIB - less]).collect();
    lengths.extend([0, 10, 20 * MIB + 7]);
    let options = lost_index(folder.path(), &lengths);
    let chaos = Chaos::new().remote();
    let report = with(&chaos, folder.path()).rebuild_blocking(options).unwrap();
    assert_eq!(report.restored, lengths.len() as u64, "{report:?}");
    assert_eq!(chaos.calls_of("get"), 0, "no blob is fetched whole");
    assert!(chaos.calls_of("get_range") < 2 * 15 * lengths.len() as u64, "{}", chaos.calls_of("get_range"));
    let cache = with(&Chaos::new(), folder.path()).open_blocking().unwrap();
    for len in lengths {
        let found: Vec<u8> = cache.get(format!("k{len}")).unwrap().unwrap();
        assert!(found.len() == len && found.iter().all(|&byte| byte == 7), "{len}");
    }
}
