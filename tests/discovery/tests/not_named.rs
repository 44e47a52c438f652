//! A program that has the crate among its dependencies, and does not name it.

use cacheness_core::Registry;

#[test]
fn a_line_in_cargo_toml_alone_finds_nothing() {
    let mut registry = Registry::empty();
    registry.discover().unwrap();
    assert!(registry.list_handlers().is_empty());
}
