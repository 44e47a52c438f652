//! Where a secret key comes from: a file that nobody else may read, a variable, or the program.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::config::Secret;
use crate::error::{Error, ErrorKind, Result};

/// Where a key comes from. `Debug` shows no key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum KeySource {
    File(PathBuf),
    Variable(String),
    Given(Secret),
}

/// The bytes of a key as they were given, 32 at least. They are overwritten when they are dropped.
pub(crate) struct KeyMaterial(Zeroizing<Vec<u8>>);

/// The fewest bytes of a key: as many as the digests have. A key in hexadecimal digits has twice as many.
const SHORTEST: usize = 32;

/// The most bytes of a key. What is longer is some other file.
const LONGEST: u64 = 4096;

/// How to make a key, for errors.
const HOW: &str = "make one of 32 random bytes, as `openssl rand -hex 32` does";

impl KeySource {
    /// Reads the key. `table` is the table of the configuration that names it. A relative path counts from the cache's
    /// folder, or from the working folder where there is none. Where `create`, a file that is not there is made.
    ///
    /// # Errors
    /// [`ErrorKind::ConfigInvalid`] where there is no key, others may read it, or it is too short; the operating
    /// system's error.
    pub(crate) fn read(&self, table: &str, create: bool, folder: Option<&Path>) -> Result<KeyMaterial> {
        match self {
            Self::File(path) => {
                let path = folder.map_or_else(|| path.clone(), |folder| folder.join(path));
                let option = format!("`{table}.key_file`");
                read_file(&path, &option, create)
            }
            Self::Variable(name) => {
                let option = format!("`{table}.key_env`");
                let Some(value) = std::env::var_os(name) else {
                    let message =
                        format!("{option} names the variable `{name}`, which is not set; set it to the key");
                    return Err(invalid(message));
                };
                let bytes = Zeroizing::new(value.into_encoded_bytes());
                checked(&bytes, || format!("the key in the variable `{name}`, which {option} names,"))
            }
            Self::Given(secret) => checked(secret.expose().as_bytes(), || {
                format!("the key that the program gives for `{table}`")
            }),
        }
    }
}

impl KeySource {
    /// The file in which the key is to be, where it is not there.
    pub(super) fn missing(&self, folder: Option<&Path>) -> Option<PathBuf> {
        let Self::File(path) = self else { return None };
        let path = folder.map_or_else(|| path.clone(), |folder| folder.join(path));
        let found = fs_err::metadata(&path);
        found.is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound).then_some(path)
    }
}

impl KeyMaterial {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for KeyMaterial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(hidden)")
    }
}

fn read_file(path: &Path, option: &str, create: bool) -> Result<KeyMaterial> {
    let file = match fs_err::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if !create {
                let message = format!(
                    "{option} names {path:?}, which is not there; {HOW}, or say `create_key = true`, and a key is made"
                );
                return Err(invalid(message).with_source(error));
            }
            create_file(path, option)?;
            fs_err::File::open(path).map_err(|error| unreadable(error, option))?
        }
        Err(error) => return Err(unreadable(error, option)),
    };
    let metadata = file.metadata().map_err(|error| unreadable(error, option))?;
    if !metadata.is_file() {
        return Err(invalid(format!("{option} names {path:?}, which is no file; give the file of a key")));
    }
    check_mode(&metadata, path, option)?;
    // One byte more than is taken, so that what is too long shows.
    let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST as usize + 1));
    file.take(LONGEST + 1).read_to_end(&mut bytes).map_err(|error| unreadable(error, option))?;
    checked(&bytes, || format!("the key in {path:?}, which {option} names,"))
}

/// Takes the bytes of a key without the white space around them, which editors add.
fn checked(bytes: &[u8], what: impl Fn() -> String) -> Result<KeyMaterial> {
    if bytes.len() as u64 > LONGEST {
        return Err(invalid(format!(
            "{} is longer than {LONGEST} bytes: is it that of a key? {HOW}",
            what()
        )));
    }
    let key = bytes.trim_ascii();
    if key.len() < SHORTEST {
        let message = format!("{} has {} bytes, and the fewest are {SHORTEST}; {HOW}", what(), key.len());
        return Err(invalid(message));
    }
    Ok(KeyMaterial(Zeroizing::new(key.to_vec())))
}

#[cfg(unix)]
fn check_mode(metadata: &std::fs::Metadata, path: &Path, option: &str) -> Result<()> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let (owner, own) = (metadata.uid(), rustix::process::geteuid().as_raw());
    if owner != own && owner != 0 {
        let message = format!(
            "{option} names {path:?}, which belongs to user {owner}, and this process runs as user {own}: that user could \
             choose the key; `chown` it to the user that the process runs as, or to root"
        );
        return Err(invalid(message));
    }
    let mode = metadata.permissions().mode() & 0o7777;
    // A group may read a key, as services that share one do; nobody but its owner may change it.
    if mode & 0o027 == 0 {
        return Ok(());
    }
    let message = format!(
        "{option} names {path:?}, whose mode is {mode:04o}: others could read or change the key; say `chmod 600` of it, \
         and make a new key if others may have read it"
    );
    Err(invalid(message))
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "on Unix there is something to check")]
fn check_mode(_: &std::fs::Metadata, _: &Path, _: &str) -> Result<()> {
    Ok(())
}

