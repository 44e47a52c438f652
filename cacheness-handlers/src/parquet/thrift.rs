//! As much of Thrift's compact protocol as it takes to look at what the decoder acts on before it is known to be possible.
//!
//! Every field has to have the type that the format gives it. The decoder takes a field's type from its number and
//! would read other bytes than are skipped here, and so act on something else than was looked at.

use cacheness_core::Result;

use crate::table::not_a_table;

#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Type {
    Bool,
    Byte,
    I32,
    I64,
    Binary,
    List,
    Struct,
}

impl Type {
    fn of(number: u8) -> Result<Self> {
        Ok(match number {
            1 | 2 => Self::Bool,
            3 => Self::Byte,
            5 => Self::I32,
            6 => Self::I64,
            8 => Self::Binary,
            9 => Self::List,
            12 => Self::Struct,
            _ => return Err(malformed()),
        })
    }
}

fn malformed() -> cacheness_core::Error {
    not_a_table("a header in the file is malformed")
}

/// Says which type a field has, by the numbers of the fields in which it lies and its own; `None` for one that there is not.
pub(super) type Types = fn(&[i16]) -> Option<Type>;

/// The bytes that are not read yet.
pub(super) struct Reader<'a> {
    pub(super) bytes: &'a [u8],
}

impl Reader<'_> {
    fn byte(&mut self) -> Result<u8> {
        let (first, rest) = self.bytes.split_first().ok_or_else(malformed)?;
        self.bytes = rest;
        Ok(*first)
    }

    pub(super) fn skip(&mut self, len: usize) -> Result<()> {
        self.bytes = self.bytes.get(len..).ok_or_else(malformed)?;
        Ok(())
    }

    fn unsigned(&mut self) -> Result<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                break;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(malformed())
    }

    fn signed(&mut self) -> Result<i64> {
        let number = self.unsigned()?;
        Ok((number >> 1).cast_signed() ^ -((number & 1).cast_signed()))
    }

    pub(super) fn i32(&mut self) -> Result<i32> {
        i32::try_from(self.signed()?).map_err(|_| malformed())
    }

    /// The number and the type of the next field of a struct; `None` at its end.
    pub(super) fn field(&mut self, before: i16) -> Result<Option<(i16, Type)>> {
        let byte = self.byte()?;
        if byte & 0x0f == 0 {
            return Ok(None);
        }
        let number = match byte >> 4 {
            0 => i16::try_from(self.signed()?).ok(),
            more => before.checked_add(i16::from(more)),
        };
        Ok(Some((number.ok_or_else(malformed)?, Type::of(byte & 0x0f)?)))
    }

    /// The number of structs in a list of them.
    pub(super) fn structs(&mut self) -> Result<usize> {
        let byte = self.byte()?;
        let len = match byte >> 4 {
            15 => usize::try_from(self.unsigned()?).map_err(|_| malformed())?,
            len => usize::from(len),
        };
        // Each has a byte of its own at least, its end.
        let possible = len <= self.bytes.len() && (len == 0 || byte & 0x0f == 12);
        if possible { Ok(len) } else { Err(malformed()) }
    }

    /// Reads a struct to its end, and hands over the numbers among its own fields.
    pub(super) fn numbers(&mut self, types: Types, mut found: impl FnMut(i16, i32)) -> Result<()> {
        let mut path = Vec::new();
        self.fields(types, &mut path, &mut found)
    }

    /// Goes as deep as `types` knows fields.
    fn fields(&mut self, types: Types, path: &mut Vec<i16>, found: &mut dyn FnMut(i16, i32)) -> Result<()> {
        let mut before = 0;
        while let Some((number, of_type)) = self.field(before)? {
            before = number;
            path.push(number);
            if types(path) != Some(of_type) {
                return Err(malformed());
            }
            match of_type {
                Type::Bool => {}
                Type::Byte => self.skip(1)?,
                Type::I32 => {
                    let value = self.i32()?;
                    if path.len() == 1 {
                        found(number, value);
                    }
                }
                Type::I64 => _ = self.signed()?,
                Type::Binary => {
                    let len = usize::try_from(self.unsigned()?).map_err(|_| malformed())?;
                    self.skip(len)?;
                }
                // Nothing that is looked at has one.
                Type::List => return Err(malformed()),
                Type::Struct => self.fields(types, path, found)?,
            }
            path.pop();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn types(path: &[i16]) -> Option<Type> {
        match path {
            [1] | [2, 1] => Some(Type::I32),
            [2] => Some(Type::Struct),
            _ => None,
        }
    }

    #[test]
    fn numbers_of_the_struct_itself_are_found() {
        // 1: -3, 2: { 1: 150 }
        let mut reader = Reader { bytes: &[0x15, 5, 0x1c, 0x15, 0xac, 2, 0, 0, 9] };
        let mut found = Vec::new();
        reader.numbers(types, |number, value| found.push((number, value))).unwrap();
        assert_eq!(found, [(1, -3)]);
        assert_eq!(reader.bytes, [9]);
    }

    #[test]
    fn what_another_reader_would_read_otherwise_is_refused() {
        let refused: [&[u8]; 6] = [
            // A number where a struct belongs, an unknown field, and one that does not end.
            &[0x25, 5, 0],
            &[0x35, 5, 0],
            &[0x15, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0],
            // More than 32 bits, more than 64, and no end of the struct.
            &[0x15, 0xff, 0xff, 0xff, 0xff, 0x7f, 0],
            &[0x15, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0],
            &[0x15, 5],
        ];
        for bytes in refused {
            let mut reader = Reader { bytes };
            assert!(reader.numbers(types, |_, _| {}).is_err(), "{bytes:x?}");
        }
    }
}
