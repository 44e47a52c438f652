//! The behaviour suite, run against the SQLite backends.

#![cfg(feature = "sqlite")]

use cacheness_core::ConfigOptions;
use cacheness_metadata::sqlite::{SqliteMemoryMetadataFactory, SqliteMetadataFactory};

cacheness_testkit::metadata_suite!(sqlite, SqliteMetadataFactory::new(), ConfigOptions::new());
cacheness_testkit::metadata_suite!(sqlite_memory, SqliteMemoryMetadataFactory::new(), ConfigOptions::new());
