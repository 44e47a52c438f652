//! The blocking face works on every kind of thread, with embedded backends and with slow asynchronous ones.

// shows: row 91

#![expect(clippy::disallowed_methods, reason = "what is tested here is real time on a real runtime")]

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use cacheness::{CacheBuilder, Env, Error, ErrorKind, Fallback, PutOptions, Registry, blocking};
use cacheness_testkit::chaos::{Chaos, ChaosBlobFactory, ChaosMetadataFactory};

/// Long enough for a call to be pending, short enough for a test.
const SLOW: Duration = Duration::from_millis(3);

fn embedded() -> CacheBuilder {
    cacheness::Cache::builder()
}

/// Memory behind calls that take their time on a Tokio timer.
fn slow() -> CacheBuilder {
    let builtin = Registry::builtin();
    let metadata = builtin.metadata_backend("memory").unwrap().clone();
    let blobs = builtin.blob_backend("memory").unwrap().clone();
    let registry = builtin
        .with_metadata_backend(
            ChaosMetadataFactory::wrap_shared(metadata, Chaos::new().slow(SLOW)).named("slow"),
        )
        .unwrap()
        .with_blob_backend(ChaosBlobFactory::wrap_shared(blobs, Chaos::new().slow(SLOW)).named("slow"))
        .unwrap();
    CacheBuilder::new(registry).metadata("slow").blobs("slow")
}

/// All that a thread may do with a cache, from opening to dropping it.
fn use_a_cache(builder: CacheBuilder) {
    let cache = builder.open_blocking().unwrap();
    let large = vec![7_u8; 2_000_000];
    for i in 0..5 {
        cache.put(format!("k{i}"), &i).unwrap();
    }
    cache.put("large", &large).unwrap();
    assert_eq!(cache.get::<i32, _>("k3").unwrap(), Some(3));
    assert!(cache.get::<Vec<u8>, _>("large").unwrap() == Some(large));
    let mut read = Vec::new();
    std::io::Read::read_to_end(&mut cache.reader("large").unwrap().unwrap(), &mut read).unwrap();
    assert_eq!(read.len(), 2_000_000);
    assert_eq!(cache.stats().unwrap().entries, 6);
    drop(cache.clone());
    cache.clear().unwrap();
}

fn with_time_limit(what: &'static str, work: impl FnOnce() + Send + 'static) {
    let (done, finished) = channel();
    let worker = std::thread::spawn(move || {
        work();
        let _ = done.send(());
    });
    finished.recv_timeout(Duration::from_secs(50)).unwrap_or_else(|_| panic!("{what}: hung or panicked"));
    worker.join().unwrap();
}

macro_rules! on_every_thread {
    ($($name:ident => $builder:expr;)*) => {
        $(mod $name {
            use super::*;

            #[test]
            fn a_plain_thread() {
                with_time_limit("plain thread", || use_a_cache($builder));
            }

            #[test]
            fn a_worker_of_a_runtime() {
                with_time_limit("worker", || {
                    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
                    runtime.unwrap().block_on(async { tokio::spawn(async { use_a_cache($builder) }).await.unwrap() });
                });
            }

            #[test]
            fn spawn_blocking() {
                with_time_limit("spawn_blocking", || {
                    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
                    runtime.unwrap().block_on(async {
                        tokio::task::spawn_blocking(|| use_a_cache($builder)).await.unwrap();
                    });
                });
            }

            #[test]
            fn a_current_thread_runtime() {
                with_time_limit("current-thread runtime", || {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                    runtime.unwrap().block_on(async { use_a_cache($builder) });
                });
            }

            #[test]
            fn a_runtime_that_starves_its_tasks() {
                // A worker's budget for cooperation is used up here: the face must not wait for more.
                with_time_limit("starved", || {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                    runtime.unwrap().block_on(async {
                        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
                        (0..1000).for_each(|i| sender.send(i).unwrap());
                        for _ in 0..127 {
                            receiver.recv().await;
                        }
                        use_a_cache($builder);
                    });
                });
            }

            #[test]
            fn opened_in_a_runtime_and_used_after_it_has_ended() {
                with_time_limit("after the runtime", || {
                    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
                    let cache = runtime.unwrap().block_on(async { $builder.open().await.unwrap() });
                    let cache = blocking::Cache::from(cache);
                    cache.put("k", &1).unwrap();
                    assert_eq!(cache.get::<i32, _>("k").unwrap(), Some(1));
                });
            }
        })*
    };
}

