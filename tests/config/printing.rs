//! A configuration printed, and read again.

use cacheness::*;

use super::parts::registry;
use super::toml;

#[test]
fn what_is_printed_gives_the_same_configuration_when_it_is_read() {
    for text in [
        "",
        "folder = '/tmp/x'\n",
        "folder = '/tmp/x'\nmode = 'existing'\nttl = '1h 30m'\ncompression = 'zstd'\ncompression_level = 9\n\
         [limits]\nmax_bytes = 'unlimited'\nmax_entries = 3\npolicy = 'lfu'\n[metadata]\nreaders = 2\n\
         busy_timeout = '5s'\n[blobs]\npath = '/tmp/\"quoted\" $${X}'\n[namespaces.'a.b \"c\"']\nttl = '250ms'\nmax_bytes = '3 MiB'\n",
        "folder = '/tmp/x'\n[local_tier]\nfolder = '/tmp/y'\nwrite_through = true\n[fallback]\nfolder = '/tmp/z'\n\
         [fallback.metadata]\nreaders = 2\n[fallback.blobs]\nbackend = 'memory'\n",
        "inline_limit = 1000\n[metadata]\nbackend = 'sqlite_memory'\ncache_size = 65536\n",
    ] {
        let printed = toml(text).unwrap().to_toml().unwrap();
        let again = toml(&printed).unwrap_or_else(|error| panic!("{error} in {printed}")).to_toml().unwrap();
        assert_eq!(again, printed, "from {text}");
    }
}

#[test]
fn every_default_is_filled_in() {
    let printed = toml("folder = '/tmp/x'").unwrap().to_toml().unwrap();
    let expected = "folder = \"/tmp/x\"
mode = \"create\"
durability = \"process\"
permissions = \"private\"
allow_other_owner = false
allow_new_blobs = false
ttl = \"never\"
compression = \"none\"
# compression_level: 3 with `zstd`; the others have none
inline_limit = \"32 KiB\"
on_read_error = \"miss\"
on_write_error = \"error\"
write_queue = \"64 MiB\"
on_decode_error = \"miss\"
on_encode_error = \"error\"
file_check_interval = \"0s\"
access_interval = \"1m\"
mmap = true
unknown_options = \"error\"

[limits]
# max_entries: what the cache has; unlimited in a new one
# max_bytes: what the cache has; in a new one 10 GiB in a folder, otherwise unlimited
# policy: what the cache has; `lru` in a new one

[remote]
timeout = \"10s\"
deadline = \"30s\"
attempts = 4
backoff = \"100ms\"
in_flight = 64
breaker_failures = 5
breaker_pause = \"5s\"

[metadata]
backend = \"sqlite\"
# path: `index.sqlite` in the cache's folder
readers = 4
busy_timeout = \"1m\"
cache_size = \"16 MiB\"
reserve = \"1 MiB\"

[blobs]
backend = \"filesystem\"
# path: `blobs` in the cache's folder

[local_tier]
# folder: without one, they are fetched for every read
# max_bytes: 10 GiB
# write_through: only what is read is kept

[signing]
# key_file: without a key, entries are not signed
# key_env: not set
# create_key: a key file that is not there is an error
# algorithm: `hmac-sha256`

[encryption]
# write_key: the only one that there is
# encrypt_tags: tags stay readable
# hash_keys: keys stay readable
# hash_key: must be given with `hash_keys`

[fallback]
# folder: without a fallback, they fail
";
    assert_eq!(printed, expected);
}

/// A configuration with the secret given in `text`, printed.
fn printed(text: &str, variables: &[(&str, &str)]) -> String {
    let text = format!("[metadata]\nbackend = 'server'\nconnection_url = 'x'\nuser = 'u'\n{text}");
    let config = Config::from_toml(&text, &variables.iter().copied().collect()).unwrap();
    let builder = CacheBuilder::new(registry()).config(config).unwrap();
    let (printed, debug) = (builder.to_toml().unwrap(), format!("{builder:?}"));
    assert!(!printed.contains("hunter2") && !debug.contains("hunter2"), "{printed} {debug}");
    printed
}

#[test]
fn a_secret_is_not_printed_but_where_it_comes_from_is() {
    assert!(printed("password = 'hunter2'", &[]).contains("# password: (hidden), line 5\n"));
    let variables = [("PW", "hunter2")];
    assert!(printed("password = '${PW}'", &variables).contains("password = \"${PW}\"\n"));
    let variables = [("HOST", "h")];
    assert!(
        printed("password = 'app:hunter2@${HOST}'", &variables).contains("# password: (hidden), line 5\n")
    );
    assert!(printed("password = '${HOST}hunter2'", &variables).contains("# password: (hidden), line 5\n"));
    assert!(printed("password = 'hunter2$${'", &[]).contains("# password: (hidden), line 5\n"));
    let variables = [("CACHENESS_METADATA__PASSWORD", "hunter2")];
    assert!(printed("", &variables).contains("password = \"${CACHENESS_METADATA__PASSWORD}\"\n"));
}

#[test]
fn what_a_variable_filled_in_is_printed_as_the_variable() {
    let printed = printed("port = '${PORT}'", &[("PORT", "99")]);
    assert!(printed.contains("port = \"${PORT}\"\n"), "{printed}");
}

