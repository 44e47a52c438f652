//! A backend of a stranger's, for options that no built-in one has.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use cacheness::blobs::memory::MemoryBlobFactory;
use cacheness::metadata::memory::MemoryMetadataFactory;
use cacheness::*;

/// Opens metadata in memory, and notes the options that it was given.
#[derive(Clone, Default)]
pub(crate) struct Server(pub(crate) Arc<Mutex<Option<ConfigOptions>>>);

const OPTIONS: [OptionSpec; 4] = [
    OptionSpec::new("connection_url", OptionKind::Text, None, "Where the server is.")
        .required()
        .example("db://localhost"),
    OptionSpec::new("password", OptionKind::Text, None, "The password.").secret(),
    OptionSpec::new("user", OptionKind::Text, None, "The user."),
    OptionSpec::new("port", OptionKind::Int { min: 1, max: 65535 }, Some("5432"), "The port."),
];

fn go_together(options: &ConfigOptions) -> Result<()> {
    if options.secret("password").is_some() && options.text("user").is_none() {
        let message = "`password` goes with `user`; give both or neither";
        return Err(Error::new(ErrorKind::ConfigInvalid, message));
    }
    Ok(())
}

#[async_trait]
impl MetadataFactory for Server {
    fn name(&self) -> &str {
        "server"
    }

    fn description(&self) -> &str {
        "Entries on a server that is not there."
    }

    fn options(&self) -> &[OptionSpec] {
        &OPTIONS
    }

    fn check(&self, options: &ConfigOptions) -> Result<()> {
        go_together(options)
    }

    async fn open(&self, options: &ConfigOptions, context: &OpenContext) -> Result<Arc<dyn MetadataBackend>> {
        *self.0.lock().unwrap() = Some(options.clone());
        MemoryMetadataFactory::new().open(&ConfigOptions::new(), context).await
    }
}

#[async_trait]
impl BlobFactory for Server {
    fn name(&self) -> &str {
        "server"
    }

    fn description(&self) -> &str {
        "Blobs on a server that is not there."
    }

    fn options(&self) -> &[OptionSpec] {
        &OPTIONS
    }

    fn check(&self, options: &ConfigOptions) -> Result<()> {
        go_together(options)
    }

    async fn open(&self, options: &ConfigOptions, context: &OpenContext) -> Result<Arc<dyn BlobBackend>> {
        *self.0.lock().unwrap() = Some(options.clone());
        MemoryBlobFactory::new().open(&ConfigOptions::new(), context).await
    }
}

/// What is built in, and the backends above.
pub(crate) fn registry() -> Registry {
    let registry = Registry::builtin().with_metadata_backend(Server::default()).unwrap();
    registry.with_blob_backend(Server::default()).unwrap()
}

// shows: rows 52, 53
#[test]
fn a_metadata_backend_is_opened_only_where_a_configuration_names_it_and_gets_its_options() {
    let (named, unused) = (Server::default(), Server::default());
    let mut registry = Registry::builtin();
    registry.register_metadata_backend(named.clone(), Register::new()).unwrap();
    registry.register_metadata_backend(unused.clone(), Register::new().named("unused")).unwrap();
    let text = "[metadata]\nbackend = 'server'\nconnection_url = 'db://here'\nuser = 'u'\npassword = '${PW}'";
    let config = Config::from_toml(text, &Variables::from_iter([("PW", "hunter2")])).unwrap();
    let cache = CacheBuilder::new(registry).config(config).unwrap().open_blocking().unwrap();
    cache.put("k", &1).unwrap();
    assert!(unused.0.lock().unwrap().is_none());
    let options = named.0.lock().unwrap().clone().unwrap();
    assert_eq!(options.text("connection_url"), Some("db://here"));
    assert_eq!(options.secret("password").unwrap().expose(), "hunter2");
    assert_eq!(options.int("port"), Some(5432), "a default is filled in");
    let listed = cache.registry().list_metadata_backends();
    let listed = listed.iter().find(|part| part.name == "server").unwrap();
    assert_eq!((listed.builtin, &*listed.description), (false, "Entries on a server that is not there."));
    assert_eq!(listed.options.len(), 4);
}

// shows: rows 56, 57
#[test]
fn a_blob_backend_is_chosen_by_name_and_gets_its_options() {
    let named = Server::default();
    let mut registry = Registry::builtin();
    registry.register_blob_backend(named.clone(), Register::new().named("bucket")).unwrap();
    let text = "[blobs]\nbackend = 'bucket'\nconnection_url = 'db://here'\nport = 1";
    let config = Config::from_toml(text, &Variables::none()).unwrap();
    let cache = CacheBuilder::new(registry.clone()).config(config).unwrap().open_blocking().unwrap();
    cache.put("k", &vec![1_u8; 100_000]).unwrap();
    assert_eq!(cache.get("k").unwrap(), Some(vec![1_u8; 100_000]));
    assert_eq!(named.0.lock().unwrap().as_ref().unwrap().int("port"), Some(1));
    assert!(registry.unregister_blob_backend("bucket") && !registry.unregister_blob_backend("bucket"));
}

// shows: row 64
#[test]
fn an_unknown_option_is_tolerated_where_that_is_asked_for() {
    let named = Server::default();
    let registry = Registry::builtin().with_metadata_backend(named.clone()).unwrap();
    let text = "unknown_options = 'warn'\nlater = 1\n[metadata]\nbackend = 'server'\nconnection_url = 'x'\nextra = 2\n[new]\na = 1\n\
                [namespaces.n]\nfoo = 1\n[limits]\nbar = 1\n";
    let config = Config::from_toml(text, &Variables::none()).unwrap();
    CacheBuilder::new(registry).config(config).unwrap().open_blocking().unwrap();
    let given = named.0.lock().unwrap().clone().unwrap();
    assert!(given.names().all(|name| name != "extra"));
}