on_every_thread! {
    with_embedded_backends => embedded();
    with_slow_backends => slow();
}

#[test]
fn the_last_handle_may_be_dropped_inside_a_runtime() {
    with_time_limit("drop", || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let cache = slow().open_blocking().unwrap();
            cache.put("k", &1).unwrap();
            drop(cache);
            let cache = slow().open().await.unwrap();
            cache.put("k", &1).await.unwrap();
            drop(cache);
        });
    });
}

#[test]
fn a_handler_may_use_a_runtime_of_its_own() {
    use cacheness::*;

    struct Nested;
    struct NestedHandler(blocking::Cache);
    enum ViaNested {}

    impl CacheValue<ViaNested> for Nested {
        fn value_ref(&self) -> ValueRef<'_> {
            ValueRef::native(self)
        }

        fn target() -> TypeTarget {
            TypeTarget::native::<Self>()
        }
    }

    impl CacheHandler for NestedHandler {
        fn name(&self) -> &str {
            "nested"
        }

        fn class(&self) -> TypeClass {
            TypeClass::Native
        }

        fn can_handle(&self, value: &ValueRef<'_>) -> bool {
            value.any().is::<Nested>()
        }

        fn can_decode(&self, target: &TypeTarget) -> bool {
            target.is::<Nested>()
        }

        fn put(
            &self,
            _: &ValueRef<'_>,
            writer: &mut dyn BlobWriter,
            _: &HandlerContext,
        ) -> Result<FormatMeta> {
            self.0.put("inner", &1)?;
            writer.write_all(b"x").map_err(|error| Error::io(error, "writing"))?;
            Ok(FormatMeta::default())
        }

        fn get(
            &self,
            _: &mut dyn BlobReader,
            _: &FormatMeta,
            _: &TypeTarget,
            _: &ReadOptions,
        ) -> Result<BoxedValue> {
            assert_eq!(self.0.get::<i32, _>("inner")?, Some(1));
            Ok(Box::new(Nested))
        }
    }

    with_time_limit("nested", || {
        let inner = slow().open_blocking().unwrap();
        let registry = Registry::builtin().with_handler(NestedHandler(inner)).unwrap();
        // The built-in handlers do not claim it, so the order does not matter.
        let cache = CacheBuilder::new(registry).open_blocking().unwrap();
        cache.put("outer", &Nested).unwrap();
        assert!(cache.get::<Nested, _>("outer").unwrap().is_some());
    });
}

#[test]
fn a_future_that_is_dropped_leaves_the_cache_consistent() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let cache = slow().open().await.unwrap();
        let large = vec![1_u8; 100_000];
        for polls in 1..12 {
            cache.put("k", "before").await.unwrap();
            let mut put = Box::pin(cache.put("k", &large));
            for _ in 0..polls {
                let step = tokio::time::timeout(SLOW / 2, &mut put).await;
                if step.is_ok() {
                    break;
                }
            }
            drop(put);
            tokio::time::sleep(SLOW * 3).await;
            // Either value, never something else.
            match cache.get::<String, _>("k").await {
                Ok(text) => assert_eq!(text.as_deref(), Some("before")),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::TypeMismatch, "{error}");
                    assert!(cache.get::<Vec<u8>, _>("k").await.unwrap() == Some(large.clone()));
                }
            }
            let stats = cache.stats().await.unwrap();
            assert_eq!(stats.entries, 1);
        }
    });
}

#[test]
fn shared_values_are_encoded_off_the_worker() {
    struct Watched;

    impl serde::Serialize for Watched {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let name = std::thread::current().name().unwrap_or_default().to_owned();
            serializer.serialize_str(&format!("{name} {:?}", std::thread::current().id()))
        }
    }

    impl<'de> serde::Deserialize<'de> for Watched {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            String::deserialize(deserializer).map(|_| Self)
        }
    }

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let cache = embedded().env(Env::new()).open().await.unwrap();
        cache.put_shared("k", Arc::new(Watched), PutOptions::new()).await.unwrap();
        let raw = cache.get_raw("k").await.unwrap().unwrap();
        let text = String::from_utf8_lossy(&raw.bytes).into_owned();
        assert!(
            !text.contains(&format!("{:?}", std::thread::current().id())),
            "encoded on this thread: {text}"
        );
    });
}

