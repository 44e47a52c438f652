//! What is said about bad configurations. Each message is kept in `messages.txt`, beside what causes it.

use cacheness::*;

use super::holds;
use super::parts::registry;

enum Format {
    Toml,
    Json,
    /// TOML in a file of this name.
    File(&'static str),
}

use Format::{File, Json, Toml};

type Case = (&'static str, Format, &'static str, &'static [(&'static str, &'static str)]);

const CASES: &[Case] = &[
    ("a misspelled option", Toml, "ttl = '1h'\nfoldr = 'x'\n", &[]),
    ("an option like no other", Toml, "backend = 'sqlite'\n", &[]),
    ("an option outside its table", Toml, "max_entries = 5\n", &[]),
    ("a misspelled table", Toml, "[metdata]\nbackend = 'sqlite'\n", &[]),
    ("a table like no other", Toml, "[server]\nport = 1\n", &[]),
    ("a misspelled limit", Toml, "[limits]\nmax_entry = 5\n", &[]),
    ("a misspelled option of a backend", Toml, "folder = 'x'\n[metadata]\nreader = 5\n", &[]),
    ("a misspelled choice of a backend", Toml, "folder = 'x'\n[metadata]\nbackand = 'memory'\n", &[]),
    ("a backend chosen by another word", Toml, "folder = 'x'\n[blobs]\ntype = 'memory'\n", &[]),
    ("an option for a backend without any", Toml, "[blobs]\nbackend = 'memory'\npath = 'x'\n", &[]),
    ("an option of another backend", Toml, "[metadata]\nbackend = 'sqlite_memory'\nreaders = 2\n", &[]),
    ("a misspelled option of remote calls", Toml, "[remote]\ntimeouts = '5s'\n", &[]),
    ("a time of remote calls out of its range", Toml, "[remote]\ndeadline = '0s'\n", &[]),
    ("no attempt at all", Toml, "[remote]\nattempts = 0\n", &[]),
    ("a policy for writes that there is not", Toml, "on_write_error = 'retry'\n", &[]),
    ("a misspelled option of a namespace", Toml, "[namespaces.api]\ntll = '1h'\n", &[]),
    ("a misspelled backend", Toml, "[metadata]\nbackend = 'sqlit'\n", &[]),
    ("a blob backend that nobody knows", Toml, "[blobs]\nbackend = 'tape'\n", &[]),
    ("a backend that is no text", Toml, "[metadata]\nbackend = 5\n", &[]),
    ("a number for a time", Toml, "ttl = 3600\n", &[]),
    ("a number in quotes for a time", Toml, "ttl = '3600'\n", &[]),
    ("a time in an unknown unit", Toml, "access_interval = '1 fortnight'\n", &[]),
    ("a word like the one that is taken", Toml, "ttl = 'nver'\n", &[]),
    ("a size in an unknown unit", Toml, "[limits]\nmax_bytes = '10 GiBB'\n", &[]),
    ("a size below zero", Toml, "inline_limit = -1\n", &[]),
    ("a size out of its range", Toml, "[metadata]\nbackend = 'sqlite_memory'\ncache_size = '1 KiB'\n", &[]),
    ("a number out of its range", Toml, "folder = 'x'\n[metadata]\nreaders = 0\n", &[]),
    ("a number with a fraction", Toml, "folder = 'x'\n[metadata]\nreaders = 2.5\n", &[]),
    ("a number beyond all", Toml, "[limits]\nmax_entries = 99999999999999999999\n", &[]),
    ("a time out of its range", Toml, "folder = 'x'\n[metadata]\nbusy_timeout = '2h'\n", &[]),
    ("a text for a truth value", Toml, "mmap = 'yes'\n", &[]),
    ("a number for a text", Toml, "folder = 5\n", &[]),
    ("a word with capitals", Toml, "durability = 'POWER'\n", &[]),
    ("a misspelled policy", Toml, "[limits]\npolicy = 'lsu'\n", &[]),
    ("a limit of a namespace out of range", Toml, "[namespaces.api]\nmax_entries = -1\n", &[]),
    ("a policy for a namespace", Toml, "[namespaces.api]\npolicy = 'lfu'\n", &[]),
    ("a word that is not one of them", Toml, "durability = 'disk'\n", &[]),
    ("a list", Toml, "[limits]\nmax_entries = [1, 2]\n", &[]),
    ("a date", Toml, "ttl = 2024-01-01\n", &[]),
    ("a table for a value", Toml, "[ttl]\nseconds = 5\n", &[]),
    ("a value for a table", Toml, "metadata = 'sqlite'\n", &[]),
    ("a value for a namespace", Toml, "[namespaces]\napi = '1h'\n", &[]),
    ("a namespace without a name", Toml, "[namespaces.'']\nttl = '1h'\n", &[]),
    ("an empty path", Toml, "folder = ''\n", &[]),
    ("a level without its compression", Toml, "compression = 'lz4'\ncompression_level = 3\n", &[]),
    ("sqlite without a folder", Toml, "[metadata]\nbackend = 'sqlite'\n", &[]),
    ("files without a folder", Toml, "[blobs]\nbackend = 'filesystem'\n", &[]),
    ("a fallback without a place", Toml, "[fallback.metadata]\nbackend = 'sqlite'\n", &[]),
    ("a fallback in the cache's folder", Toml, "folder = '/x'\n[fallback]\nfolder = '/x'\n", &[]),
    ("a misspelled option of a fallback", Toml, "[fallback]\nfoldr = '/x'\n", &[]),
    (
        "a misspelled backend of a fallback",
        Toml,
        "[fallback]\nfolder = '/x'\nblobs.backend = 'filesytem'\n",
        &[],
    ),
    (
        "an option that a fallback's backend lacks",
        Toml,
        "[fallback]\nfolder = '/x'\nmetadata.reader = 2\n",
        &[],
    ),
    (
        "a fallback that keeps files without a folder",
        Toml,
        "[fallback]\nmetadata.backend = 'memory'\nblobs.backend = 'filesystem'\n",
        &[],
    ),
    ("a value for a table of a fallback", Toml, "[fallback]\nmetadata = 'sqlite'\n", &[]),
    ("a local tier without a folder", Toml, "[local_tier]\nmax_bytes = '1 GiB'\n", &[]),
    ("an option that must be given", Toml, "[metadata]\nbackend = 'server'\n", &[]),
    (
        "a secret of the wrong kind",
        Toml,
        "[metadata]\nbackend = 'server'\nconnection_url = 'x'\npassword = 5\n",
        &[],
    ),
    (
        "options that do not go together",
        Toml,
        "[blobs]\nbackend = 'server'\nconnection_url = 'x'\npassword = 'p'\n",
        &[],
    ),
    ("no TOML", Toml, "ttl = '1h'\nfolder = cache\n", &[]),
    ("the same option twice", Toml, "ttl = '1h'\nttl = '2h'\n", &[]),
    ("a variable that is not set", Toml, "folder = '${CACHE_HOME}/x'\n", &[]),
    ("a variable that does not end", Toml, "folder = '${HOME/x'\n", &[]),
    ("a variable with a default", Toml, "folder = '${HOME:-/tmp}'\n", &[]),
    ("what a variable holds", Toml, "[limits]\nmax_entries = '${N}'\n", &[("N", "many")]),
    ("a variable out of range", Toml, "folder = 'x'\n", &[("CACHENESS_METADATA__READERS", "100")]),
    ("a variable for no option", Toml, "", &[("CACHENESS_FOLDR", "x")]),
    ("a variable for a table", Toml, "[metadata]\nbackend = 'memory'\n", &[("CACHENESS_METADATA", "sqlite")]),
    ("a variable in a value", Toml, "ttl = '1h'\n", &[("CACHENESS_TTL__SECONDS", "5")]),
    ("a variable with too many underscores", Toml, "", &[("CACHENESS__TTL", "5s")]),
    ("a variable that names no backend", Toml, "", &[("CACHENESS_BLOBS__BACKEND", "filesytem")]),
    ("no JSON", Json, "{\n  \"ttl\": \"1h\",\n}", &[]),
    ("JSON that is no object", Json, "[1]", &[]),
    ("null", Json, "{\n  \"limits\": {\n    \"max_entries\": null\n  }\n}", &[]),
    ("a list in JSON", Json, "{\n  \"ttl\": [\"1h\"]\n}", &[]),
    ("the same option twice in JSON", Json, "{\n  \"ttl\": \"1h\",\n  \"ttl\": \"2h\"\n}", &[]),
    ("a wrong value in JSON", Json, "{\n  \"limits\": {\n    \"max_bytes\": \"much\"\n  }\n}", &[]),
    ("a misspelled option in a file", File("cache.toml"), "\n\ncompresion = 'lz4'\n", &[]),
    ("a file that says not what it holds", File("cache.yaml"), "ttl: 1h\n", &[]),
];

fn message((_, format, text, variables): &Case) -> Error {
    let variables = variables.iter().copied().collect();
    let folder = tempfile::tempdir().unwrap();
    let config = match format {
        Toml => Config::from_toml(text, &variables),
        Json => Config::from_json(text, &variables),
        File(name) => {
            fs_err::write(folder.path().join(name), text).unwrap();
            let found = Config::from_file(folder.path().join(name), &variables)
                .and_then(|config| CacheBuilder::new(registry()).config(config));
            let error = found.unwrap_err();
            let said = error.to_string().replace(&format!("{}/", folder.path().display()), "/etc/");
            return Error::new(error.kind(), said.split_once(": ").unwrap().1);
        }
    };
    let builder = config.and_then(|config| CacheBuilder::new(registry()).config(config));
    match builder.and_then(|builder| builder.check()) {
        Ok(()) => panic!("this is taken: {text}"),
        Err(error) => error,
    }
}

#[test]
fn every_bad_configuration_is_told_apart() {
    let mut all = String::new();
    for case in CASES {
        let (what, _, text, variables) = case;
        let error = message(case);
        assert!(
            matches!(error.kind(), ErrorKind::ConfigInvalid | ErrorKind::NotRegistered),
            "{what}: {error:?}"
        );
        all.push_str(&format!("# {what}\n"));
        text.lines().for_each(|line| all.push_str(&format!("    {line}\n")));
        for (name, value) in *variables {
            all.push_str(&format!("    {name}={value}\n"));
        }
        all.push_str(&format!("{error}\n\n"));
    }
    holds("tests/config/messages.txt", &all);
}

#[test]
fn an_option_of_a_program_is_named_without_a_line() {
    let wrong = CacheBuilder::new(registry())
        .metadata_with("server", ConfigOptions::new().with("connection_url", "x").with("port", 0));
    assert_eq!(
        wrong.open_blocking().unwrap_err().to_string(),
        "invalid configuration: `metadata.port` takes a whole number from 1 to 65535, but 0 was given"
    );
}
