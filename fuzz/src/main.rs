//! One program for all targets: the variable `FUZZ_TARGET` says which.
#![no_main]

#[allow(dead_code, reason = "what fuzzing begins with is written by tests/fuzz_corpus.rs")]
#[path = "../targets.rs"]
mod targets;

use std::sync::LazyLock;

const BASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/base");

static TARGET: LazyLock<targets::Target> =
    LazyLock::new(|| targets::by_name(&std::env::var("FUZZ_TARGET").unwrap_or_default()));

libfuzzer_sys::fuzz_target!(|data: &[u8]| TARGET(data));
