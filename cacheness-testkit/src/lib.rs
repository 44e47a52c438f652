//! What a handler or a backend of Cacheness is tested with: behaviour suites that each must pass, wrappers that make
//! a backend slow or faulty, and a clock that a test turns.
//!
//! A crate that brings a metadata or blob backend has this crate among its `dev-dependencies`, beside
//! `cacheness-core`, and names its factory once:
//!
//! ```no_run
//! # mod my_crate {
//! #     use std::sync::Arc;
//! #     use cacheness_core::*;
//! #     pub struct MyMetadataFactory;
//! #     #[async_trait::async_trait]
//! #     impl MetadataFactory for MyMetadataFactory {
//! #         fn name(&self) -> &str { "mine" }
//! #         fn description(&self) -> &str { "" }
//! #         fn options(&self) -> &[OptionSpec] { &[] }
//! #         async fn open(&self, _: &ConfigOptions, _: &OpenContext) -> Result<Arc<dyn MetadataBackend>> {
//! #             unreachable!()
//! #         }
//! #     }
//! # }
//! // tests/suite.rs
//! use cacheness_core::ConfigOptions;
//!
//! cacheness_testkit::metadata_suite!(mine, my_crate::MyMetadataFactory, ConfigOptions::new());
//! # fn main() {}
//! ```
//!
//! Each promise of the trait becomes one test, such as `my_metadata::an_overwrite_replaces_the_entry`. A crate that
//! brings a handler describes it with [`handler::HandlerCase`].
//!
//! The functions here panic where a promise is broken, because that is how a test fails; the text says which promise
//! it was.

pub mod blob;
pub mod cache;
pub mod chaos;
mod clock;
pub mod handler;
pub mod metadata;
mod run;

pub use clock::TestClock;