#[test]
fn every_option_of_the_cache_reaches_its_setting() {
    for spec in CACHE_OPTIONS {
        let is_off = |name: &str, on: bool| spec.name.starts_with(name) && !on;
        if is_off("signing.", cfg!(feature = "signing"))
            || is_off("encryption.", cfg!(feature = "encryption"))
        {
            continue;
        }
        let value = match spec.name {
            "mode" => "existing",
            "durability" => "power",
            "compression" => "lz4",
            "compression_level" => "11",
            "on_read_error" | "on_decode_error" => "error",
            "inline_limit" | "write_queue" => "3 KiB",
            "access_interval" => "3s",
            "remote.timeout" | "remote.deadline" | "remote.backoff" | "remote.breaker_pause" => "7s",
            "remote.attempts" | "remote.in_flight" | "remote.breaker_failures" => "7",
            "mmap" => "false",
            "allow_other_owner" | "allow_new_blobs" => "true",
            "unknown_options" => "warn",
            "limits.policy" => "size",
            "folder" | "fallback.folder" => "/tmp/somewhere",
            "metadata.backend" | "blobs.backend" | "fallback.metadata.backend" | "fallback.blobs.backend" => {
                "server"
            }
            name => spec.example.unwrap_or_else(|| panic!("`{name}` needs a value here")),
        };
        let (table, name) = spec.name.rsplit_once('.').unwrap_or(("", spec.name));
        let before = match spec.name {
            "compression_level" => "compression = 'zstd'\n",
            "signing.create_key" | "signing.algorithm" => "key_file = '/tmp/key'\n",
            "encryption.encrypt_tags" => "write_key = '2026'\n",
            "encryption.hash_keys" => "write_key = '2026'\nhash_key = 'names'\n",
            "encryption.hash_key" => "write_key = '2026'\nhash_keys = true\n",
            "local_tier.max_bytes" | "local_tier.write_through" => "folder = '/tmp/somewhere'\n",
            _ => "",
        };
        let above = match spec.name {
            "fallback.metadata.backend" | "fallback.blobs.backend" => "fallback.folder = '/tmp/somewhere'\n",
            _ => "",
        };
        let after = match value {
            "server" => "connection_url = 'x'\n",
            _ if table == "encryption" => "[encryption.keys]\n2026.key_env = 'A'\nnames.key_env = 'B'\n",
            _ => "",
        };
        let table = if table.is_empty() { String::new() } else { format!("[{table}]\n") };
        let text = format!("{above}{table}{before}{name} = '{value}'\n{after}");
        let config = Config::from_toml(&text, &Variables::none()).unwrap();
        let printed = CacheBuilder::new(registry()).config(config).unwrap().to_toml().unwrap();
        let unchanged = CacheBuilder::new(registry()).to_toml().unwrap();
        let line = printed.lines().find(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(" = ")) && line.contains(value)
        });
        let line = line.unwrap_or_else(|| panic!("`{}` is not in {printed}", spec.name));
        assert!(!unchanged.lines().any(|other| other == line), "`{}` is as before", spec.name);
    }
}

#[test]
fn every_default_and_example_is_a_value_that_its_option_takes() {
    let registry = registry();
    let backends = [registry.list_metadata_backends(), registry.list_blob_backends()].concat();
    let own = CACHE_OPTIONS.iter().chain(NAMESPACE_OPTIONS).chain(ENCRYPTION_KEY_OPTIONS);
    for spec in own.chain(backends.iter().flat_map(|part| &part.options)) {
        for text in [spec.default, spec.example].into_iter().flatten() {
            let takes = spec.kind.holds(&spec.value(text)) || spec.word == Some(text);
            assert!(takes, "`{}` does not take {text}", spec.name);
        }
        assert!(!spec.help.is_empty());
    }
}

#[test]
fn what_a_program_gives_as_a_secret_is_hidden_in_any_option() {
    let server = |name: &str, value: Secret| {
        let options = ConfigOptions::new().with("connection_url", "x").with(name, value);
        CacheBuilder::new(registry()).metadata_with("server", options)
    };
    let printed = server("user", Secret::new("hunter2")).to_toml().unwrap();
    assert!(printed.contains("# user: (hidden), set by the program\n"), "{printed}");
    let error = server("port", Secret::new("hunter2")).check().unwrap_err().to_string();
    assert!(error.contains("`metadata.port` takes a whole number") && !error.contains("hunter2"), "{error}");
    assert!(!format!("{:?}", ConfigValue::from(Secret::new("hunter2"))).contains("hunter2"));
}

#[test]
fn a_password_without_its_quotes_is_not_shown() {
    for text in ["password = 12345678901234567890123", "user = 12345678901234567890123"] {
        let text = format!("[metadata]\nbackend = 'server'\nconnection_url = 'x'\n{text}\n");
        let config = Config::from_toml(&text, &Variables::none()).unwrap();
        let error = CacheBuilder::new(registry()).config(config).unwrap().check().unwrap_err().to_string();
        assert!(
            error.contains("line 4") && error.contains("write it in quotes") || error.contains("(hidden)"),
            "{error}"
        );
        assert!(!error.contains("1234567890"), "{error}");
    }
}
