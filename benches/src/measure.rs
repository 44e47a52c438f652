//! Times several sides of a comparison in turns, so that what else the machine does falls on all of them alike.

use std::error::Error;
use std::time::Instant;

use crate::items::Item;

/// How much is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    Full,
    /// Little, to see that everything runs.
    Quick,
}

impl Scale {
    pub(crate) fn pick<T>(self, full: T, quick: T) -> T {
        match self {
            Self::Full => full,
            Self::Quick => quick,
        }
    }
}

/// How many batches are timed, and how many operations one has.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) batches: usize,
    pub(crate) size: usize,
}

impl Plan {
    pub(crate) fn new(scale: Scale) -> Self {
        Self { batches: scale.pick(500, 20), size: 200 }
    }
}

/// One side: its name, and what it does with the items of a batch.
pub(crate) struct Side<'a> {
    pub(crate) name: &'static str,
    pub(crate) run: Run<'a>,
}

type Run<'a> = Box<dyn FnMut(&[Item]) -> Result<(), Box<dyn Error>> + 'a>;

impl<'a> Side<'a> {
    pub(crate) fn new(
        name: &'static str,
        run: impl FnMut(&[Item]) -> Result<(), Box<dyn Error>> + 'a,
    ) -> Self {
        Self { name, run: Box::new(run) }
    }
}

/// The times of one side: nanoseconds per operation, batch by batch.
pub(crate) struct Times {
    pub(crate) name: &'static str,
    pub(crate) batches: Vec<f64>,
}

/// Runs the sides in turns, each batch on all of them, and lets a different one begin each time. A tenth as many
/// batches go before without being timed. What makes the items is not timed.
pub(crate) fn in_turns(
    plan: Plan,
    mut items: impl FnMut(usize) -> Vec<Item>,
    mut sides: Vec<Side<'_>>,
) -> Result<Vec<Times>, Box<dyn Error>> {
    let mut times: Vec<Times> = sides
        .iter()
        .map(|side| Times { name: side.name, batches: Vec::with_capacity(plan.batches) })
        .collect();
    let warm_up = plan.batches.div_ceil(10);
    for turn in 0..warm_up + plan.batches {
        let batch = items(plan.size);
        for offset in 0..sides.len() {
            let at = (turn + offset) % sides.len();
            let start = Instant::now();
            (sides[at].run)(&batch)?;
            let took = start.elapsed().as_nanos() as f64 / batch.len() as f64;
            if turn >= warm_up {
                times[at].batches.push(took);
            }
        }
    }
    Ok(times)
}

impl Times {
    pub(crate) fn median(&self) -> f64 {
        percentile(&self.batches, 50)
    }

    pub(crate) fn mean(&self) -> f64 {
        self.batches.iter().sum::<f64>() / self.batches.len() as f64
    }

    /// How many times as long this side took as `other`, batch by batch.
    pub(crate) fn ratios(&self, other: &Self) -> Vec<f64> {
        self.batches.iter().zip(&other.batches).map(|(ours, theirs)| ours / theirs).collect()
    }
}

/// The value below which this many in a hundred lie.
pub(crate) fn percentile(values: &[f64], of_a_hundred: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let at = (sorted.len().saturating_sub(1) * of_a_hundred + 50) / 100;
    sorted.get(at).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_taken_by_rank() {
        let values: Vec<f64> = (0..=100).rev().map(f64::from).collect();
        assert_eq!([10, 50, 90].map(|of| percentile(&values, of)), [10.0, 50.0, 90.0]);
        assert!(percentile(&[], 50).is_nan());
    }

    #[test]
    fn every_batch_is_run_on_every_side_and_each_side_begins_in_turn() {
        let order = std::cell::RefCell::new(Vec::new());
        let side = |name: &'static str| {
            let order = &order;
            Side::new(name, move |items| {
                order.borrow_mut().push((name, items[0].key.clone()));
                Ok(())
            })
        };
        let mut number = 0;
        let items = |size| {
            number += 1;
            (0..size).map(|_| Item::new(number)).collect()
        };
        let times = in_turns(Plan { batches: 10, size: 3 }, items, vec![side("a"), side("b")]).unwrap();
        assert_eq!(times.iter().map(|side| side.batches.len()).collect::<Vec<_>>(), [10, 10]);
        let order = order.into_inner();
        assert_eq!(order.iter().map(|(name, _)| *name).take(4).collect::<String>(), "abba");
        assert!(order.chunks(2).all(|pair| pair[0].1 == pair[1].1));
    }
}
