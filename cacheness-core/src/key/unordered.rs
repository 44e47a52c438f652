//! A collection whose order does not count in a key, for sets that are iterated in random order.

use serde::{Serialize, Serializer};

/// The name by which the encoder knows an [`Unordered`]; every other serialiser sees a plain sequence.
pub(super) const NAME: &str = "cacheness::Unordered";

/// Makes the order of a collection's items not count in a key: for `HashSet` and its like.
///
/// A sequence in a key is ordered, and a `HashSet` is serialised as a sequence in an order that differs from
/// run to run, so that its key would too. Wrapped, the items are sorted by their encoding. An item that is
/// there twice counts twice. A wrapped and a plain collection never share a key. A `BTreeSet` needs no wrapper,
/// as its order is already that of its items.
///
/// ```
/// use cacheness_core::{Unordered, cache_key};
/// use std::collections::HashSet;
///
/// let features: HashSet<&str> = ["age", "income", "region"].into();
/// let key = cache_key!("model"; features: Unordered(&features))?;
/// assert_eq!(key, cache_key!("model"; features: Unordered(["region", "age", "income"]))?);
/// # Ok::<(), cacheness_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Unordered<C>(
    /// The collection: anything that is serialised as a sequence. Anything else is an error when it is encoded.
    pub C,
);

impl<C: Serialize> Serialize for Unordered<C> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(NAME, &self.0)
    }
}
