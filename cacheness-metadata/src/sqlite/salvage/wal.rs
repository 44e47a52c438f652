//! The log of a damaged index. SQLite takes it to end before its first frame that is not whole, and cannot tell one that was
//! damaged from one that was being written. What was removed or replaced by the writes after it would be there again.
//!
//! Its form is described at <https://sqlite.org/fileformat2.html#the_write_ahead_log>.

use std::io::{BufReader, ErrorKind, Read};
use std::path::Path;

use cacheness_core::{Error, Result};
use fs_err::File;

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;

/// True where writes that were committed are in the log behind what SQLite reads of it.
pub(super) fn hides_commits(log: &Path) -> Result<bool> {
    let file = match File::open(log) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(unreadable(error)),
    };
    let mut log = BufReader::new(file);
    let mut header = [0; HEADER];
    if !read_whole(&mut log, &mut header)? {
        return Ok(false);
    }
    let number = |bytes: &[u8], at: usize| {
        bytes[at..at + 4].iter().fold(0_u32, |number, &byte| number << 8 | u32::from(byte))
    };
    let magic = number(&header, 0);
    let is_big_endian = magic & 1 == 1;
    let mut sum = add((0, 0), &header[..24], is_big_endian);
    let page = number(&header, 8) as usize;
    if magic & !1 != 0x377f_0682 || sum != (number(&header, 24), number(&header, 28)) || !is_page(page) {
        // Nothing of it is read; what there is may have been committed.
        return read_whole(&mut log, &mut [0; FRAME_HEADER]);
    }
    let salts = &header[16..24];
    let (mut frame, mut is_whole) = (vec![0; FRAME_HEADER + page], true);
    while read_whole(&mut log, &mut frame)? {
        // Frames of before the log was begun anew have other salts.
        if frame[8..16] != *salts {
            is_whole = false;
            continue;
        }
        if is_whole {
            sum = add(add(sum, &frame[..8], is_big_endian), &frame[FRAME_HEADER..], is_big_endian);
            is_whole = sum == (number(&frame, 16), number(&frame, 20));
        }
        let commits = number(&frame, 4) > 0;
        if !is_whole && commits {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_page(len: usize) -> bool {
    (512..=65_536).contains(&len) && len.is_power_of_two()
}

/// The checksum of bytes that follow those of which it was `sum`. Their length is a multiple of 8.
fn add(sum: (u32, u32), bytes: &[u8], is_big_endian: bool) -> (u32, u32) {
    let word = |bytes: [u8; 4]| {
        if is_big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    };
    bytes.as_chunks::<8>().0.iter().fold(sum, |(one, other), &[a, b, c, d, e, f, g, h]| {
        let one = one.wrapping_add(word([a, b, c, d])).wrapping_add(other);
        (one, other.wrapping_add(word([e, f, g, h])).wrapping_add(one))
    })
}

/// False where there are not so many bytes.
fn read_whole(log: &mut impl Read, bytes: &mut [u8]) -> Result<bool> {
    match log.read_exact(bytes) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(unreadable(error)),
    }
}

fn unreadable(error: std::io::Error) -> Error {
    Error::io(error, "the log of the damaged index cannot be read")
}
