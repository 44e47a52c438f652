//! The options of the cache itself, and what a builder says of each.

use std::path::Path;
use std::time::Duration;

use super::build::Chosen;
use super::spec::{OptionKind, OptionSpec};
use super::units::format_size;
use super::value::ConfigValue;
use crate::builder::CacheBuilder;
use crate::encryption::EncryptionKey;
use crate::engine::{OnEncodeError, OnReadError, OnWriteError};
use crate::error::{Error, Result};
use crate::names::Namespace;
use crate::pair::NewBlobs;
use crate::permissions::Permissions;
use crate::registry::{Durability, OpenMode};
use crate::signing::{Signing, SigningAlgorithm};
use crate::stage::Compression;

/// The options of the cache itself, in the order in which they are printed. A dot stands for a table.
pub const CACHE_OPTIONS: &[OptionSpec] = &[
    OptionSpec::new("folder", OptionKind::Path, None, "The folder that holds the cache.")
        .otherwise("without one, the cache is in memory unless backends say otherwise")
        .example("./cache"),
    OptionSpec::new(
        "mode",
        OptionKind::Choice(&["create", "existing"]),
        Some("create"),
        "Whether a cache that is not there is created, or an error.",
    ),
    OptionSpec::new(
        "durability",
        OptionKind::Choice(&["process", "power"]),
        Some("process"),
        "What a put that returned survives: the death of the process, or a loss of power.",
    ),
    OptionSpec::new(
        "permissions",
        OptionKind::Choice(&["private", "umask"]),
        Some("private"),
        "Who may read and write the files that the cache makes: the user that the process runs as, or whoever the umask lets.",
    )
    .example("umask"),
    OptionSpec::new(
        "allow_other_owner",
        OptionKind::Bool,
        Some("false"),
        "Whether the cache's folders may belong to another user than the one that the process runs as.",
    ),
    OptionSpec::new(
        "allow_new_blobs",
        OptionKind::Bool,
        Some("false"),
        "Whether a cache that has entries may begin a new store of blobs; for one opening, after its blobs were lost.",
    ),
    OptionSpec::new(
        "ttl",
        OptionKind::ANY_DURATION,
        Some(NEVER),
        "The time after which values expire that are put without a TTL of their own.",
    )
    .or_word(NEVER)
    .example("1h"),
    OptionSpec::new(
        "compression",
        OptionKind::Choice(&["none", "lz4", "zstd"]),
        Some("none"),
        "How values are compressed that are put without a choice of their own.",
    )
    .example("zstd"),
    OptionSpec::new(
        "compression_level",
        OptionKind::Int { min: 1, max: 22 },
        None,
        "How hard `zstd` tries: higher is smaller and slower.",
    )
    .otherwise("3 with `zstd`; the others have none")
    .example("9"),
    OptionSpec::new(
        "inline_limit",
        OptionKind::ANY_SIZE,
        Some("32 KiB"),
        "Up to which size a value is stored with its entry rather than as a blob; never more than the metadata backend \
         allows.",
    ),
    OptionSpec::new(
        "on_read_error",
        OptionKind::Choice(&["miss", "error"]),
        Some("miss"),
        "What a get does where a backend fails.",
    ),
    OptionSpec::new(
        "on_write_error",
        OptionKind::Choice(&["error", "drop", "queue"]),
        Some("error"),
        "What a put, a remove or a touch does where a backend fails for a reason that may pass: fail, drop the write and \
         count it, or queue it until it can be made.",
    )
    .example("queue"),
    OptionSpec::new(
        "write_queue",
        OptionKind::ANY_SIZE,
        Some("64 MiB"),
        "How much memory queued writes may take with `on_write_error = \"queue\"`; what does not fit is an error.",
    ),
    OptionSpec::new(
        "on_decode_error",
        OptionKind::Choice(&["miss", "error"]),
        Some("miss"),
        "What a get does where a value does not decode as the type asked for.",
    ),
    OptionSpec::new(
        "on_encode_error",
        OptionKind::Choice(&["error", "drop", "other_format"]),
        Some("error"),
        "What a put does where the format that is chosen cannot encode the value: fail, log and count it and store nothing, or \
         try the other formats that take it.",
    )
    .example("drop"),
    OptionSpec::new(
        "file_check_interval",
        OptionKind::ANY_DURATION,
        Some("0s"),
        "For how long a source file that was looked at is taken to be unchanged.",
    )
    .example("1s"),
    OptionSpec::new(
        "access_interval",
        OptionKind::ANY_DURATION,
        Some("1m"),
        "How old a stored access time may grow before it is renewed.",
    ),
    OptionSpec::new(
        "mmap",
        OptionKind::Bool,
        Some("true"),
        "Whether large blobs are mapped into memory or read.",
    ),
    OptionSpec::new(
        "unknown_options",
        OptionKind::Choice(&["error", "warn"]),
        Some("error"),
        "What is done about options that nobody knows: refuse them, or log a warning and go on.",
    ),
    OptionSpec::new(
        "limits.max_entries",
        OptionKind::Int { min: 0, max: i64::MAX },
        None,
        "The most entries.",
    )
    .or_word(UNLIMITED)
    .otherwise("what the cache has; unlimited in a new one")
    .example("100000"),
    OptionSpec::new("limits.max_bytes", OptionKind::ANY_SIZE, None, "The most bytes of stored values.")
        .or_word(UNLIMITED)
        .otherwise("what the cache has; in a new one 10 GiB in a folder, otherwise unlimited")
        .example("2 GiB"),
    OptionSpec::new(
        "limits.policy",
        OptionKind::Text,
        None,
        "Who is evicted first when a limit is reached: `lru`, `lfu`, `fifo`, `ttl`, `size`, `none`, or a policy that the \
         program registers.",
    )
    .otherwise("what the cache has; `lru` in a new one")
    .example("lfu"),
    OptionSpec::new(
        "remote.timeout",
        SOME_TIME,
        Some("10s"),
        "How long one attempt of a call to a remote backend may take; for a blob, so long again for every 8 MiB.",
    ),
    OptionSpec::new(
        "remote.deadline",
        SOME_TIME,
        Some("30s"),
        "How long a call may take with all its attempts and pauses and the wait for its turn; for a blob, so long again \
         for every 8 MiB.",
    ),
    OptionSpec::new(
        "remote.attempts",
        OptionKind::Int { min: 1, max: 100 },
        Some("4"),
        "How often a call is made that fails for a reason that may pass, the first time included.",
    ),
    OptionSpec::new(
        "remote.backoff",
        OptionKind::Duration { min: Duration::ZERO, max: Duration::from_secs(10) },
        Some("100ms"),
        "The longest pause before the second attempt; it doubles with each further one, and each pause is drawn at random \
         up to the longest.",
    ),
    OptionSpec::new(
        "remote.in_flight",
        OptionKind::Int { min: 1, max: 100_000 },
        Some("64"),
        "How many calls to one backend may be under way; further ones wait for their turn.",
    ),
    OptionSpec::new(
        "remote.breaker_failures",
        OptionKind::Int { min: 1, max: 1_000_000 },
        Some("5"),
        "After how many failures in a row calls to a backend fail at once.",
    ),
    OptionSpec::new(
        "remote.breaker_pause",
        SOME_TIME,
        Some("5s"),
        "For how long they do before one call tries again.",
    ),
    OptionSpec::new("metadata.backend", OptionKind::Text, None, "Where entries live.")
        .otherwise("`sqlite` in a folder, otherwise `memory`")
        .example("sqlite"),
    OptionSpec::new("blobs.backend", OptionKind::Text, None, "Where blobs live.")
        .otherwise("`filesystem` in a folder, otherwise `memory`")
        .example("filesystem"),
    OptionSpec::new(
        "local_tier.folder",
        OptionKind::Path,
        None,
        "A folder of this machine that keeps blobs of another machine once they have been read.",
    )
    .otherwise("without one, they are fetched for every read")
    .example("/var/cache/blobs"),
    OptionSpec::new(
        "local_tier.max_bytes",
        OptionKind::ANY_SIZE,
        None,
        "The most bytes that are kept there; what was not used for the longest time goes first.",
    )
    .otherwise("10 GiB")
    .example("50 GiB"),
    OptionSpec::new(
        "local_tier.write_through",
        OptionKind::Bool,
        None,
        "Whether what is put is kept there, too.",
    )
    .otherwise("only what is read is kept")
    .example("true"),
    OptionSpec::new(
        "signing.key_file",
        OptionKind::Path,
        None,
        "The file of the key that entries are signed with, 32 bytes at least; others may not read it.",
    )
    .otherwise("without a key, entries are not signed")
    .example("/etc/app/cache.key"),
    OptionSpec::new(
        "signing.key_env",
        OptionKind::Text,
        None,
        "The variable of the environment that holds the key, in place of a file.",
    )
    .example("CACHE_SIGNING_KEY"),
    OptionSpec::new(
        "signing.create_key",
        OptionKind::Bool,
        None,
        "Whether a key file that is not there is made; one that is there is never replaced.",
    )
    .otherwise("a key file that is not there is an error")
    .example("true"),
    OptionSpec::new(
        "signing.algorithm",
        OptionKind::Choice(&["hmac-sha256", "blake3"]),
        None,
        "How signatures are made; all who share the cache say the same.",
    )
    .otherwise("`hmac-sha256`")
    .example("blake3"),
    OptionSpec::new(
        "encryption.write_key",
        OptionKind::Text,
        None,
        "The name of the key under `encryption.keys` that is written; the others are for what was written before.",
    )
    .otherwise("the only one that there is")
    .example("2026"),
    OptionSpec::new(
        "encryption.encrypt_tags",
        OptionKind::Bool,
        None,
        "Whether tags are encrypted, too; then nobody can ask for entries by their tags.",
    )
    .otherwise("tags stay readable")
    .example("true"),
    OptionSpec::new(
        "encryption.hash_keys",
        OptionKind::Bool,
        None,
        "Whether the keys of entries are stored only as hashes; then listings show the hashes, and nobody can ask for entries \
         by what their keys begin with or look like.",
    )
    .otherwise("keys stay readable")
    .example("true"),
    OptionSpec::new(
        "encryption.hash_key",
        OptionKind::Text,
        None,
        "The name of the key under `encryption.keys` that makes the hashes; it stays the same for as long as the cache \
         lives.",
    )
    .otherwise("must be given with `hash_keys`")
    .example("names"),
    OptionSpec::new(
        "fallback.folder",
        OptionKind::Path,
        None,
        "A folder of its own in which reads and writes go on while the backends cannot be reached.",
    )
    .otherwise("without a fallback, they fail")
    .example("./spare"),
    OptionSpec::new(
        "fallback.metadata.backend",
        OptionKind::Text,
        None,
        "Where entries live meanwhile; its options stand beside this one.",
    )
    .otherwise("`sqlite` in `fallback.folder`")
    .example("sqlite"),
    OptionSpec::new(
        "fallback.blobs.backend",
        OptionKind::Text,
        None,
        "Where blobs live meanwhile; its options stand beside this one.",
    )
    .otherwise("`filesystem` in `fallback.folder`")
    .example("filesystem"),
];

