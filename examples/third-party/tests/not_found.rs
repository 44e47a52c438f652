//! A program that has the crate among its dependencies, but does not name it, finds nothing: it is not linked in.

use cacheness::Registry;

#[test]
fn a_line_in_cargo_toml_alone_finds_nothing() {
    let mut registry = Registry::builtin();
    registry.discover().unwrap();
    assert!(registry.handler("cbor").is_err());
}
