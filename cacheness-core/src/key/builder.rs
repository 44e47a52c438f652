//! Keys from parameters: `KeyBuilder`, and `cache_key!` on top of it.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::{Key, encoding, path};
use crate::error::{Error, ErrorKind, Result};

/// What BLAKE3 derives the hash of a key for; the number goes up with the encoding, so that no two versions agree.
const CONTEXT: &str = "cacheness key v1 parameters";

/// The number of hexadecimal digits of a hash.
const HASH_LEN: usize = 2 * blake3::OUT_LEN;

/// Derives a key from named parameters.
///
/// Two builders give the same key if and only if they have the same prefix and the same parameters; the
/// order in which parameters are added does not count, their types do. The key is the same in every
/// process, on every platform and in every version of this crate.
///
/// ```
/// use cacheness_core::KeyBuilder;
///
/// let layers = vec![64, 64];
/// let key = KeyBuilder::with_prefix("model")?.param("lr", 0.1)?.param("layers", &layers)?.build();
/// assert!(key.as_str().starts_with("model:"));
/// # Ok::<(), cacheness_core::Error>(())
/// ```
///
/// Values are told apart by what serde makes of them: the integer 1, the float 1.0, `true`, `"1"` and
/// `Some(1)` are five different values; `1_u8` and `1_i64` are one. `docs/key-encoding.md` has the whole table.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct KeyBuilder {
    prefix: Option<String>,
    /// The encoded name and the encoded value of each parameter, in the order of the encoding.
    parameters: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl KeyBuilder {
    /// Begins a key that is a bare hash: 64 lowercase hexadecimal digits.
    ///
    /// ```
    /// use cacheness_core::KeyBuilder;
    ///
    /// assert_eq!(KeyBuilder::new().param("user", 7)?.build().as_str().len(), 64);
    /// # Ok::<(), cacheness_core::Error>(())
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins a key that is `prefix`, a colon and the hash, so that the keys of one kind can be listed by prefix.
    ///
    /// ```
    /// use cacheness_core::KeyBuilder;
    ///
    /// let key = KeyBuilder::with_prefix("user")?.param("id", 7)?.build();
    /// assert!(key.as_str().starts_with("user:"));
    /// # Ok::<(), cacheness_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for an empty prefix, [`ErrorKind::LimitExceeded`] where the key would be
    /// longer than [`Key::MAX_LEN`].
    pub fn with_prefix(prefix: impl Into<String>) -> Result<Self> {
        const LONGEST: usize = Key::MAX_LEN - HASH_LEN - 1;
        let prefix = prefix.into();
        if prefix.is_empty() {
            let message = "the prefix of a key is empty; use `KeyBuilder::new` for a key without one";
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        if prefix.len() > LONGEST {
            let message =
                format!("the prefix of a key has at most {LONGEST} bytes; this one has {}", prefix.len());
            return Err(Error::new(ErrorKind::LimitExceeded, message).with_context("prefix", prefix));
        }
        Ok(Self { prefix: Some(prefix), parameters: BTreeMap::new() })
    }

    /// Adds a parameter: any value that serde can serialise, owned or borrowed. Its encoding is held in memory.
    ///
    /// Wrap a `HashSet` in [`Unordered`](crate::Unordered): a sequence is ordered, and that of a `HashSet` differs
    /// from run to run.
    ///
    /// ```
    /// use cacheness_core::KeyBuilder;
    ///
    /// let one = KeyBuilder::new().param("a", "1|b:2")?.build();
    /// let two = KeyBuilder::new().param("a", "1")?.param("b", "2")?.build();
    /// assert_ne!(one, two);
    /// # Ok::<(), cacheness_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] where the name is there already or the value holds a map with the same key
    /// twice, [`ErrorKind::LimitExceeded`] where the value is nested more than 128 deep, [`ErrorKind::Encode`]
    /// where its `Serialize` fails.
    pub fn param(self, name: impl AsRef<str>, value: impl Serialize) -> Result<Self> {
        self.add(name.as_ref(), || encoding::encode(&value))
    }

    /// Adds the content of a file as a parameter. Neither its path nor its times and permissions count.
    ///
    /// The file is read on this thread, in bounded memory; a symbolic link is followed. A file that changes
    /// while it is read counts as what was read.
    ///
    /// ```
    /// use cacheness_core::KeyBuilder;
    ///
    /// let folder = tempfile::tempdir()?;
    /// let (a, b) = (folder.path().join("a.csv"), folder.path().join("b.csv"));
    /// fs_err::write(&a, "x,y\n1,2\n")?;
    /// fs_err::copy(&a, &b)?;
    /// assert_eq!(KeyBuilder::new().file("data", &a)?.build(), KeyBuilder::new().file("data", &b)?.build());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] where the name is there already or the path is not a file;
    /// [`ErrorKind::NotFound`], [`ErrorKind::PermissionDenied`] or [`ErrorKind::Io`] where it cannot be read.
    pub fn file(self, name: impl AsRef<str>, path: impl AsRef<Path>) -> Result<Self> {
        self.add(name.as_ref(), || Ok(tagged(encoding::FILE, &path::hash_file(path.as_ref())?)))
    }

    /// Adds the content of a folder as a parameter: the relative path of everything in it, at any depth, and what
    /// the files hold.
    ///
    /// Empty folders count; times and permissions do not, nor does the path of the folder itself. A symbolic
    /// link in the folder is not followed: where it points to counts. The folder is read on this thread, in memory
    /// that does not grow with the size of its files.
    ///
    /// ```
    /// use cacheness_core::KeyBuilder;
    ///
    /// let folder = tempfile::tempdir()?;
    /// fs_err::write(folder.path().join("main.c"), "int main() {}")?;
    /// let before = KeyBuilder::new().folder("src", folder.path())?.build();
    /// fs_err::create_dir(folder.path().join("lib"))?;
    /// assert_ne!(before, KeyBuilder::new().folder("src", folder.path())?.build());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`KeyBuilder::file`]; also [`ErrorKind::InvalidInput`] for a name that is not UTF-8 and for a socket,
    /// device or other special file.
    pub fn folder(self, name: impl AsRef<str>, path: impl AsRef<Path>) -> Result<Self> {
        self.add(name.as_ref(), || Ok(tagged(encoding::FOLDER, &path::hash_folder(path.as_ref())?)))
    }

    /// The key of the parameters added so far.
    ///
    /// ```
    /// use cacheness_core::KeyBuilder;
    ///
    /// let ab = KeyBuilder::new().param("a", 1)?.param("b", 2)?.build();
    /// let ba = KeyBuilder::new().param("b", 2)?.param("a", 1)?.build();
    /// assert_eq!(ab, ba);
    /// # Ok::<(), cacheness_core::Error>(())
    /// ```
    #[must_use]
    pub fn build(&self) -> Key {
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        self.write(|bytes| {
            hasher.update(bytes);
        });
        let hash = hasher.finalize().to_hex();
        // Never empty, and `with_prefix` has bounded its length.
        Key(match &self.prefix {
            Some(prefix) => format!("{prefix}:{hash}").into(),
            None => hash.as_str().into(),
        })
    }

    /// The bytes that are hashed, to find out why two keys differ or to check another implementation.
    ///
    /// ```
    /// use cacheness_core::KeyBuilder;
    ///
    /// assert_eq!(KeyBuilder::new().canonical_bytes(), b"\x0d\0\0\0\0\0\0\0\0");
    /// ```
    #[must_use]
    pub fn canonical_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.write(|part| bytes.extend_from_slice(part));
        bytes
    }

    fn add(mut self, name: &str, encode: impl FnOnce() -> Result<Vec<u8>>) -> Result<Self> {
        let encoded = encoding::encode(name)?;
        if self.parameters.contains_key(&encoded) {
            let message = "a key has two parameters of the same name; rename or remove one";
            return Err(Error::new(ErrorKind::InvalidInput, message).with_context("parameter", name));
        }
        let value = encode().map_err(|error| error.with_context("parameter", name))?;
        self.parameters.insert(encoded, value);
        Ok(self)
    }

    /// Writes the parameters as a map from their names to their values.
    fn write(&self, mut write: impl FnMut(&[u8])) {
        write(&[encoding::MAP]);
        write(&encoding::length(self.parameters.len()));
        for (name, value) in &self.parameters {
            write(name);
            write(value);
        }
    }
}

