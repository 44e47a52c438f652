//! Everything that fuzzing has found or begun with, over again: `fuzz/corpus` holds a folder of inputs for each target.
//!
//! `BLESS=1 cargo test --all-features --test fuzz_corpus` writes the inputs to begin with anew, and the bases of which some targets
//! change pieces. Inputs that were kept before are something else then.
#![expect(clippy::print_stderr, reason = "who looks for findings is told where they are")]

#[path = "../fuzz/targets.rs"]
mod targets;

use std::path::Path;
use std::sync::Once;

const BASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/base");

/// Writes what fuzzing begins with: what this version writes itself.
fn write_what_fuzzing_begins_with() {
    fs_err::create_dir_all(BASES).unwrap();
    for (name, bytes) in targets::bases() {
        fs_err::write(Path::new(BASES).join(name), bytes).unwrap();
    }
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
    for (name, _) in targets::TARGETS {
        let inputs = inputs(name);
        assert!(!inputs.is_empty(), "no inputs for {name}");
        inputs.iter().for_each(|input| targets::by_name(name)(input));
    }
    let reached = targets::REACHED.lock().unwrap();
    for (name, _) in targets::TARGETS {
        assert!(reached.contains_key(name), "no input got as far as what `{name}` is about: {reached:?}");
    }
}

/// The inputs of one target.
fn inputs(name: &str) -> Vec<Vec<u8>> {
    static WRITTEN: Once = Once::new();
    if std::env::var_os("BLESS").is_some() {
        WRITTEN.call_once(write_what_fuzzing_begins_with);
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut files: Vec<_> = fs_err::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| fs_err::read(file).unwrap()).collect()
}

/// Numbers that are the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % limit.max(1)
    }

    /// Changes one place of an input, or joins two.
    fn change(&mut self, input: &mut Vec<u8>, other: &[u8]) {
        let at = self.below(input.len());
        match self.below(7) {
            _ if input.is_empty() => input.push(self.below(256) as u8),
            0 => input.truncate(at),
            1 => input[at] ^= 1 << self.below(8),
            2 => input[at] = [0, 0x7f, 0x80, 0xff, b'"', b'{', b'['][self.below(7)],
            3 => {
                let number =
                    [u64::MAX, 1 << 63, 1 << 31, u64::from(u32::MAX), 0][self.below(5)].to_le_bytes();
                let len = [2, 4, 8][self.below(3)].min(input.len() - at);
                input[at..at + len].copy_from_slice(&number[..len]);
            }
            4 => {
                let piece = input[at..(at + 1 + self.below(32)).min(input.len())].to_vec();
                let times = [1, 2, 500][self.below(3)];
                input.splice(at..at, piece.repeat(times));
            }
            5 => {
                let from = self.below(other.len());
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            _ => _ = input.splice(at..(at + 1 + self.below(16)).min(input.len()), []),
        }
    }
}

/// Changes inputs of the corpus at random for as long as `goes_on` says, and returns how often.
fn change_at_random(name: &str, seed: u64, goes_on: impl Fn(u64) -> bool) -> u64 {
    let (target, inputs, mut random) = (targets::by_name(name), inputs(name), Random(seed));
    let mut count = 0;
    while goes_on(count) {
        let mut input = inputs[random.below(inputs.len())].clone();
        for _ in 0..=random.below(4) {
            let other = random.below(inputs.len());
            random.change(&mut input, &inputs[other]);
        }
        input.truncate(1 << 16);
        let run = std::panic::catch_unwind(|| target(&input));
        if let Err(panic) = run {
            let at = std::env::temp_dir().join(format!("{name}-{seed}-{count}"));
            fs_err::write(&at, &input).unwrap();
            eprintln!("the input of `{name}` that shows it is in {}", at.display());
            std::panic::resume_unwind(panic);
        }
        count += 1;
    }
    count
}

#[test]
fn random_changes_of_the_corpus_keep_the_promises() {
    for (at, (name, _)) in targets::TARGETS.iter().enumerate() {
        change_at_random(name, at as u64, |count| count < 40);
    }
}

/// Without the guidance by coverage that `scripts/fuzz` has, and without anything that it needs.
#[test]
#[ignore = "twenty seconds for each target, or FUZZ_SECONDS, and for one alone where FUZZ_TARGET names it"]
fn random_changes_of_the_corpus_for_long_keep_the_promises() {
    let seconds = std::env::var("FUZZ_SECONDS").map_or(20, |seconds| seconds.parse().unwrap());
    let only = std::env::var("FUZZ_TARGET").ok();
    for (name, _) in targets::TARGETS.iter().filter(|(name, _)| only.as_ref().is_none_or(|only| only == name))
    {
        let begun = std::time::Instant::now();
        let goes_on = |_| begun.elapsed().as_secs() < seconds;
        let count = change_at_random(name, u64::from(std::process::id()), goes_on);
        eprintln!("{name}: {count} executions in {seconds} s");
    }
}
