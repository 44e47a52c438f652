use async_trait::async_trait;

use super::*;
use crate::blob::BlobBackend;
use crate::config::{ConfigOptions, OptionSpec};
use crate::handler::{BlobReader, BlobWriter, FormatMeta, HandlerContext, TypeClass};
use crate::metadata::MetadataBackend;
use crate::options::ReadOptions;
use crate::value::{BoxedValue, TypeTarget, ValueRef};

struct Part(&'static str);

fn unsupported() -> Error {
    Error::new(ErrorKind::Unsupported, "a part for tests of the registry does nothing")
}

impl CacheHandler for Part {
    fn name(&self) -> &str {
        self.0
    }
    fn description(&self) -> &str {
        "A handler for tests."
    }
    fn class(&self) -> TypeClass {
        TypeClass::Native
    }
    fn can_handle(&self, _: &ValueRef<'_>) -> bool {
        true
    }
    fn can_decode(&self, _: &TypeTarget) -> bool {
        true
    }
    fn put(&self, _: &ValueRef<'_>, _: &mut dyn BlobWriter, _: &HandlerContext) -> Result<FormatMeta> {
        Err(unsupported())
    }
    fn get(
        &self,
        _: &mut dyn BlobReader,
        _: &FormatMeta,
        _: &TypeTarget,
        _: &ReadOptions,
    ) -> Result<BoxedValue> {
        Err(unsupported())
    }
}

#[async_trait]
impl MetadataFactory for Part {
    fn name(&self) -> &str {
        self.0
    }
    fn description(&self) -> &str {
        "A metadata backend for tests."
    }
    fn options(&self) -> &[OptionSpec] {
        &[]
    }
    fn needs(&self) -> &[&'static str] {
        &["a server"]
    }
    async fn open(&self, _: &ConfigOptions, _: &OpenContext) -> Result<Arc<dyn MetadataBackend>> {
        Err(unsupported())
    }
}

#[async_trait]
impl BlobFactory for Part {
    fn name(&self) -> &str {
        self.0
    }
    fn description(&self) -> &str {
        "A blob backend for tests."
    }
    fn options(&self) -> &[OptionSpec] {
        &[]
    }
    async fn open(&self, _: &ConfigOptions, _: &OpenContext) -> Result<Arc<dyn BlobBackend>> {
        Err(unsupported())
    }
}

fn order(registry: &Registry) -> Vec<&str> {
    registry.handlers().map(CacheHandler::name).collect()
}

fn handlers(parts: &[(&'static str, Option<u32>)]) -> Registry {
    let mut registry = Registry::empty();
    for &(name, priority) in parts {
        let how = Register { priority, ..Register::new() };
        registry.register_handler(Part(name), how).unwrap();
    }
    registry
}

#[test]
fn handlers_stand_by_priority_and_those_without_one_come_last() {
    let registry = handlers(&[("a", None), ("b", Some(5)), ("c", None), ("d", Some(0)), ("e", Some(5))]);
    assert_eq!(order(&registry), ["d", "b", "e", "a", "c"]);
    let listed = registry.list_handlers();
    assert_eq!(listed[1].priority, Some(5));
    assert_eq!(listed[3].priority, None);
}

#[test]
fn the_highest_priority_number_still_comes_before_none() {
    let registry = handlers(&[("none", None), ("most", Some(u32::MAX))]);
    assert_eq!(order(&registry), ["most", "none"]);
}

#[test]
fn a_second_part_of_a_name_is_refused_unless_it_replaces() {
    let mut registry = handlers(&[("a", None), ("b", None)]);
    let error = registry.register_handler(Part("a"), Register::first()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(order(&registry), ["a", "b"]);
    registry.register_metadata_backend(Part("m"), Register::new()).unwrap();
    let again = registry.register_metadata_backend(Part("m"), Register::new());
    assert_eq!(again.unwrap_err().kind(), ErrorKind::Conflict);
    registry.register_metadata_backend(Part("m"), Register::new().replace()).unwrap();
    registry.register_blob_backend(Part("m"), Register::new()).unwrap();
    let again = registry.register_blob_backend(Part("m"), Register::new());
    assert_eq!(again.unwrap_err().kind(), ErrorKind::Conflict);
    registry.register_blob_backend(Part("m"), Register::new().replace()).unwrap();
}

#[test]
fn a_replacing_handler_keeps_the_place_unless_it_has_a_priority_of_its_own() {
    let mut registry = handlers(&[("a", Some(3)), ("b", None), ("c", None)]);
    registry.register_handler(Part("b"), Register::new().replace()).unwrap();
    assert_eq!(order(&registry), ["a", "b", "c"]);
    registry.register_handler(Part("a"), Register::new().replace()).unwrap();
    assert_eq!(registry.list_handlers()[0].priority, Some(3));
    registry.register_handler(Part("c"), Register::first().replace()).unwrap();
    assert_eq!(order(&registry), ["c", "a", "b"]);
    registry.register_handler(Part("new"), Register::new().replace()).unwrap();
    assert_eq!(order(&registry), ["c", "a", "b", "new"]);
}

#[test]
fn unregistering_says_whether_there_was_one() {
    let mut registry = handlers(&[("a", None)]);
    registry.register_metadata_backend(Part("m"), Register::new()).unwrap();
    registry.register_blob_backend(Part("s"), Register::new()).unwrap();
    assert!(registry.unregister_handler("a") && !registry.unregister_handler("a"));
    assert!(registry.unregister_metadata_backend("m") && !registry.unregister_metadata_backend("m"));
    assert!(registry.unregister_blob_backend("s") && !registry.unregister_blob_backend("s"));
    assert_eq!(registry.handler("a").err().unwrap().kind(), ErrorKind::NotRegistered);
}

#[test]
fn a_part_goes_by_the_name_that_it_was_registered_under() {
    let mut registry = Registry::empty();
    registry.register_handler(Part("own"), Register::new().named("other")).unwrap();
    registry.register_metadata_backend(Part("own"), Register::new().named("other")).unwrap();
    registry.register_blob_backend(Part("own"), Register::new().named("other")).unwrap();
    assert_eq!(registry.handler("other").unwrap().name(), "other");
    assert_eq!(registry.list_handlers()[0].description, "A handler for tests.");
    assert!(registry.handler("own").is_err() && registry.metadata_backend("own").is_err());
    assert_eq!(registry.list_metadata_backends()[0].name, "other");
    assert_eq!(registry.list_metadata_backends()[0].needs, ["a server"]);
    assert_eq!(registry.list_blob_backends()[0].name, "other");
    assert_eq!(registry.metadata_backends().next().unwrap().0, "other");
    assert_eq!(registry.blob_backends().next().unwrap().0, "other");
    let unnamed = registry.register_handler(Part(""), Register::new());
    assert_eq!(unnamed.unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_copy_does_not_see_later_changes() {
    let mut registry = handlers(&[("a", None)]);
    let copy = registry.clone();
    registry.unregister_handler("a");
    assert!(copy.handler("a").is_ok());
}

#[test]
fn an_unknown_name_lists_the_known_ones_and_the_nearest() {
    let registry = handlers(&[("alpha", None), ("beta", None)]);
    let message = registry.handler("alpa").err().unwrap().to_string();
    assert!(message.contains("known are `alpha`, `beta`; did you mean `alpha`?"), "{message}");
}
