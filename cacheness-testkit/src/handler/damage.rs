//! Damaged forms of stored bytes, the same ones on every run.

/// The most single bits that are flipped, and the most lengths that a value is cut to.
const MOST: usize = 256;

/// What a handler may find instead of the bytes that it wrote, each with what was done.
pub(super) fn damaged(bytes: &[u8]) -> impl Iterator<Item = (String, Vec<u8>)> + '_ {
    let cuts = spread(bytes.len()).map(|len| (format!("cut to {len} bytes"), bytes[..len].to_vec()));
    let flips = spread(bytes.len() * 8).map(|bit| {
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        (format!("with bit {bit} flipped"), flipped)
    });
    // Lengths and offsets are mostly four or eight bytes; all ones makes the largest of each.
    let large = spread(bytes.len().saturating_sub(7)).map(|at| {
        let mut overwritten = bytes.to_vec();
        overwritten[at..at + 8].fill(0xFF);
        (format!("with 8 bytes of 0xFF at {at}"), overwritten)
    });
    let longer = [0, 1, 1000].map(|more| {
        let mut longer = bytes.to_vec();
        longer.extend(std::iter::repeat_n(0xA5, more));
        longer.extend_from_slice(&bytes[..bytes.len().min(more)]);
        (format!("with {more} bytes and some of the value again behind it"), longer)
    });
    cuts.chain(flips).chain(large).chain(longer).chain(garbage())
}

/// Bytes that no handler wrote.
fn garbage() -> impl Iterator<Item = (String, Vec<u8>)> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let constant =
        [0x00_u8, 0xFF, 0xC1, 0x7F].into_iter().map(|byte| (format!("64 times {byte:#04X}"), vec![byte; 64]));
    let random = [1_usize, 8, 64, 4096]
        .into_iter()
        .flat_map(|len| (0..8).map(move |round| (len, round)))
        .map(move |(len, round)| {
            let bytes = std::iter::repeat_with(|| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state as u8
            });
            (format!("{len} bytes of noise, number {round}"), bytes.take(len).collect())
        });
    constant.chain(random)
}

/// Up to [`MOST`] numbers below `end`, evenly spread, with the first and the last ones all among them.
fn spread(end: usize) -> impl Iterator<Item = usize> {
    let (edge, step) = (MOST / 4, end.div_ceil(MOST / 2).max(1));
    (0..end).filter(move |i| *i < edge || end - i <= edge || i % step == 0)
}
