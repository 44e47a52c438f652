//! One program for all targets: the variable `FUZZ_TARGET` says which.
#![no_main]

#[path = "../targets.rs"]
mod targets;

use std::sync::LazyLock;

static TARGET: LazyLock<targets::Target> =
    LazyLock::new(|| targets::by_name(&std::env::var("FUZZ_TARGET").unwrap_or_default()));

libfuzzer_sys::fuzz_target!(|data: &[u8]| TARGET(data));
