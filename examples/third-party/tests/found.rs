//! A program that names the crate finds its handler. Nothing of the crate need be used.

use cacheness::{CacheBuilder, PutOptions, Registry};
use cacheness_cbor as _;

// shows: row 94
#[test]
fn a_crate_that_the_program_names_is_found() {
    let mut registry = Registry::builtin();
    assert!(registry.handler("cbor").is_err(), "nothing is found before it is asked for");
    registry.discover().unwrap();
    let cache = CacheBuilder::new(registry).open_blocking().unwrap();
    cache.put_with("answer", &42, PutOptions::new().handler("cbor")).unwrap();
    assert_eq!(cache.get("answer").unwrap(), Some(42));
}
