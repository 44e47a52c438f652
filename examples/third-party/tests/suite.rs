//! The handler passes the testkit's suite, and a cache works over it.

use std::collections::BTreeMap;

use cacheness::{CacheBuilder, Error, Register, Registry, TypeClass};
use cacheness_cbor::CborHandler;
use cacheness_testkit::handler::HandlerCase;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, PartialEq, Debug)]
enum Shape {
    Point,
    Circle(f64),
    Box { width: u32, label: Option<String> },
}

// shows: rows 67, 94
#[test]
fn cbor_passes_the_suite() {
    HandlerCase::new(CborHandler)
        .is_named("cbor", TypeClass::Serde)
        .accepts(&7_u64)
        .accepts(&i64::MIN)
        .accepts(&"ü☃ text".to_owned())
        .accepts(&vec![Some('x'), None])
        .accepts(&BTreeMap::from([("a".to_owned(), vec![1.5, -0.0])]))
        .accepts(&vec![
            Shape::Point,
            Shape::Circle(0.5),
            Shape::Box { width: 3, label: None },
            Shape::Box { width: 4, label: Some("b".to_owned()) },
        ])
        .rejects("borrowed text is for `text`");
}

// shows: rows 35, 94
#[test]
fn nothing_is_used_before_it_is_registered_and_then_it_goes_first() -> Result<(), Error> {
    let mut registry = Registry::builtin();
    assert!(registry.handler("cbor").is_err());
    registry.register_handler(CborHandler, Register::first())?;
    let cache = CacheBuilder::new(registry).open_blocking()?;
    cache.put("shape", &Shape::Circle(0.5))?;
    assert_eq!(cache.get_entry("shape")?.map(|entry| entry.format.handler.clone()).as_deref(), Some("cbor"));
    assert_eq!(cache.get("shape")?, Some(Shape::Circle(0.5)));
    Ok(())
}

#[test]
fn the_program_that_uses_it_says_what_it_found() {
    // Examples are built beside the tests.
    let test = std::env::current_exe().expect("a test knows where it lies");
    let folder = test.ancestors().nth(2).expect("it lies in target/PROFILE/deps").join("examples");
    let program = folder.join("app").with_extension(std::env::consts::EXE_EXTENSION);
    let output = std::process::Command::new(program).output().expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("found `cbor`: Any serde value as CBOR."), "{text}");
    assert!(text.contains("read back: Some([2, 3, 5, 7])"), "{text}");
}
