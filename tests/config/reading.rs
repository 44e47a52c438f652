//! Files, texts and variables become one configuration.

use cacheness::*;

use super::{file, json, toml, with_variables};

#[test]
fn toml_and_json_say_the_same() {
    let from_toml = toml(
        "ttl = '90s'\nmmap = false\n[limits]\nmax_entries = 5\nmax_bytes = '1 MiB'\n[metadata]\nbackend = \"sqlite_memory\"\n\
         [namespaces.\"a b\"]\nttl = 'never'\n",
    );
    let from_json = json(
        r#"{"ttl": "90s", "mmap": false, "limits": {"max_entries": 5, "max_bytes": 1048576},
            "metadata": {"backend": "sqlite_memory"}, "namespaces": {"a b": {"ttl": "never"}}}"#,
    );
    assert_eq!(from_toml.unwrap().to_toml().unwrap(), from_json.unwrap().to_toml().unwrap());
}

#[test]
fn a_configuration_that_says_nothing_is_that_of_a_cache_in_memory() {
    let nothing = CacheBuilder::new(Registry::builtin()).to_toml().unwrap();
    assert_eq!(toml("").unwrap().to_toml().unwrap(), nothing);
    assert_eq!(json("{}").unwrap().to_toml().unwrap(), nothing);
}

#[test]
fn variables_go_before_the_file() {
    let variables = [
        ("CACHENESS_TTL", "5m"),
        ("CACHENESS_MMAP", "false"),
        ("CACHENESS_LIMITS__MAX_ENTRIES", "7"),
        ("CACHENESS_METADATA__BACKEND", "sqlite_memory"),
        ("CACHENESS_NAMESPACES__API__TTL", "1s"),
        ("TEST_SOMETHING", "is left alone"),
        ("HOME", "as well"),
    ];
    let text =
        "ttl = '1h'\ninline_limit = '1 KiB'\n[namespaces.Api]\nttl = '2s'\n[metadata]\nbackend = 'memory'\n";
    let printed = with_variables(text, &variables).unwrap().to_toml().unwrap();
    for line in [
        "ttl = \"5m\"\n",
        "mmap = false\n",
        "inline_limit = \"1 KiB\"\n",
        "max_entries = 7\n",
        "backend = \"sqlite_memory\"\n",
        "[namespaces.\"Api\"]\nttl = \"1s\"\n",
    ] {
        assert!(printed.contains(line), "{line} is missing in {printed}");
    }
}

#[test]
fn variables_are_filled_into_texts() {
    let builder = |text: &str| with_variables(text, &[("A", "lz4"), ("SIZE", "2"), ("EMPTY", "")]);
    let printed = |text: &str| builder(text).unwrap().to_toml().unwrap();
    assert!(printed("compression = '${A}'").contains("compression = \"lz4\""));
    assert!(printed("inline_limit = '${SIZE} Ki${EMPTY}B'").contains("inline_limit = \"2 KiB\""));
    assert!(printed("limits.max_entries = '${SIZE}'").contains("max_entries = 2\n"));
    // Two signs stand for one, and what comes out of a variable is not looked at again.
    let folder = |text: &str| {
        let variables = [("A", "${SIZE}")];
        let printed = with_variables(text, &variables).unwrap().to_toml().unwrap();
        printed.lines().find(|line| line.starts_with("folder")).unwrap().to_owned()
    };
    assert_eq!(folder("folder = '/a/$${A}'"), "folder = \"/a/$${A}\"");
    assert_eq!(folder("folder = '/a/${A}'"), "folder = \"/a/$${SIZE}\"");
}

#[test]
fn a_text_that_a_variable_replaces_needs_no_variables() {
    let text = "folder = '${NOT_SET}/cache'\n[metadata]\nbackend = '${NOT_SET_EITHER}'\n";
    let variables = [("CACHENESS_FOLDER", "/here"), ("CACHENESS_METADATA__BACKEND", "memory")];
    let printed = with_variables(text, &variables).unwrap().to_toml().unwrap();
    assert!(printed.contains("folder = \"/here\"\n") && printed.contains("backend = \"memory\"\n"));
    let error = with_variables(text, &variables[..1]).unwrap_err();
    assert!(error.to_string().contains("NOT_SET_EITHER, which is not set"), "{error}");
}

