//! Proof that the values of a type come back from a format.

use std::any::TypeId;
use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::{Arc, PoisonError, RwLock};

use cacheness_core::strict::{Encoding, Fields, Shapes};
use cacheness_core::{Error, ErrorKind, Result, TypeTarget, ValueRef};

use super::format::{self, Format};

/// The most types that are remembered. Those of a program that puts more are proved at each put.
const MOST_TYPES: usize = 1024;

/// What is known of types.
#[derive(Clone, Debug, Default)]
pub(super) struct Proofs {
    types: Arc<RwLock<HashMap<TypeId, Known>>>,
}

/// What is known of one type.
#[derive(Clone, Debug)]
pub(super) enum Known {
    /// No value of it was put yet.
    Nothing,
    /// Its values come back that have no other shapes.
    Shapes(Arc<Shapes>),
    /// What comes back does not depend on shapes alone, or these are too many.
    Unsteady,
}

impl Proofs {
    pub(super) fn of(&self, target: &TypeTarget) -> Known {
        // A map stays whole whatever happens to the thread that holds the lock.
        let types = self.types.read().unwrap_or_else(PoisonError::into_inner);
        types.get(&target.id()).cloned().unwrap_or(Known::Nothing)
    }

    /// What another thread has learned meanwhile may be lost, and is then learned again.
    pub(super) fn remember(&self, target: &TypeTarget, learned: Known) {
        self.remember_at_most(target, learned, MOST_TYPES);
    }

    fn remember_at_most(&self, target: &TypeTarget, learned: Known, most: usize) {
        let mut types = self.types.write().unwrap_or_else(PoisonError::into_inner);
        let room = types.len() < most;
        match types.get_mut(&target.id()) {
            Some(Known::Unsteady) => {}
            Some(known) => *known = learned,
            None if room => _ = types.insert(target.id(), learned),
            None => {}
        }
    }
}

/// Encodes a value, decodes it, and compares. Its shapes are added to those that are given.
pub(super) fn prove<F: Format>(
    value: &ValueRef<'_>,
    target: &TypeTarget,
    shapes: Option<Shapes>,
) -> Result<(Vec<u8>, Known)> {
    let failed = |why: &str| {
        let (name, type_name) = (F::NAME, target.type_name());
        let message = format!("a `{type_name}` {why} `{name}`; put it with the handler `msgpack`");
        Error::new(ErrorKind::Encode, message)
    };
    let mut bytes = Vec::new();
    let encoding = match shapes {
        Some(shapes) => Encoding::learning(F::RULES, shapes),
        None => Encoding::tracing(F::RULES),
    };
    format::encode::<F>(value, &encoding, &mut bytes)?;
    let (shapes, written) = encoding.into_learned();

    let bounds = format::bounds::<F>(bytes.len()).observing();
    let decoded = format::decode::<F>(&bytes, target, &bounds)
        .map_err(|error| failed("can be written but not read back in").with_source(error))?;
    let (mut took_any, mut tuple_was_short, mut read_as_written) = (false, false, true);
    if let Some(observed) = bounds.observed() {
        took_any = observed.took_any.get();
        tuple_was_short = observed.tuple_was_short.get();
        read_as_written = F::RULES.fields == Fields::ByName || observed.trace.is_same(&written);
    }
    if tuple_was_short {
        return Err(failed("leaves elements of a tuple out, which are found by their position in"));
    }
    if !read_as_written {
        return Err(failed("reads otherwise than it writes in"));
    }

    // Not `&decoded`, which is the box as a value of its own.
    let again =
        target.value_ref(decoded.as_ref()).ok_or_else(|| failed("comes back as another type from"))?;
    let (mut first, mut second) = (ByteCounts::default(), ByteCounts::default());
    first.add(&bytes);
    let encoding = Encoding::tracing(F::RULES);
    format::encode::<F>(&again, &encoding, &mut second)?;
    if first != second || !encoding.into_learned().1.is_same_in_any_order(&written) {
        return Err(failed("comes back as another value from"));
    }
    let unsteady = took_any || shapes.is_full();
    Ok((bytes, if unsteady { Known::Unsteady } else { Known::Shapes(Arc::new(shapes)) }))
}

/// How often each byte occurs. The order is left out, because a `HashMap` that comes back has another one.
#[derive(PartialEq)]
struct ByteCounts([u64; 256]);

impl Default for ByteCounts {
    fn default() -> Self {
        Self([0; 256])
    }
}

impl ByteCounts {
    fn add(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0[usize::from(byte)] += 1;
        }
    }
}

impl Write for ByteCounts {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.add(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use cacheness_core::CacheValue;

    use super::*;

    #[test]
    fn no_more_types_are_remembered_than_the_bound() {
        let proofs = Proofs::default();
        let target = <u32 as CacheValue<_>>::target();
        assert!(matches!(proofs.of(&target), Known::Nothing));
        proofs.remember(&target, Known::Unsteady);
        assert!(matches!(proofs.of(&target), Known::Unsteady));
        let other = <u64 as CacheValue<_>>::target();
        // Each type id is of a type of its own, so as many as the bound are too many to write down.
        proofs.remember_at_most(&other, Known::Unsteady, 1);
        assert!(matches!(proofs.of(&other), Known::Nothing));
        proofs.remember_at_most(&other, Known::Unsteady, 2);
        assert!(matches!(proofs.of(&other), Known::Unsteady));
    }
}
