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
    I16,
    I32,
    I64,
    Double,
    Binary,
    List,
    Struct,
}

impl Type {
    fn of(number: u8) -> Result<Self> {
        Ok(match number {
            1 | 2 => Self::Bool,
            3 => Self::Byte,
            4 => Self::I16,
            5 => Self::I32,
            6 => Self::I64,
            7 => Self::Double,
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
/// The elements of a list have the number 0.
pub(super) type Types = fn(&[i16]) -> Option<Type>;

/// How deep structs and lists may lie in one another in what is skipped.
const MOST_LEVELS: usize = 64;

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
        match self.list()? {
            None => Ok(0),
            Some((len, Type::Struct)) => Ok(len),
            Some(_) => Err(malformed()),
        }
    }

    /// How many elements a list has, and of which type; `None` where it is empty.
    fn list(&mut self) -> Result<Option<(usize, Type)>> {
        let byte = self.byte()?;
        let len = match byte >> 4 {
            15 => usize::try_from(self.unsigned()?).map_err(|_| malformed())?,
            len => usize::from(len),
        };
        if len == 0 {
            return Ok(None);
        }
        let of_type = Type::of(byte & 0x0f)?;
        // Each has a byte of its own at least. The decoder takes truth values for elements without any, and would count to
        // any number of them.
        if len > self.bytes.len() || of_type == Type::Bool {
            return Err(malformed());
        }
        Ok(Some((len, of_type)))
    }

    /// Goes through a struct to its end. Fields that `types` knows have to have the type that it says, and others may have any:
    /// the decoder skips them as well.
    pub(super) fn check(&mut self, types: Types) -> Result<()> {
        self.check_struct(types, &mut Vec::new())
    }

    fn check_struct(&mut self, types: Types, path: &mut Vec<i16>) -> Result<()> {
        let mut before = 0;
        while let Some((number, of_type)) = self.field(before)? {
            before = number;
            path.push(number);
            // The value of a truth value stands in its type.
            if of_type == Type::Bool {
                check_type(types, path, of_type)?;
            } else {
                self.check_value(of_type, types, path)?;
            }
            path.pop();
        }
        Ok(())
    }

    fn check_value(&mut self, of_type: Type, types: Types, path: &mut Vec<i16>) -> Result<()> {
        check_type(types, path, of_type)?;
        match of_type {
            Type::Bool => return Err(malformed()),
            Type::Byte => self.skip(1)?,
            Type::I16 | Type::I32 | Type::I64 => _ = self.unsigned()?,
            Type::Double => self.skip(8)?,
            Type::Binary => {
                let len = usize::try_from(self.unsigned()?).map_err(|_| malformed())?;
                self.skip(len)?;
            }
            Type::List => {
                let Some((len, of_type)) = self.list()? else { return Ok(()) };
                path.push(0);
                (0..len).try_for_each(|_| self.check_value(of_type, types, path))?;
                path.pop();
            }
            Type::Struct => self.check_struct(types, path)?,
        }
        Ok(())
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
                Type::Double => self.skip(8)?,
                Type::I32 => {
                    let value = self.i32()?;
                    if path.len() == 1 {
                        found(number, value);
                    }
                }
                Type::I16 | Type::I64 => _ = self.signed()?,
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

fn check_type(types: Types, path: &[i16], of_type: Type) -> Result<()> {
    let is_known = types(path).is_none_or(|expected| expected == of_type);
    if is_known && path.len() <= MOST_LEVELS { Ok(()) } else { Err(malformed()) }
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

    #[test]
    fn what_nobody_knows_is_skipped_where_its_length_is_that_of_its_bytes() {
        // What is known; 3: [[1, 2], [3]]; 5: a double; 3: an empty list.
        let skipped: [&[u8]; 4] = [
            &[0x15, 5, 0x1c, 0x15, 2, 0, 0],
            &[0x39, 0x29, 0x25, 1, 2, 0x15, 3, 0],
            &[0x57, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            &[0x39, 0x00, 0],
        ];
        for bytes in skipped {
            let mut reader = Reader { bytes };
            reader.check(types).unwrap();
            assert!(reader.bytes.is_empty(), "{bytes:x?}");
        }
        let refused: [&[u8]; 6] = [
            // Two thousand million truth values, a few, and as many in lists that claim more than there is.
            &[0x39, 0xf1, 0xff, 0xff, 0xff, 0xff, 7, 0],
            &[0x39, 0x21, 0],
            &[0x39, 0xf9, 0xff, 0xff, 0xff, 0xff, 7, 0x21, 0],
            // A field that is known, of another type, also within one.
            &[0x19, 0x15, 2, 0],
            &[0x2c, 0x16, 2, 0, 0],
            // A map.
            &[0x3b, 0, 0],
        ];
        for bytes in refused {
            assert!(Reader { bytes }.check(types).is_err(), "{bytes:x?}");
        }
        let deep = [&[0x3c_u8][..], &[0x1c; 100], &[0; 102]].concat();
        assert!(Reader { bytes: &deep }.check(types).is_err());
    }
}
