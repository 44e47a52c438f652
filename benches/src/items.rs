//! The keys and values that both sides of a comparison are given: the same ones, in the same order, in every run.

/// The length of a value.
pub(crate) const VALUE_LEN: usize = 1024;

/// A key and a value.
pub(crate) struct Item {
    pub(crate) key: String,
    pub(crate) value: Vec<u8>,
}

impl Item {
    /// The item with this number. Neighbouring numbers have keys that lie far apart, so that filling a database in
    /// the order of numbers does not favour an index in the order of keys. The bytes do not compress.
    pub(crate) fn new(number: u64) -> Self {
        let mut random = Random::new(number);
        let value = (0..VALUE_LEN / 8).flat_map(|_| random.next().to_le_bytes()).collect();
        Self { key: key(number), value }
    }

    /// The item's key with other bytes, for the time that it is written anew.
    pub(crate) fn rewritten(number: u64, time: u64) -> Self {
        let mut random = Random::new(number ^ time.rotate_left(40));
        let value = (0..VALUE_LEN / 8).flat_map(|_| random.next().to_le_bytes()).collect();
        Self { key: key(number), value }
    }
}

/// The key with this number, 21 bytes long.
pub(crate) fn key(number: u64) -> String {
    format!("item:{:016x}", Random::new(!number).next())
}

/// SplitMix64: a sequence that looks random and is the same in every run.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is far below 2^64: the slight favour of low numbers does not matter.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_the_same_each_time_and_no_other_has_its_key() {
        assert_eq!(Item::new(7).value, Item::new(7).value);
        assert_ne!(Item::new(7).value, Item::rewritten(7, 1).value);
        assert_eq!(Item::new(7).value.len(), VALUE_LEN);
        let keys: std::collections::HashSet<_> = (0..10_000).map(key).collect();
        assert_eq!(keys.len(), 10_000);
        assert!(keys.iter().all(|key| key.len() == 21));
    }
}
