//! Bytes as JSON strings: text stands as it is, everything else as `%` and two hexadecimal digits a byte.

use std::fmt;

use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, Error, Visitor};

const DIGITS: &[u8; 16] = b"0123456789ABCDEF";

/// Writes bytes as a JSON string, quotes included.
pub(super) fn write(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' | '\\' => out.extend([b'\\', character as u8]),
                '%' => escape(out, b"%"),
                _ if character.is_control() => escape(out, character.encode_utf8(&mut [0; 4]).as_bytes()),
                _ => out.extend(character.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        escape(out, chunk.invalid());
    }
    out.push(b'"');
}

fn escape(out: &mut Vec<u8>, bytes: &[u8]) {
    for byte in bytes {
        out.extend([b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

/// The bytes that the text of a JSON string stands for; `None` where a `%` is not followed by two digits.
fn read(text: &str) -> Option<Bytes> {
    let mut out = Vec::with_capacity(text.len());
    let mut parts = text.split('%');
    out.extend(parts.next().unwrap_or_default().bytes());
    for part in parts {
        let (digits, rest) = part.as_bytes().split_at_checked(2)?;
        let digit = |byte: u8| char::from(byte).to_digit(16);
        // Two digits of four bits are a byte.
        out.push((digit(digits[0])? << 4 | digit(digits[1])?) as u8);
        out.extend(rest);
    }
    Some(out.into())
}

/// Bytes that are read from a JSON string.
pub(super) struct Text(pub(super) Bytes);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;

        impl Visitor<'_> for Read {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Text, E> {
                read(text).map(Text).ok_or_else(|| E::custom("a `%` is not followed by two digits"))
            }
        }

        deserializer.deserialize_str(Read)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        write(&mut out, bytes);
        String::from_utf8(out).unwrap()
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(bytes: Vec<u8>) {
            let json = written(&bytes);
            prop_assert!(!json.chars().any(char::is_control));
            prop_assert_eq!(&serde_json::from_str::<Text>(&json).unwrap().0[..], &bytes[..]);
        }

        #[test]
        fn any_text_comes_back(text: String) {
            let json = written(text.as_bytes());
            prop_assert_eq!(&serde_json::from_str::<Text>(&json).unwrap().0[..], text.as_bytes());
        }

        #[test]
        fn reading_any_text_does_not_panic(text: String) {
            let _ = read(&text);
        }
    }

    #[test]
    fn text_is_readable_and_the_rest_is_escaped() {
        assert_eq!(written("user:1 Grüße".as_bytes()), r#""user:1 Grüße""#);
        assert_eq!(written(b"e\0\x01\xffkey"), r#""e%00%01%FFkey""#);
        assert_eq!(written(b"50% \"a\\b\"\n"), r#""50%25 \"a\\b\"%0A""#);
        assert_eq!(written("\u{85}".as_bytes()), r#""%C2%85""#);
    }

    #[test]
    fn small_digits_are_read_and_half_an_escape_is_not() {
        assert_eq!(&read("a%fFb").unwrap()[..], b"a\xffb");
        for text in ["%", "%4", "a%", "%4g", "%+1", "%é", "%%41"] {
            assert!(read(text).is_none(), "{text}");
        }
    }
}
