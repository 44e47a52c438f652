//! Handlers of an application's own: before, after and instead of the built-in ones.

use cacheness::*;
use serde::{Deserialize, Serialize};

/// Stores every serde value as JSON.
struct Json;

impl CacheHandler for Json {
    fn name(&self) -> &str {
        "plain_json"
    }

    fn class(&self) -> TypeClass {
        TypeClass::Serde
    }

    fn can_handle(&self, value: &ValueRef<'_>) -> bool {
        value.is_serde()
    }

    fn can_decode(&self, target: &TypeTarget) -> bool {
        target.is_serde()
    }

    fn put(
        &self,
        value: &ValueRef<'_>,
        writer: &mut dyn BlobWriter,
        _: &HandlerContext,
    ) -> Result<FormatMeta> {
        let value = value.as_serialize().ok_or_else(|| Error::new(ErrorKind::Encode, "no serde value"))?;
        serde_json::to_writer(writer, value)
            .map_err(|error| Error::new(ErrorKind::Encode, "JSON").with_source(error))?;
        Ok(FormatMeta::new("made by plain_json"))
    }

    fn get(
        &self,
        reader: &mut dyn BlobReader,
        meta: &FormatMeta,
        target: &TypeTarget,
        _: &ReadOptions,
    ) -> Result<BoxedValue> {
        assert_eq!(meta.as_bytes().as_ref(), b"made by plain_json", "what put returned comes back");
        let bytes = reader.bytes()?;
        let mut json = serde_json::Deserializer::from_slice(&bytes);
        target.deserialize(&mut <dyn erased_serde::Deserializer<'_>>::erase(&mut json))
    }
}

submit_plugin!(|registry| registry.register_handler(Json, Register::first().named("discovered")));

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct User {
    name: String,
}

fn ada() -> User {
    User { name: "Ada".into() }
}

fn open(registry: &Registry) -> blocking::Cache {
    CacheBuilder::new(registry.clone()).open_blocking().unwrap()
}

/// Puts a value of a serde type, reads it back, and says which handler wrote it.
fn writer_of_a_put(registry: &Registry) -> String {
    let cache = open(registry);
    cache.put("user", &ada()).unwrap();
    assert_eq!(cache.get("user").unwrap(), Some(ada()));
    cache.get_entry("user").unwrap().unwrap().format.handler.clone()
}

// shows: rows 36, 37, 38, 39, 41, 44
#[test]
fn a_handler_with_a_priority_stands_before_the_one_that_takes_everything() {
    let mut registry = Registry::builtin();
    assert_eq!(writer_of_a_put(&registry), "msgpack");
    registry.register_handler(Json, Register::first()).unwrap();
    assert_eq!(writer_of_a_put(&registry), "plain_json");
    assert_eq!(registry.list_handlers()[0].name, "plain_json");
}

// shows: rows 35, 40
#[test]
fn a_handler_without_a_priority_is_asked_last() {
    let mut registry = Registry::builtin();
    registry.register_handler(Json, Register::new()).unwrap();
    assert_eq!(writer_of_a_put(&registry), "msgpack");
    assert_eq!(registry.list_handlers().last().unwrap().name, "plain_json");
    let cache = open(&registry);
    cache.put_with("user", &ada(), PutOptions::new().handler("plain_json")).unwrap();
    assert_eq!(cache.get_entry("user").unwrap().unwrap().format.handler, "plain_json");
    assert_eq!(cache.get("user").unwrap(), Some(ada()));
}

// shows: row 42
#[test]
fn a_handler_is_known_by_the_name_that_it_was_registered_under() {
    let mut registry = Registry::builtin();
    registry.register_handler(Json, Register::first().named("users")).unwrap();
    assert_eq!(writer_of_a_put(&registry), "users");
}

// shows: row 43
#[test]
fn a_listing_tells_built_in_parts_from_others() {
    let mut registry = Registry::builtin();
    registry.register_handler(Json, Register::new().priority(7)).unwrap();
    let listed = registry.list_handlers();
    let own: Vec<_> = listed.iter().filter(|part| !part.builtin).map(|part| &*part.name).collect();
    assert_eq!(own, ["plain_json"]);
    assert_eq!(listed[0].priority, Some(7));
    assert!(listed[1..].iter().all(|part| part.builtin && part.priority.is_none()));
    assert!(listed[1..].iter().all(|part| !part.description.is_empty()));
    for backend in [registry.list_metadata_backends(), registry.list_blob_backends()].concat() {
        assert!(backend.builtin && !backend.description.is_empty(), "{}", backend.name);
    }
}

// shows: row 45
#[test]
fn a_built_in_part_that_is_unregistered_is_used_no_longer() {
    let mut registry = Registry::builtin();
    registry.register_handler(Json, Register::new()).unwrap();
    assert!(registry.unregister_handler("msgpack"));
    assert!(!registry.unregister_handler("msgpack"));
    // Those that features may have brought, too.
    for format in ["json", "bincode", "postcard"] {
        registry.unregister_handler(format);
    }
    assert_eq!(writer_of_a_put(&registry), "plain_json");
    assert!(registry.unregister_metadata_backend("memory"));
    let error = CacheBuilder::new(registry.clone()).open_blocking().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotRegistered);
}

#[test]
fn a_handler_takes_the_place_of_a_built_in_one_of_its_name() {
    let mut registry = Registry::builtin();
    let how = Register::new().named("msgpack");
    assert_eq!(registry.register_handler(Json, how.clone()).unwrap_err().kind(), ErrorKind::Conflict);
    registry.register_handler(Json, how.replace()).unwrap();
    let listed = registry.list_handlers();
    assert!(listed.iter().any(|handler| handler.name == "msgpack" && !handler.builtin));
    assert_eq!(writer_of_a_put(&registry), "msgpack");
}

#[test]
fn a_cache_keeps_the_registry_that_it_was_opened_with() {
    let mut registry = Registry::builtin();
    let cache = open(&registry);
    registry.register_handler(Json, Register::first()).unwrap();
    registry.unregister_handler("msgpack");
    cache.put("user", &ada()).unwrap();
    assert_eq!(cache.get_entry("user").unwrap().unwrap().format.handler, "msgpack");
    assert!(cache.registry().handler("plain_json").is_err());
}

// shows: row 35
#[test]
fn what_crates_submit_is_found_only_when_asked_for() {
    let mut registry = Registry::builtin();
    assert!(registry.handler("discovered").is_err());
    registry.discover().unwrap();
    assert_eq!(writer_of_a_put(&registry), "discovered");
    let error = registry.discover().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("plugin: cacheness"), "{error}");
}
