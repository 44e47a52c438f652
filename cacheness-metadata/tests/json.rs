//! The behaviour suite, run against the JSON backend.

#![cfg(feature = "json")]

use cacheness_core::ConfigOptions;
use cacheness_metadata::json::JsonMetadataFactory;

cacheness_testkit::metadata_suite!(json, JsonMetadataFactory::new(), ConfigOptions::new());
