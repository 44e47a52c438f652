//! Configurations: what they do, what is said about bad ones, and the page that lists all options.
//!
//! `BLESS=1 cargo test --all-features --test config` writes `messages.txt` and the page anew.

mod effects;
mod messages;
mod parts;
mod printing;
mod reading;
mod reference;
mod warnings;

use std::path::Path;

use cacheness::{CacheBuilder, Config, Registry, Result, Variables};

/// A builder with the built-in parts and what this TOML says.
fn toml(text: &str) -> Result<CacheBuilder> {
    with_variables(text, &[])
}

fn with_variables(text: &str, variables: &[(&str, &str)]) -> Result<CacheBuilder> {
    let variables = variables.iter().copied().collect();
    CacheBuilder::new(Registry::builtin()).config(Config::from_toml(text, &variables)?)
}

fn json(text: &str) -> Result<CacheBuilder> {
    CacheBuilder::new(Registry::builtin()).config(Config::from_json(text, &Variables::none())?)
}

fn file(path: impl AsRef<Path>) -> Result<CacheBuilder> {
    CacheBuilder::new(Registry::builtin()).config(Config::from_file(path, &Variables::none())?)
}

/// Holds a file of the repository to be what it should be, or writes it where that is asked for.
fn holds(path: &str, should: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("BLESS").is_some() {
        fs_err::write(&path, should).unwrap();
    }
    let is = fs_err::read_to_string(&path).unwrap_or_default();
    let differs = is.lines().zip(should.lines()).find(|(is, should)| is != should);
    assert!(
        is == should,
        "{} is out of date, first at {differs:?}; BLESS=1 cargo test --all-features --test config writes it",
        path.display()
    );
}