/// The blocking face waits for a lock that a call of the async face holds, which only its own thread would go on with.
#[test]
fn a_call_of_the_async_face_that_is_not_polled_keeps_no_lock_from_the_blocking_face() {
    let folder = tempfile::tempdir().unwrap();
    for builder in [slow(), embedded().folder(folder.path())] {
        with_time_limit("two faces on one thread", move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let cache = builder.open().await.unwrap();
                let face: blocking::Cache = cache.clone().into();
                for _ in 0..20 {
                    cache.put("k", "v").await.unwrap();
                    let mut pending = std::pin::pin!(cache.namespaces());
                    let polled = std::future::poll_fn(|context| {
                        std::task::Poll::Ready(pending.as_mut().poll(context).is_ready())
                    });
                    let done = polled.await;
                    std::thread::sleep(SLOW / 3);
                    assert_eq!(face.stats().unwrap().entries, 1);
                    if !done {
                        pending.await.unwrap();
                    }
                }
                // One that is left unfinished for ever.
                let mut left = Box::pin(cache.stats());
                std::future::poll_fn(|context| {
                    let _ = left.as_mut().poll(context);
                    std::task::Poll::Ready(())
                })
                .await;
                cache.stats().await.unwrap();
                cache.close().await.unwrap();
            });
        });
    }
}

/// Blobs of another machine with copies on this one: callers at the same time fetch one once, and wait for who fetches it.
fn with_copies(folder: &std::path::Path) -> CacheBuilder {
    let builtin = Registry::builtin();
    let blobs = builtin.blob_backend("memory").unwrap().clone();
    let far = ChaosBlobFactory::wrap_shared(blobs, Chaos::new().slow(SLOW)).named("far");
    let builder = CacheBuilder::new(builtin.with_blob_backend(far).unwrap()).metadata("memory").blobs("far");
    builder.inline_limit(0).local_tier(cacheness::LocalTier::new(folder.join("copies")))
}

#[test]
fn a_fetch_that_others_wait_for_goes_on_though_its_caller_is_not_polled() {
    use futures_util::StreamExt;

    let folder = tempfile::tempdir().unwrap();
    let builder = with_copies(folder.path());
    with_time_limit("a get in the body of a stream of gets", move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let cache = builder.open().await.unwrap();
            let keys: Vec<String> = (0..24).map(|i| format!("k{i}")).collect();
            for (i, key) in keys.iter().enumerate() {
                cache.put(key, &i).await.unwrap();
            }
            // While the body runs, nobody polls the gets that the stream has begun.
            let mut values = std::pin::pin!(
                futures_util::stream::iter(&keys).map(|key| cache.get::<usize, _>(key)).buffered(8)
            );
            let mut seen = 0;
            while let Some(value) = values.next().await {
                assert_eq!(value.unwrap(), Some(seen));
                seen += 1;
                for key in keys.iter().skip(seen).take(8) {
                    assert!(cache.get::<usize, _>(key).await.unwrap().is_some());
                }
            }
            assert_eq!(seen, keys.len());
        });
    });
}

#[test]
fn a_fetch_of_the_async_face_that_is_not_polled_keeps_its_blob_from_no_call_of_the_blocking_face() {
    let folder = tempfile::tempdir().unwrap();
    let builder = with_copies(folder.path());
    with_time_limit("two faces fetch one blob", move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let cache = builder.open().await.unwrap();
            let face: blocking::Cache = cache.clone().into();
            for i in 0..10 {
                let key = format!("k{i}");
                cache.put(&key, &i).await.unwrap();
                let mut pending = Box::pin(cache.get::<i32, _>(&key));
                std::future::poll_fn(|context| {
                    assert!(pending.as_mut().poll(context).is_pending());
                    std::task::Poll::Ready(())
                })
                .await;
                assert_eq!(face.get(&key).unwrap(), Some(i));
                assert_eq!(pending.await.unwrap(), Some(i));
            }
        });
    });
}

