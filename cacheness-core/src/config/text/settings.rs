//! Which setting of the builder each option of the cache is.

use std::time::Duration;

use crate::builder::CacheBuilder;
use crate::config::UnknownOptions;
use crate::config::options::invalid;
use crate::config::value::ConfigValue;
use crate::encryption::Encryption;
use crate::engine::{OnEncodeError, OnReadError, OnWriteError};
use crate::error::Result;
use crate::fallback::Fallback;
use crate::local_tier::LocalTier;
use crate::names::Namespace;
use crate::pair::NewBlobs;
use crate::permissions::Permissions;
use crate::registry::{Durability, OpenMode};
use crate::signing::{Signing, SigningAlgorithm};
use crate::stage::Compression;

/// Sets what the option of this name, of the cache's own, governs. The value has been checked.
pub(super) fn set(builder: &mut CacheBuilder, name: &str, value: &ConfigValue) -> Result<()> {
    let word = value.as_text().map_or("", str::trim);
    let settings = &mut builder.settings;
    let on_error = if word == "error" { OnReadError::Error } else { OnReadError::Miss };
    match name {
        "folder" => builder.folder = value.as_path(),
        "mode" => builder.mode = if word == "existing" { OpenMode::Existing } else { OpenMode::Create },
        "durability" => {
            builder.durability = if word == "power" { Durability::Power } else { Durability::Process };
        }
        "permissions" => {
            builder.permissions = if word == "umask" { Permissions::Umask } else { Permissions::Private };
        }
        "allow_other_owner" => builder.allow_other_owner = value.as_bool().unwrap_or(false),
        "allow_new_blobs" => {
            let allowed = value.as_bool().unwrap_or(false);
            builder.new_blobs = if allowed { NewBlobs::Allowed } else { NewBlobs::Refused };
        }
        "ttl" => settings.ttl = value.as_duration(),
        "compression" => {
            settings.compression = match (word, settings.compression) {
                ("lz4", _) => Compression::Lz4,
                // A level that was given before stays, as everything does that is not mentioned.
                ("zstd", Compression::Zstd(level)) => Compression::Zstd(level),
                ("zstd", _) => Compression::Zstd(3),
                _ => Compression::None,
            }
        }
        "compression_level" => match (&mut settings.compression, value.as_int().map(i32::try_from)) {
            (Compression::Zstd(level), Some(Ok(given))) => *level = given,
            _ => {
                let message = "`compression_level` goes with `compression = \"zstd\"` only; set that, or leave the level out";
                return Err(invalid(value.origin(), message));
            }
        },
        "inline_limit" => settings.inline_limit = value.as_size().unwrap_or(settings.inline_limit),
        "on_read_error" => settings.on_read_error = on_error,
        "on_write_error" => {
            settings.on_write_error = match word {
                "drop" => OnWriteError::Drop,
                "queue" => OnWriteError::Queue,
                _ => OnWriteError::Error,
            }
        }
        "write_queue" => settings.write_queue = value.as_size().unwrap_or(settings.write_queue),
        "on_decode_error" => settings.on_decode_error = on_error,
        "on_encode_error" => {
            settings.on_encode_error = match word {
                "drop" => OnEncodeError::Drop,
                "other_format" => OnEncodeError::OtherFormat,
                _ => OnEncodeError::Error,
            }
        }
        "file_check_interval" => settings.file_check_interval = value.as_duration().unwrap_or_default(),
        "access_interval" => builder.access_interval = value.as_duration().unwrap_or_default(),
        "mmap" => settings.mmap = value.as_bool().unwrap_or(true),
        "unknown_options" => {
            builder.unknown_options =
                if word == "warn" { UnknownOptions::Warn } else { UnknownOptions::Error };
        }
        "limits.max_entries" => {
            builder.limits.max_entries = Some(entries(value));
        }
        "limits.max_bytes" => builder.limits.max_bytes = Some(value.as_size()),
        "limits.policy" => {
            builder.limits.policy = Some(word.to_owned());
            builder.policy_origin = value.origin().clone();
        }
        "remote.timeout" => set_time(&mut settings.remote.timeout, value),
        "remote.deadline" => set_time(&mut settings.remote.deadline, value),
        "remote.attempts" => set_count(&mut settings.remote.attempts, value),
        "remote.backoff" => set_time(&mut settings.remote.backoff, value),
        "remote.in_flight" => set_count(&mut settings.remote.in_flight, value),
        "remote.breaker_failures" => set_count(&mut settings.remote.breaker_failures, value),
        "remote.breaker_pause" => set_time(&mut settings.remote.breaker_pause, value),
        "metadata.backend" => builder.metadata.backend = Some((word.to_owned(), value.origin().clone())),
        "blobs.backend" => builder.blobs.backend = Some((word.to_owned(), value.origin().clone())),
        "fallback.folder" => fallback(builder).folder = value.as_path(),
        "fallback.metadata.backend" => {
            fallback(builder).metadata.backend = Some((word.to_owned(), value.origin().clone()));
        }
        "fallback.blobs.backend" => {
            fallback(builder).blobs.backend = Some((word.to_owned(), value.origin().clone()));
        }
        "local_tier.folder" => tier(builder).folder = value.as_path(),
        "local_tier.max_bytes" => tier(builder).max_bytes = value.as_size(),
        "local_tier.write_through" => tier(builder).write_through = value.as_bool(),
        "signing.key_file" => signing(builder).key_file = value.as_path(),
        "signing.key_env" => signing(builder).key_env = Some(word.to_owned()),
        "signing.create_key" => signing(builder).create_key = value.as_bool().unwrap_or(false),
        "signing.algorithm" => {
            signing(builder).algorithm =
                if word == "blake3" { SigningAlgorithm::Blake3 } else { SigningAlgorithm::HmacSha256 };
        }
        "encryption.write_key" => encryption(builder).write_key = Some(word.to_owned()),
        "encryption.encrypt_tags" => encryption(builder).encrypt_tags = value.as_bool().unwrap_or(false),
        "encryption.hash_keys" => encryption(builder).hash_keys = value.as_bool().unwrap_or(false),
        "encryption.hash_key" => encryption(builder).hash_key = Some(word.to_owned()),
        // A test holds to that every option of the list is one of these.
        _ => return Err(invalid(value.origin(), format!("the option `{name}` is not read"))),
    }
    Ok(())
}