/// The options of one key, in the table `encryption.keys.NAME`.
pub const ENCRYPTION_KEY_OPTIONS: &[OptionSpec] = &[
    OptionSpec::new(
        "key_file",
        OptionKind::Path,
        None,
        "The file of the key, 32 bytes at least; others may not read it.",
    )
    .example("/etc/app/2026.key"),
    OptionSpec::new(
        "key_env",
        OptionKind::Text,
        None,
        "The variable of the environment that holds the key, in place of a file.",
    )
    .example("CACHE_KEY_2026"),
    OptionSpec::new(
        "create_key",
        OptionKind::Bool,
        None,
        "Whether a key file that is not there is made; one that is there is never replaced.",
    )
    .otherwise("a key file that is not there is an error")
    .example("true"),
];

/// The options of one namespace, in the table `namespaces.NAME`.
pub const NAMESPACE_OPTIONS: &[OptionSpec] = &[
    OptionSpec::new(
        "ttl",
        OptionKind::ANY_DURATION,
        None,
        "The time after which values of this namespace expire that are put without a TTL of their own.",
    )
    .or_word(NEVER)
    .otherwise("the cache's `ttl`")
    .example("10m"),
    OptionSpec::new(
        "max_entries",
        OptionKind::Int { min: 0, max: i64::MAX },
        None,
        "The most entries of this namespace.",
    )
    .or_word(UNLIMITED)
    .otherwise("what the namespace has; unlimited in a new one")
    .example("1000"),
    OptionSpec::new(
        "max_bytes",
        OptionKind::ANY_SIZE,
        None,
        "The most bytes of stored values of this namespace.",
    )
    .or_word(UNLIMITED)
    .otherwise("what the namespace has; unlimited in a new one")
    .example("64 MiB"),
];

