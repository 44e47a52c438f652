//! What a handler or a backend of Cacheness is tested with: behaviour suites that each must pass, wrappers that make
//! a backend slow or faulty, and a clock that a test turns. And [`cache()`], for the tests of applications.
//!
//! # Suites
//!
//! A crate that brings a handler or a backend has this crate among its `dev-dependencies`, beside `cacheness-core`,
//! and names its part once. Each promise of the trait becomes one test, such as
//! `mine::an_overwrite_replaces_the_entry`. What a backend says it cannot do, in its capabilities, is not asked of it.
//!
//! A metadata backend:
//!
//! ```
//! # fn main() {}
//! # use cacheness::metadata::memory::MemoryMetadataFactory as MyMetadataFactory;
//! use cacheness_core::ConfigOptions;
//!
//! cacheness_testkit::metadata_suite!(mine, MyMetadataFactory::new(), ConfigOptions::new());
//! ```
//!
//! A blob backend:
//!
//! ```
//! # fn main() {}
//! # use cacheness::blobs::memory::MemoryBlobFactory as MyBlobFactory;
//! use cacheness_core::ConfigOptions;
//!
//! cacheness_testkit::blob_suite!(mine, MyBlobFactory::new(), ConfigOptions::new());
//! ```
//!
//! A handler, with values that it takes, values that it leaves to others, and types that it does not make:
//!
//! ```
//! # use cacheness::handlers::TextHandler as MyHandler;
//! use cacheness_core::TypeClass;
//! use cacheness_testkit::handler::HandlerCase;
//!
//! HandlerCase::new(MyHandler::new())
//!     .is_named("text", TypeClass::Text)
//!     .accepts(&"grüße".to_owned())
//!     .rejects(&7_u32)
//!     .decodes_no::<u32, _>();
//! ```
//!
//! A whole cache over parts of your own, through both faces:
//!
//! ```
//! # fn main() {}
//! use cacheness::Cache;
//!
//! cacheness_testkit::cache_suite!(over_mine, |folder, env| Cache::builder().folder(folder).blobs("memory").env(env));
//! ```
//!
//! # When a promise is broken
//!
//! The suites panic, because that is how a test fails; the test's name and the text say which promise it was. A blob
//! backend whose `get_range` returns all of the blob fails like this:
//!
//! ```text
//! thread 'mine::a_range_gives_just_its_bytes' panicked at cacheness-testkit/src/blob/cases/ranges.rs:22:13:
//! the range 0..1 gives just its bytes; 300000 came
//! ```
//!
//! and a handler that panics on damaged bytes like this:
//!
//! ```text
//! thread 'careless_passes_the_suite' panicked at cacheness-testkit/src/handler/case.rs:228:32:
//! `careless` panicked reading a damaged value, cut to 0 bytes: it must return an error
//! ```
//!
//! # Faults
//!
//! [`chaos`] wraps any backend: a call fails by its number, by chance, or always; it is slow, or its answer is lost;
//! the bytes that are read are cut off, zeroed, or have a bit flipped.
//!
//! ```
//! use cacheness_core::{CacheBuilder, Error, ErrorKind, Registry};
//! use cacheness_testkit::chaos::{Chaos, ChaosBlobFactory};
//!
//! let chaos = Chaos::new();
//! let registry = Registry::builtin();
//! let memory = registry.blob_backend("memory")?.clone();
//! let faulty = ChaosBlobFactory::wrap_shared(memory, chaos.clone()).named("faulty");
//! # use cacheness as _;
//! let cache = CacheBuilder::new(registry.with_blob_backend(faulty)?).blobs("faulty").open_blocking()?;
//!
//! let large = vec![7_u8; 100_000];
//! chaos.fail_call_of("put", 2, Error::new(ErrorKind::StorageFull, "the disk is full"));
//! cache.put("first", &large)?;
//! assert_eq!(cache.put("second", &large).unwrap_err().kind(), ErrorKind::StorageFull);
//! cache.put("third", &large)?;
//! # Ok::<(), Error>(())
//! ```
//!
//! # Applications
//!
//! [`cache()`] is a cache in memory that keeps count of what is asked of it and goes by a clock that the test turns.
//! It is a real cache, so it goes in wherever the application takes one.

pub mod blob;
pub mod cache;
mod calls;
pub mod chaos;
mod clock;
pub mod handler;
pub mod metadata;
mod run;
mod test_cache;

pub use calls::{Call, Operation};
pub use clock::TestClock;
pub use test_cache::{TestCache, cache};
