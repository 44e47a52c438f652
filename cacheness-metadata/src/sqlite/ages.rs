//! When the entries of a namespace were put, in a few numbers that stand in its row: so the oldest is known without
//! an index that each put would have to change in two places.
//!
//! The entries are counted in slots, each of which stands for a range of versions and keeps the earliest time in it.
//! When there are too many slots, two neighbours become one, those that then cover the shortest time. Up to [`SLOTS`]
//! entries each has a slot of its own, and the oldest is known exactly; beyond that what is said is never too late, and
//! too early by up to about a sixteenth of the time from the first put of all to the last.

/// The most slots.
pub(super) const SLOTS: usize = 32;

/// The bytes of a slot as it is stored: three numbers of 64 bits, the lowest byte first.
const SLOT_BYTES: usize = 24;

/// The ages of the entries of a namespace.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Ages(Vec<Slot>);

/// The entries with versions from `first` up to the first one of the next slot.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Slot {
    first: i64,
    created_at: i64,
    entries: i64,
}

impl Ages {
    /// Reads what [`to_bytes`](Self::to_bytes) made. What is damaged counts as nothing.
    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        let slot = |bytes: &[u8; SLOT_BYTES]| {
            let [first, created_at, entries] = std::array::from_fn(|number| {
                let number = &bytes[number * 8..];
                i64::from_le_bytes(std::array::from_fn(|byte| number[byte]))
            });
            Slot { first, created_at, entries }
        };
        Self(bytes.as_chunks().0.iter().take(SLOTS).map(slot).collect())
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.0.len() * SLOT_BYTES);
        for slot in &self.0 {
            for number in [slot.first, slot.created_at, slot.entries] {
                bytes.extend_from_slice(&number.to_le_bytes());
            }
        }
        bytes
    }

    /// Adds an entry, whose version is higher than all before.
    pub(super) fn add(&mut self, version: i64, created_at: i64) {
        self.0.push(Slot { first: version, created_at, entries: 1 });
        if self.0.len() <= SLOTS {
            return;
        }
        let until = |at: usize| self.0[at.min(self.0.len() - 1)].created_at;
        let time = |at: &usize| until(*at + 2).saturating_sub(until(*at));
        if let Some(at) = (0..self.0.len() - 1).min_by_key(time) {
            let next = self.0.remove(at + 1);
            let slot = &mut self.0[at];
            slot.entries = slot.entries.saturating_add(next.entries);
            slot.created_at = slot.created_at.min(next.created_at);
        }
    }

    /// True where what came in later was also put later.
    pub(super) fn are_in_order(&self) -> bool {
        self.0.is_sorted_by_key(|slot| slot.created_at)
    }

    /// Takes an entry away.
    pub(super) fn remove(&mut self, version: i64) {
        let Some(at) = self.0.partition_point(|slot| slot.first <= version).checked_sub(1) else { return };
        self.0[at].entries = self.0[at].entries.saturating_sub(1);
        if self.0[at].entries > 0 {
            return;
        }
        let gone = self.0.remove(at);
        // Some of its entries may be counted in the slots before it, if what replaced theirs was not written down.
        if let Some(before) = at.checked_sub(1).and_then(|before| self.0.get_mut(before))
            && gone.created_at < before.created_at
        {
            let created_at = gone.created_at.min(before.created_at);
            let entries = self.0.iter().fold(0_i64, |sum, slot| sum.saturating_add(slot.entries));
            if entries > SLOTS as i64 {
                self.0[at - 1].created_at = created_at;
            }
        }
    }

    /// When the oldest entry was put, or somewhat earlier; `None` where there is none.
    pub(super) fn oldest(&self) -> Option<i64> {
        self.0.iter().map(|slot| slot.created_at).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_entries_are_known_exactly_also_when_they_come_with_earlier_times() {
        let mut ages = Ages::default();
        assert_eq!(ages.oldest(), None);
        for (version, created_at) in [(1, 50), (2, 40), (3, 60)] {
            ages.add(version, created_at);
        }
        assert_eq!(ages.oldest(), Some(40));
        ages.remove(2);
        assert_eq!(ages.oldest(), Some(50));
        ages.remove(1);
        ages.remove(3);
        assert_eq!(ages, Ages::default());
    }

    #[test]
    fn of_many_entries_the_oldest_is_never_said_to_be_younger_and_only_a_little_older() {
        let count = 10_000_i64;
        let mut ages = Ages::default();
        (1..=count).for_each(|version| ages.add(version, version));
        assert!(ages.0.len() <= SLOTS);
        for version in 1..count {
            ages.remove(version);
            let (said, oldest) = (ages.oldest().unwrap(), version + 1);
            assert!(said <= oldest, "{said} is later than {oldest}");
            assert!(oldest - said <= count / 12, "{said} is far from {oldest}");
        }
        ages.remove(count);
        assert_eq!(ages.oldest(), None);
    }

    #[test]
    fn what_is_written_anew_again_and_again_stays_small_and_near_the_truth() {
        let (mut ages, mut versions, count) = (Ages::default(), Vec::new(), 1_000_i64);
        let mut state = 1_u64;
        for version in 1..200_000_i64 {
            if versions.len() < count as usize {
                versions.push(version);
            } else {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let at = (state >> 33) as usize % versions.len();
                ages.remove(versions[at]);
                versions[at] = version;
            }
            ages.add(version, version);
        }
        let (said, oldest) = (ages.oldest().unwrap(), *versions.iter().min().unwrap());
        let span = 200_000 - oldest;
        assert!(said <= oldest && oldest - said <= span / 8, "{said} for {oldest}");
        assert!(ages.0.len() <= SLOTS);
        assert_eq!(ages.0.iter().map(|slot| slot.entries).sum::<i64>(), count);
    }

    #[test]
    fn what_was_not_written_down_makes_nothing_younger() {
        let mut state = 1_u64;
        let mut below = |end: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 33) % end) as usize
        };
        for _ in 0..200 {
            let (mut ages, mut entries) = (Ages::default(), Vec::new());
            let mut stored = ages.clone();
            let mut version = 0;
            for _ in 0..600 {
                version += 1;
                let created_at = version - below(20) as i64 / 19 * below(200) as i64;
                let many = entries.len() > SLOTS;
                if many && below(3) > 0 {
                    // What is not stored is lost now and then, and then only puts over known keys are.
                    let at = below(entries.len() as u64);
                    let (old, _) = std::mem::replace(&mut entries[at], (version, created_at));
                    ages.remove(old);
                    ages.add(version, created_at);
                    if !ages.are_in_order() || below(4) == 0 {
                        stored = ages.clone();
                    } else if below(10) == 0 {
                        ages = stored.clone();
                    }
                } else if entries.is_empty() || below(2) == 0 && entries.len() < 100 {
                    ages.add(version, created_at);
                    entries.push((version, created_at));
                    stored = ages.clone();
                } else {
                    let (old, _) = entries.swap_remove(below(entries.len() as u64));
                    ages.remove(old);
                    stored = ages.clone();
                }
                let oldest = entries.iter().map(|(_, created_at)| *created_at).min();
                if entries.len() > SLOTS {
                    assert!(ages.oldest() <= oldest, "{:?} is later than {oldest:?}", ages.oldest());
                }
            }
        }
    }

    #[test]
    fn it_is_read_back_and_damage_does_no_harm() {
        let mut ages = Ages::default();
        (1..100).for_each(|version| ages.add(version, version * 7));
        assert_eq!(Ages::from_bytes(&ages.to_bytes()), ages);
        let mut damaged = Ages::from_bytes(&[0xFF; 10_001]);
        for version in [i64::MIN, -1, 0, 1, i64::MAX] {
            damaged.remove(version);
            damaged.add(version, version);
        }
        assert!(damaged.0.len() <= SLOTS);
        let least: Vec<u8> = [1, 0, i64::MIN].into_iter().flat_map(i64::to_le_bytes).collect();
        let mut damaged = Ages::from_bytes(&least);
        damaged.remove(1);
        assert_eq!(damaged, Ages::default());
    }
}
