//! Sizes and times as people write them: `512 MiB`, `90s`.

use std::time::Duration;

/// Reads a size in bytes: a number, or one with a unit. `k`, `MB` and the like count by 1000, `KiB`, `MiB` by 1024.
pub(super) fn parse_size(text: &str) -> Option<u64> {
    let size = parse_size::parse_size(text.trim()).ok()?;
    // Whole numbers of a configuration are signed, and a size must be able to be one.
    i64::try_from(size).is_ok().then_some(size)
}

/// Writes a size so that it is read back as the same: in the largest unit in which it is a whole number.
pub(super) fn format_size(bytes: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    let whole = |&&(shift, _): &&(u32, &str)| bytes > 0 && bytes.trailing_zeros() >= shift;
    match units.iter().find(whole) {
        Some((shift, unit)) => format!("{} {unit}", bytes >> shift),
        None => format!("{bytes} B"),
    }
}

/// Reads a time: one or more whole numbers with a unit, `1h 30m`. A number alone is none: nobody knows whether
/// seconds are meant.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    // The one number that needs no unit is not accepted either, so that the rule has no exception.
    if text.chars().all(|c| c.is_ascii_digit()) { None } else { humantime::parse_duration(text).ok() }
}

/// Writes a time so that it is read back as the same, in at most three units.
pub(super) fn format_duration(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}