/// A time that a call may take.
const SOME_TIME: OptionKind =
    OptionKind::Duration { min: Duration::from_millis(1), max: Duration::from_secs(3600) };

const NEVER: &str = "never";
const UNLIMITED: &str = "unlimited";

/// What is done about options that nobody knows.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum UnknownOptions {
    /// They are an error.
    #[default]
    Error,
    /// A warning is logged, and they are left out.
    Warn,
}

impl UnknownOptions {
    /// Does it.
    pub(super) fn treat(self, error: Error) -> Result<()> {
        match self {
            Self::Error => Err(error),
            Self::Warn => {
                tracing::warn!(%error, "an option of the configuration is left out");
                Ok(())
            }
        }
    }
}

/// A setting as a value of the configuration; `None` for one that has no value.
pub(super) fn get(builder: &CacheBuilder, name: &str) -> Option<ConfigValue> {
    let (settings, limits) = (&builder.settings, &builder.limits);
    let on_error = |policy| match policy {
        OnReadError::Miss => "miss",
        OnReadError::Error => "error",
    };
    let value: ConfigValue = match name {
        "folder" => {
            let folder = builder.folder.as_deref()?;
            std::path::absolute(folder).unwrap_or_else(|_| folder.into()).to_str()?.into()
        }
        "mode" => match builder.mode {
            OpenMode::Create => "create".into(),
            OpenMode::Existing => "existing".into(),
        },
        "durability" => match builder.durability {
            Durability::Process => "process".into(),
            Durability::Power => "power".into(),
        },
        "permissions" => match builder.permissions {
            Permissions::Private => "private".into(),
            Permissions::Umask => "umask".into(),
        },
        "allow_other_owner" => builder.allow_other_owner.into(),
        "allow_new_blobs" => (builder.new_blobs == NewBlobs::Allowed).into(),
        "ttl" => ttl_value(settings.ttl),
        "compression" => match settings.compression {
            Compression::None => "none".into(),
            Compression::Lz4 => "lz4".into(),
            Compression::Zstd(_) => "zstd".into(),
        },
        "compression_level" => match settings.compression {
            Compression::Zstd(level) => i64::from(level).into(),
            Compression::None | Compression::Lz4 => return None,
        },
        "inline_limit" => format_size(settings.inline_limit).into(),
        "on_read_error" => on_error(settings.on_read_error).into(),
        "on_write_error" => match settings.on_write_error {
            OnWriteError::Error => "error".into(),
            OnWriteError::Drop => "drop".into(),
            OnWriteError::Queue => "queue".into(),
        },
        "write_queue" => format_size(settings.write_queue).into(),
        "on_decode_error" => on_error(settings.on_decode_error).into(),
        "on_encode_error" => match settings.on_encode_error {
            OnEncodeError::Error => "error".into(),
            OnEncodeError::Drop => "drop".into(),
            OnEncodeError::OtherFormat => "other_format".into(),
        },
        "file_check_interval" => settings.file_check_interval.into(),
        "access_interval" => builder.access_interval.into(),
        "mmap" => settings.mmap.into(),
        "unknown_options" => match builder.unknown_options {
            UnknownOptions::Error => "error".into(),
            UnknownOptions::Warn => "warn".into(),
        },
        "limits.max_entries" => entries_value(limits.max_entries?),
        "limits.max_bytes" => bytes_value(limits.max_bytes?),
        "limits.policy" => {
            ConfigValue { origin: builder.policy_origin.clone(), ..limits.policy.as_deref()?.into() }
        }
        "remote.timeout" => settings.remote.timeout.into(),
        "remote.deadline" => settings.remote.deadline.into(),
        "remote.attempts" => i64::from(settings.remote.attempts).into(),
        "remote.backoff" => settings.remote.backoff.into(),
        "remote.in_flight" => i64::from(settings.remote.in_flight).into(),
        "remote.breaker_failures" => i64::from(settings.remote.breaker_failures).into(),
        "remote.breaker_pause" => settings.remote.breaker_pause.into(),
        "local_tier.folder" => {
            let folder = builder.local_tier.as_ref()?.folder.as_deref()?;
            let folder = builder.folder.as_deref().map_or(folder.into(), |cache| cache.join(folder));
            std::path::absolute(&folder).unwrap_or(folder).to_str()?.into()
        }
        "local_tier.max_bytes" => format_size(builder.local_tier.as_ref()?.max_bytes?).into(),
        "local_tier.write_through" => builder.local_tier.as_ref()?.write_through?.into(),
        "signing.key_file" => match builder.signing.as_ref()? {
            // Where a program gives the key, this is where a reader looks for it.
            Signing { key: Some(key), .. } => key.clone().into(),
            signing => absolute(builder, signing.key_file.as_deref()?)?,
        },
        "signing.key_env" => builder.signing.as_ref()?.key_env.clone()?.into(),
        "signing.create_key" => builder.signing.as_ref()?.create_key.into(),
        "signing.algorithm" => match builder.signing.as_ref()?.algorithm {
            SigningAlgorithm::HmacSha256 => "hmac-sha256".into(),
            SigningAlgorithm::Blake3 => "blake3".into(),
        },
        "encryption.write_key" => builder.encryption.as_ref()?.write_key.clone()?.into(),
        "encryption.encrypt_tags" => builder.encryption.as_ref()?.encrypt_tags.into(),
        "encryption.hash_keys" => builder.encryption.as_ref()?.hash_keys.into(),
        "encryption.hash_key" => builder.encryption.as_ref()?.hash_key.clone()?.into(),
        "fallback.folder" => {
            let folder = builder.fallback.as_ref()?.folder_in(builder.folder.as_deref())?;
            std::path::absolute(&folder).unwrap_or(folder).to_str()?.into()
        }
        "fallback.metadata.backend" => chosen(&builder.fallback.as_ref()?.metadata, true, "sqlite"),
        "fallback.blobs.backend" => chosen(&builder.fallback.as_ref()?.blobs, true, "filesystem"),
        "metadata.backend" => chosen(&builder.metadata, builder.folder.is_some(), "sqlite"),
        "blobs.backend" => chosen(&builder.blobs, builder.folder.is_some(), "filesystem"),
        _ => return None,
    };
    Some(value)
}