/// Calls one after the other that change entries, each next to one that was begun and is not polled any more.
#[test]
fn a_write_that_was_begun_and_is_not_polled_holds_up_no_other() {
    let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let builders = [
        embedded().folder(folders[0].path()),
        embedded().folder(folders[1].path()).metadata("json").blobs("filesystem"),
        embedded().folder(folders[2].path()).metadata("memory").blobs("filesystem"),
        slow(),
    ];
    for builder in builders {
        with_time_limit("writes beside one that is not polled", move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let cache = builder.open().await.unwrap();
                let face: blocking::Cache = cache.clone().into();
                for polls in 1..12 {
                    let options = || PutOptions::new().inline(polls % 2 == 0);
                    let mut begun = Box::pin(cache.put_with("a", &polls, options()));
                    for _ in 0..polls {
                        if tokio::time::timeout(SLOW / 10, &mut begun).await.is_ok() {
                            begun = Box::pin(cache.put_with("a", &polls, options()));
                        }
                    }
                    cache.put("b", &polls).await.unwrap();
                    face.put("c", &polls).unwrap();
                    assert!(face.remove("b").unwrap());
                    begun.await.unwrap();
                }
                // One that is left where it is while the cache is closed, and others of both faces.
                let mut left = Box::pin(cache.put("a", &0));
                let _ = tokio::time::timeout(Duration::ZERO, &mut left).await;
                let mut closing = Box::pin(cache.close());
                let _ = tokio::time::timeout(Duration::ZERO, &mut closing).await;
                face.close().unwrap();
            });
        });
    }
}

/// Rows of a fallback are replaced under a lock, held by whoever puts the key into the first store.
#[test]
fn a_put_of_the_async_face_that_is_not_polled_keeps_no_row_of_a_fallback_from_the_blocking_face() {
    let (entries, blobs) = (Chaos::new().slow(SLOW), Chaos::new().slow(SLOW));
    let builtin = Registry::builtin();
    let memory = (
        builtin.metadata_backend("memory").unwrap().clone(),
        builtin.blob_backend("memory").unwrap().clone(),
    );
    let registry = builtin
        .with_metadata_backend(ChaosMetadataFactory::wrap_shared(memory.0, entries.clone()).named("slow"))
        .unwrap()
        .with_blob_backend(ChaosBlobFactory::wrap_shared(memory.1, blobs.clone()).named("slow"))
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let builder = CacheBuilder::new(registry)
        .metadata("slow")
        .blobs("slow")
        .fallback(Fallback::new(folder.path().join("spare")));
    with_time_limit("two faces on one thread", move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let cache = builder.open().await.unwrap();
            let face: blocking::Cache = cache.clone().into();
            let down = Error::new(ErrorKind::Unavailable, "the server is down").with_outcome_unknown(false);
            entries.fail_all(Some(down.clone()));
            blobs.fail_all(Some(down));
            for n in 0..20 {
                cache.put(format!("k{n}"), &vec![7_u8; 100_000]).await.unwrap();
            }
            // It answers again, and takes no blobs: the rows stay until their keys are written.
            entries.fail_all(None);
            blobs.fail_all(Some(Error::new(ErrorKind::StorageFull, "the disk is full")));
            // Until then writes go on to the second pair.
            loop {
                let applied = entries.calls_of("apply");
                if face.put("other", "v").is_ok() && entries.calls_of("apply") > applied {
                    break;
                }
                std::thread::sleep(SLOW);
            }
            let mut kept_waiting = 0;
            for n in (0..20).step_by(2) {
                let applied = entries.calls_of("apply");
                let (key, next) = (format!("k{n}"), format!("k{}", n + 1));
                let mut pending = std::pin::pin!(cache.put(key, "v"));
                let mut done = false;
                while !done && entries.calls_of("apply") == applied {
                    done = std::future::poll_fn(|context| {
                        std::task::Poll::Ready(pending.as_mut().poll(context).is_ready())
                    })
                    .await;
                    std::thread::sleep(SLOW / 30);
                }
                kept_waiting += usize::from(!done);
                face.put(next, "v").unwrap();
                if !done {
                    pending.await.unwrap();
                }
            }
            assert!(kept_waiting > 0, "none was left in the middle");
            for n in 0..20 {
                assert_eq!(cache.get::<String, _>(format!("k{n}")).await.unwrap().as_deref(), Some("v"));
            }
            blobs.fail_all(None);
            cache.close().await.unwrap();
        });
    });
}
