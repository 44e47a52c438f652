//! How tests run the examples.
#![allow(unreachable_pub, reason = "a module of several test binaries")]

use std::path::PathBuf;
use std::process::Command;

/// Examples are built beside the tests.
pub fn example(name: &str) -> Command {
    let test = std::env::current_exe().expect("a test knows where it lies");
    let folder: PathBuf = test.ancestors().nth(2).expect("it lies in target/PROFILE/deps").join("examples");
    Command::new(folder.join(name).with_extension(std::env::consts::EXE_EXTENSION))
}

/// What a program that succeeds prints.
pub fn output(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{command:?} failed:\n{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}