#[test]
fn a_level_of_compression_stays_where_only_the_compression_is_named_again() {
    let level = |builder: CacheBuilder| {
        let printed = builder.to_toml().unwrap();
        printed.lines().find(|line| line.starts_with("compression_level")).unwrap_or_default().to_owned()
    };
    let again = |builder: CacheBuilder, text: &str| {
        builder.config(Config::from_toml(text, &Variables::none()).unwrap()).unwrap()
    };
    let nine = toml("compression = 'zstd'\ncompression_level = 9").unwrap();
    assert_eq!(level(again(nine.clone(), "compression = 'zstd'")), "compression_level = 9");
    assert_eq!(level(again(nine.clone(), "compression_level = 4")), "compression_level = 4");
    assert_eq!(
        level(again(again(nine, "compression = 'lz4'"), "compression = 'zstd'")),
        "compression_level = 3"
    );
}

#[test]
fn relative_paths_in_a_file_count_from_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("cache.toml");
    fs_err::write(&config, "folder = 'data'\n[metadata]\npath = 'index/db'\n[blobs]\npath = 'files'\n")
        .unwrap();
    fs_err::create_dir(folder.path().join("index")).unwrap();
    let cache = file(&config).unwrap().open_blocking().unwrap();
    assert_eq!(cache.folder().unwrap(), folder.path().join("data"));
    cache.put("k", &vec![1_u8; 100_000]).unwrap();
    cache.close().unwrap();
    assert!(folder.path().join("index/db").is_file());
    assert!(folder.path().join("files").is_dir() && !folder.path().join("data/blobs").exists());
}

#[test]
fn a_path_that_stands_in_no_file_counts_from_the_folder_of_the_cache() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!("folder = {:?}\n[metadata]\npath = 'other.sqlite'\n", folder.path());
    toml(&text).unwrap().open_blocking().unwrap();
    assert!(folder.path().join("other.sqlite").is_file());
}

#[test]
fn a_printed_path_means_the_same_wherever_it_is_read() {
    let builder = Cache::builder().folder("/tmp/x");
    let builder = builder.blobs_with("filesystem", ConfigOptions::new().with("path", "values"));
    assert!(builder.to_toml().unwrap().contains("path = \"/tmp/x/values\"\n"));
}

#[test]
fn both_faces_open_what_a_file_describes() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("cache.json");
    fs_err::write(&config, r#"{"folder": "data", "ttl": "1h"}"#).unwrap();
    let cache = blocking::Cache::from_config(&config).unwrap();
    cache.put("k", &1).unwrap();
    assert!(cache.get_entry("k").unwrap().unwrap().ttl_left().is_some());
    cache.close().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let cache = Cache::from_config(&config).await.unwrap();
        assert_eq!(cache.get("k").await.unwrap(), Some(1));
    });
}

#[test]
fn a_file_that_is_missing_is_not_found() {
    let error = file("no/such/file.toml").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("no/such/file.toml"), "{error}");
}

#[test]
fn what_a_program_says_after_a_configuration_goes_before_it() {
    let builder = toml("mmap = false\nttl = '1h'").unwrap().mmap(true);
    let printed = builder.to_toml().unwrap();
    assert!(printed.contains("mmap = true\n") && printed.contains("ttl = \"1h\"\n"), "{printed}");
}

#[test]
fn no_text_makes_the_readers_panic() {
    let seeds = [
        "ttl = '${A}'\n[limits]\nmax_entries = 1\n[metadata]\nbackend = \"x\"\n",
        r#"{"ttl": "90s", "limits": {"max_entries": 5}, "a": [1, null], "b": {"c": {"d": {}}}}"#,
    ];
    let variables = Variables::none();
    for seed in seeds {
        for at in 0..seed.len() {
            for replacement in ["", "\u{0}", "{", "}", "[", "\"", "'", "é", "$", "9999999999999999999999"] {
                let text = format!("{}{replacement}{}", &seed[..at], &seed[at + 1..]);
                for config in [Config::from_toml(&text, &variables), Config::from_json(&text, &variables)] {
                    let _ = config.and_then(|config| CacheBuilder::new(Registry::builtin()).config(config));
                }
            }
        }
    }
    let deep = "{\"a\":".repeat(10_000);
    assert!(Config::from_json(&deep, &variables).is_err());
    let deep = format!("{}{}", "{\"a\":".repeat(100), "}".repeat(100));
    assert!(json(&deep).is_err());
}