/// A setting of a namespace as a value of the configuration; `None` for one that it has not.
pub(super) fn get_of_namespace(
    builder: &CacheBuilder,
    namespace: &Namespace,
    name: &str,
) -> Option<ConfigValue> {
    let limits = || builder.namespace_limits.get(namespace);
    match name {
        "ttl" => builder.settings.namespace_ttls.get(namespace).map(|ttl| ttl_value(*ttl)),
        "max_entries" => limits()?.max_entries.map(entries_value),
        "max_bytes" => limits()?.max_bytes.map(bytes_value),
        _ => None,
    }
}

/// A setting of a key as a value of the configuration; `None` for one that it has not.
pub(super) fn get_of_key(builder: &CacheBuilder, key: &EncryptionKey, name: &str) -> Option<ConfigValue> {
    match name {
        // Where a program gives the key, this is where a reader looks for it.
        "key_file" => match &key.given {
            Some(given) => Some(given.clone().into()),
            None => absolute(builder, key.file.as_deref()?),
        },
        "key_env" => key.env.clone().map(Into::into),
        "create_key" => Some(key.create_key.into()),
        _ => None,
    }
}

/// A path that counts from the cache's folder.
fn absolute(builder: &CacheBuilder, path: &Path) -> Option<ConfigValue> {
    let path = builder.folder.as_deref().map_or(path.into(), |cache| cache.join(path));
    Some(std::path::absolute(&path).unwrap_or(path).to_str()?.into())
}

fn ttl_value(ttl: Option<Duration>) -> ConfigValue {
    ttl.map_or_else(|| NEVER.into(), Into::into)
}

fn entries_value(most: Option<u64>) -> ConfigValue {
    // More than a whole number of a configuration holds is as good as no limit.
    most.and_then(|most| i64::try_from(most).ok()).map_or_else(|| UNLIMITED.into(), Into::into)
}

fn bytes_value(most: Option<u64>) -> ConfigValue {
    most.map_or_else(|| UNLIMITED.to_owned(), format_size).into()
}

fn chosen(chosen: &Chosen, folder: bool, in_folder: &str) -> ConfigValue {
    let (name, origin) = chosen.resolve(folder, in_folder);
    ConfigValue { origin, ..name.into() }
}
