//! What the values of a type were so far, place by place.

use super::trace::{Kind, Step};

/// How many places a type may have. Values that go beyond are not known, and are decoded back at every put.
const MOST_PLACES: usize = 1 << 14;

/// The shapes in which values of one type are known to come back.
///
/// A place is where in a value something is: the second field of the first field, an element of a list. All elements of a
/// list have one place. Known is which calls of serde were made at each: which variants, which lengths of tuples, whether
/// a field was left out. A type's code for a place is the same for all of its values, so a value of which each call is
/// known at its place comes back as those did.
#[derive(Clone, Debug)]
pub struct Shapes {
    /// The first is the value itself.
    nodes: Vec<Node>,
    full: bool,
}

/// One call at a place.
#[derive(Clone, Debug)]
struct Node {
    /// `Nothing` at a place where there has been none yet.
    step: Step,
    /// Another call at the same place.
    other: Option<Place>,
    /// The places below this call.
    below: Vec<Place>,
}

/// The index of the first call at a place, or of a call.
pub(super) type Place = u32;

impl Default for Shapes {
    fn default() -> Self {
        Self { nodes: vec![Node::EMPTY], full: false }
    }
}

impl Node {
    const EMPTY: Self = Self { step: Step::of(Kind::Nothing), other: None, below: Vec::new() };
}

impl Shapes {
    /// The place of the value itself.
    pub(super) const ROOT: Place = 0;

    /// True where there was no room for all of what was learned.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// The call at a place, where it is known.
    #[inline]
    pub(super) fn find(&self, place: Place, step: Step) -> Option<Place> {
        let mut at = place;
        loop {
            let node = self.nodes.get(at as usize)?;
            if node.step == step {
                return Some(at);
            }
            at = node.other?;
        }
    }

    /// The place below a call.
    #[inline]
    pub(super) fn below(&self, call: Place, slot: usize) -> Option<Place> {
        self.nodes.get(call as usize)?.below.get(slot).copied()
    }

    pub(super) fn learn(&mut self, place: Place, step: Step) -> Option<Place> {
        let mut at = place;
        loop {
            let node = self.nodes.get_mut(at as usize)?;
            if node.step == Step::of(Kind::Nothing) {
                node.step = step;
            }
            if node.step == step {
                return Some(at);
            }
            at = match node.other {
                Some(other) => other,
                None => {
                    let other = self.add()?;
                    self.nodes.get_mut(at as usize)?.other = Some(other);
                    other
                }
            };
        }
    }

    pub(super) fn learn_below(&mut self, call: Place, slot: usize) -> Option<Place> {
        while self.nodes.get(call as usize)?.below.len() <= slot {
            let place = self.add()?;
            self.nodes.get_mut(call as usize)?.below.push(place);
        }
        self.below(call, slot)
    }

    fn add(&mut self) -> Option<Place> {
        if self.nodes.len() >= MOST_PLACES {
            self.full = true;
            return None;
        }
        self.nodes.push(Node::EMPTY);
        Some((self.nodes.len() - 1) as Place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_known_at_its_place_only() {
        let mut shapes = Shapes::default();
        let tuple = Step::new(Kind::Group, 2);
        let call = shapes.learn(Shapes::ROOT, tuple).unwrap();
        let second = shapes.learn_below(call, 1).unwrap();
        let number = shapes.learn(second, Step::of(Kind::U8)).unwrap();
        assert_eq!(shapes.find(Shapes::ROOT, tuple), Some(call));
        assert_eq!(shapes.below(call, 1), Some(second));
        assert_eq!(shapes.find(second, Step::of(Kind::U8)), Some(number));
        let first = shapes.below(call, 0).unwrap();
        assert_eq!(shapes.find(first, Step::of(Kind::U8)), None);
        assert_eq!(shapes.find(Shapes::ROOT, Step::new(Kind::Group, 3)), None);
        assert_eq!(shapes.below(call, 2), None);
    }

    #[test]
    fn what_has_no_room_is_not_known() {
        let mut shapes = Shapes::default();
        let steps = (0..MOST_PLACES as u64 + 10).map(|variant| Step::new(Kind::UnitVariant, variant));
        for step in steps.clone() {
            shapes.learn(Shapes::ROOT, step);
        }
        assert!(shapes.is_full() && shapes.nodes.len() == MOST_PLACES);
        assert_eq!(steps.filter(|&step| shapes.find(Shapes::ROOT, step).is_none()).count(), 10);
    }
}