/// Makes a file with a new key, whole at once and only where there is none: another process may be at it, too.
fn create_file(path: &Path, option: &str) -> Result<()> {
    let failed = |error| Error::io(error, format!("the key that {option} names cannot be made"));
    let key = random_key()?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // On Unix, its mode is 0600.
    let mut file = tempfile::NamedTempFile::new_in(parent).map_err(failed)?;
    file.write_all(&key).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
    match file.persist_noclobber(path) {
        Ok(_) => {
            // A key that is lost takes all entries with it, so its name is to survive a loss of power.
            #[cfg(unix)]
            fs_err::File::open(parent).and_then(|folder| folder.sync_all()).map_err(failed)?;
            tracing::info!(?path, option, "a new key was made; keep a copy of it");
            Ok(())
        }
        Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(failed(error.error)),
    }
}

/// A line of 64 hexadecimal digits.
fn random_key() -> Result<Zeroizing<Vec<u8>>> {
    let mut key = Zeroizing::new([0_u8; 32]);
    random(&mut key[..])?;
    let digits = |byte: &u8| [byte >> 4, byte & 15].map(|digit| b"0123456789abcdef"[usize::from(digit)]);
    // With room for all of it from the start, so that no copy is left behind.
    let mut line = Zeroizing::new(Vec::with_capacity(65));
    key.iter().for_each(|byte| line.extend_from_slice(&digits(byte)));
    line.push(b'\n');
    Ok(line)
}

/// Fills `bytes` from the operating system's source of random numbers.
pub(crate) fn random(bytes: &mut [u8]) -> Result<()> {
    getrandom::fill(bytes).map_err(|error| {
        let message = format!("the operating system gives no random numbers: {error}");
        Error::new(ErrorKind::Unexpected, message)
    })
}

fn unreadable(error: std::io::Error, option: &str) -> Error {
    Error::io(error, format!("the key that {option} names cannot be read"))
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::ConfigInvalid, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &Path, create: bool) -> Result<KeyMaterial> {
        KeySource::File(path.to_owned()).read("signing", create, None)
    }

    #[test]
    fn a_key_is_made_once_for_its_owner_alone_and_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let error = read(&path, false).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConfigInvalid);
        let message = error.to_string();
        assert!(message.contains("`signing.key_file`") && message.contains("create_key = true"), "{message}");
        let made = read(&path, true).unwrap();
        assert_eq!(made.as_bytes().len(), 64);
        assert_eq!(read(&path, true).unwrap().as_bytes(), made.as_bytes());
        assert_eq!(read(&path, false).unwrap().as_bytes(), made.as_bytes());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs_err::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        }
        assert_ne!(read(&folder.path().join("other"), true).unwrap().as_bytes(), made.as_bytes());
        assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 2, "nothing else stays behind");
    }

    #[test]
    fn many_who_make_a_key_at_once_get_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let keys: Vec<Vec<u8>> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..8).map(|_| scope.spawn(|| read(&path, true).unwrap().as_bytes().to_vec())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(keys.iter().all(|key| key == &keys[0]));
    }

    #[cfg(unix)]
    #[test]
    fn a_key_that_others_may_read_or_change_is_refused_and_one_for_a_group_to_read_is_taken() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        read(&path, true).unwrap();
        for (mode, taken) in [(0o644, false), (0o604, false), (0o620, false), (0o440, true), (0o400, true)] {
            fs_err::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            match read(&path, true) {
                Ok(_) => assert!(taken, "{mode:o}"),
                Err(error) => {
                    assert!(!taken, "{mode:o}");
                    let message = error.to_string();
                    assert!(
                        message.contains("chmod 600") && message.contains("signing.key_file"),
                        "{message}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_key_that_is_too_short_or_too_long_or_no_file_is_refused_and_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let given = |text: &str| KeySource::Given(Secret::new(text)).read("signing", false, None);
        assert_eq!(given(&format!(" {}\n", "k".repeat(32))).unwrap().as_bytes(), "k".repeat(32).as_bytes());
        let error = given(&"hunter2 ".repeat(3)).unwrap_err().to_string();
        assert!(
            error.contains("has 23 bytes") && error.contains("openssl") && !error.contains("hunter"),
            "{error}"
        );
        assert!(given(&"x".repeat(5000)).is_err());
        assert_eq!(read(folder.path(), true).unwrap_err().kind(), ErrorKind::ConfigInvalid);
        assert!(!fs_err::exists(&path).unwrap());
        let unset = KeySource::Variable("CACHENESS_NO_SUCH_VARIABLE".into());
        let error = unset.read("signing", false, None).unwrap_err().to_string();
        assert!(
            error.contains("`signing.key_env`") && error.contains("CACHENESS_NO_SUCH_VARIABLE"),
            "{error}"
        );
    }
}