pub(super) fn fallback(builder: &mut CacheBuilder) -> &mut Fallback {
    builder.fallback.get_or_insert_default()
}

fn tier(builder: &mut CacheBuilder) -> &mut LocalTier {
    builder.local_tier.get_or_insert_with(LocalTier::nowhere)
}

fn encryption(builder: &mut CacheBuilder) -> &mut Encryption {
    builder.encryption.get_or_insert_default()
}

fn signing(builder: &mut CacheBuilder) -> &mut Signing {
    builder.signing.get_or_insert_default()
}

/// Sets what the option of this name governs for one namespace. The value has been checked.
pub(super) fn set_of_namespace(
    builder: &mut CacheBuilder,
    namespace: &Namespace,
    name: &str,
    value: &ConfigValue,
) -> Result<()> {
    let limits = builder.namespace_limits.entry(namespace.clone());
    match name {
        "ttl" => drop(builder.settings.namespace_ttls.insert(namespace.clone(), value.as_duration())),
        "max_entries" => limits.or_default().max_entries = Some(entries(value)),
        "max_bytes" => limits.or_default().max_bytes = Some(value.as_size()),
        _ => return Err(invalid(value.origin(), format!("the option `{name}` is not read"))),
    }
    Ok(())
}

/// Sets what the option of this name governs for one key. The value has been checked.
pub(super) fn set_of_key(
    builder: &mut CacheBuilder,
    key: &str,
    name: &str,
    value: &ConfigValue,
) -> Result<()> {
    let key = encryption(builder).keys.entry(key.to_owned()).or_default();
    match name {
        "key_file" => key.file = value.as_path(),
        "key_env" => key.env = value.as_text().map(|name| name.trim().to_owned()),
        "create_key" => key.create_key = value.as_bool().unwrap_or(false),
        _ => return Err(invalid(value.origin(), format!("the option `{name}` is not read"))),
    }
    Ok(())
}

fn set_time(setting: &mut Duration, value: &ConfigValue) {
    *setting = value.as_duration().unwrap_or(*setting);
}

fn set_count(setting: &mut u32, value: &ConfigValue) {
    *setting = value.as_int().and_then(|count| u32::try_from(count).ok()).unwrap_or(*setting);
}

/// A number of entries; `None` where there is no limit.
fn entries(value: &ConfigValue) -> Option<u64> {
    value.as_int().and_then(|most| u64::try_from(most).ok())
}
