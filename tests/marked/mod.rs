//! Values that say who put them and when, and of which every byte can be checked.
#![allow(unreachable_pub, dead_code, reason = "a module of several test binaries")]

/// A value of `len` bytes, 16 at least.
pub fn value(writer: u64, serial: u64, len: usize) -> Vec<u8> {
    let mut bytes = [writer.to_le_bytes(), serial.to_le_bytes()].concat();
    let from = bytes.len();
    bytes.resize(len.max(from), 0);
    blake3::Hasher::new_keyed(&[7; 32]).update(&bytes[..from]).finalize_xof().fill(&mut bytes[from..]);
    bytes
}

/// Who put a value, and when.
///
/// # Panics
/// Where it is not whole, or is a mixture of two.
pub fn marks(bytes: &[u8]) -> (u64, u64) {
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let (writer, serial) = (number(0), number(8));
    assert!(bytes == value(writer, serial, bytes.len()), "a value of {writer}:{serial} is not whole");
    (writer, serial)
}
