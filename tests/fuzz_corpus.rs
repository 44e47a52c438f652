//! Everything that fuzzing has found or begun with, over again: `fuzz/corpus` holds a folder of inputs for each target.
//!
//! `BLESS=1 cargo test --all-features --test fuzz_corpus` writes the inputs to begin with anew.

#[path = "../fuzz/targets.rs"]
mod targets;

use std::path::Path;

/// Writes the inputs that fuzzing begins with: what this version writes itself.
fn write_the_inputs_that_fuzzing_begins_with() {
    for (name, inputs) in targets::seeds() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
        fs_err::create_dir_all(&folder).unwrap();
        for (at, input) in inputs.into_iter().enumerate() {
            fs_err::write(folder.join(format!("seed-{at}")), input).unwrap();
        }
    }
}

#[test]
fn every_input_of_the_corpus_keeps_the_promises() {
    if std::env::var_os("BLESS").is_some() {
        write_the_inputs_that_fuzzing_begins_with();
    }
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (name, target) in targets::TARGETS {
        let mut inputs: Vec<_> =
            fs_err::read_dir(corpus.join(name)).unwrap().map(|file| file.unwrap().path()).collect();
        assert!(!inputs.is_empty(), "no inputs for {name}");
        inputs.sort();
        for input in inputs {
            target(&fs_err::read(&input).unwrap());
        }
    }
}
