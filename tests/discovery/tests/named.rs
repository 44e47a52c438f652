//! A program that names the crate: `use their_crate as _;`.

use cacheness_core::Registry;
use cacheness_discovery_test as _;

#[test]
fn a_crate_that_the_program_names_is_found() {
    let mut registry = Registry::empty();
    registry.discover().unwrap();
    assert!(registry.handler("nothing").is_ok());
}
