//! Proof that a type comes back from a format.

use std::any::TypeId;
use std::collections::HashSet;
use std::io::{self, Write};
use std::sync::{Arc, PoisonError, RwLock};

use cacheness_core::{Error, ErrorKind, Result, TypeTarget};

use crate::strict::{self, Format};

/// The most types that are remembered. Those of a program that puts more are proved at each put.
const MOST_TYPES: usize = 1024;

/// The types that a handler need not prove again.
#[derive(Clone, Debug, Default)]
pub(super) struct Proofs {
    types: Arc<RwLock<HashSet<TypeId>>>,
    every_put: bool,
}

impl Proofs {
    pub(super) fn at_every_put() -> Self {
        Self { every_put: true, ..Self::default() }
    }

    pub(super) fn is_due(&self, target: &TypeTarget) -> bool {
        // A set stays whole whatever happens to the thread that holds the lock.
        self.every_put || !self.types.read().unwrap_or_else(PoisonError::into_inner).contains(&target.id())
    }

    pub(super) fn remember(&self, target: &TypeTarget) {
        if self.every_put {
            return;
        }
        let mut types = self.types.write().unwrap_or_else(PoisonError::into_inner);
        if types.len() < MOST_TYPES {
            types.insert(target.id());
        }
    }
}

/// Decodes what was just encoded, and compares.
pub(super) fn prove<F: Format>(bytes: &[u8], target: &TypeTarget) -> Result<()> {
    let failed = |why: &str| {
        let (name, type_name) = (F::NAME, target.type_name());
        let message = format!("a `{type_name}` {why} `{name}`; put it with the handler `msgpack`");
        Error::new(ErrorKind::Encode, message)
    };
    let decoded = strict::decode::<F>(bytes, target)
        .map_err(|error| failed("can be written but not read back in").with_source(error))?;
    let again =
        target.value_ref(decoded.as_ref()).ok_or_else(|| failed("comes back as another type from"))?;
    let (mut first, mut second) = (ByteCounts::default(), ByteCounts::default());
    first.add(bytes);
    strict::encode::<F>(&again, &mut second)?;
    if first != second {
        return Err(failed("comes back as another value from"));
    }
    Ok(())
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

    struct Numbered<const N: usize>;

    #[test]
    fn no_more_types_are_remembered_than_the_bound() {
        let proofs = Proofs::default();
        let target = <u32 as CacheValue<_>>::target();
        assert!(proofs.is_due(&target));
        proofs.remember(&target);
        assert!(!proofs.is_due(&target));
        {
            let mut types = proofs.types.write().unwrap();
            types.clear();
            types.extend(std::iter::once(TypeId::of::<Numbered<0>>()));
        }
        assert!(proofs.is_due(&target));
    }

    #[test]
    fn a_handler_that_proves_every_put_remembers_none() {
        let proofs = Proofs::at_every_put();
        let target = <u32 as CacheValue<_>>::target();
        proofs.remember(&target);
        assert!(proofs.is_due(&target));
    }
}