fn tagged(tag: u8, hash: &[u8; blake3::OUT_LEN]) -> Vec<u8> {
    [&[tag], hash.as_slice()].concat()
}

/// Derives a key from named parameters: a [`KeyBuilder`](crate::KeyBuilder) written as a list.
///
/// It evaluates to a `Result<Key>`, as a value may fail to serialise. Values are borrowed, not moved. A name is an
/// identifier or a string literal. An expression and a semicolon in front make a prefix. `file` or `folder` before a
/// name takes the value as a path and counts what lies there.
///
/// ```
/// use cacheness_core::{KeyBuilder, cache_key};
///
/// let name = String::from("resnet");
/// let key = cache_key! { model: name, lr: 0.1, layers: [64, 64], "weight decay": None::<f64> }?;
/// assert_eq!(name, "resnet");
///
/// let listed = cache_key!("model"; lr: 0.1)?;
/// assert!(listed.as_str().starts_with("model:"));
/// assert_eq!(listed, KeyBuilder::with_prefix("model")?.param("lr", 0.1)?.build());
///
/// let folder = tempfile::tempdir()?;
/// let table = folder.path().join("table.csv");
/// fs_err::write(&table, "x,y\n")?;
/// let by_content = cache_key!("report"; file input: table, folder assets: folder.path(), dpi: 300)?;
/// # assert_ne!(by_content, key);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A name given twice is an error, as are the others of [`KeyBuilder`](crate::KeyBuilder). After an error the values
/// of later parameters are not evaluated.
#[macro_export]
macro_rules! cache_key {
    (@add $builder:expr ;) => {
        match $builder {
            ::core::result::Result::Ok(builder) => {
                ::core::result::Result::Ok($crate::KeyBuilder::build(&builder))
            }
            ::core::result::Result::Err(error) => ::core::result::Result::Err(error),
        }
    };
    (@add $builder:expr ; file $name:tt : $path:expr $(, $($rest:tt)*)?) => {
        $crate::cache_key!(@then $builder, file, $name, $path ; $($($rest)*)?)
    };
    (@add $builder:expr ; folder $name:tt : $path:expr $(, $($rest:tt)*)?) => {
        $crate::cache_key!(@then $builder, folder, $name, $path ; $($($rest)*)?)
    };
    (@add $builder:expr ; $name:tt : $value:expr $(, $($rest:tt)*)?) => {
        $crate::cache_key!(@then $builder, param, $name, $value ; $($($rest)*)?)
    };
    (@then $builder:expr, $method:ident, $name:tt, $value:expr ; $($rest:tt)*) => {
        $crate::cache_key!(@add
            // A `match` and not a closure, so that `?` and `.await` in a value work as they do around it.
            match $builder {
                ::core::result::Result::Ok(builder) => {
                    $crate::KeyBuilder::$method(builder, $crate::cache_key!(@name $name), &$value)
                }
                ::core::result::Result::Err(error) => ::core::result::Result::Err(error),
            } ; $($rest)*)
    };
    // A raw identifier names the parameter without its `r#`, as serde names a field.
    (@name $name:ident) => { ::core::stringify!($name).trim_start_matches("r#") };
    (@name $name:literal) => { $name };
    (@new $($rest:tt)*) => {
        $crate::cache_key!(@add
            ::core::result::Result::<_, $crate::Error>::Ok($crate::KeyBuilder::new()) ; $($rest)*)
    };
    () => { $crate::cache_key!(@new) };
    ($name:tt : $($rest:tt)*) => { $crate::cache_key!(@new $name : $($rest)*) };
    ($kind:ident $name:tt : $($rest:tt)*) => { $crate::cache_key!(@new $kind $name : $($rest)*) };
    ($prefix:expr ; $($rest:tt)*) => {
        $crate::cache_key!(@add $crate::KeyBuilder::with_prefix($prefix) ; $($rest)*)
    };
}
