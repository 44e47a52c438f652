//! Serde formats that do not describe themselves: the bytes say nothing but the values, and only the type knows which
//! values they are.
//!
//! Some types encode there and never decode, and a few decode as another value. So the first value of each type is
//! decoded back when it is put.

#[cfg(feature = "bincode")]
mod bincode;
#[cfg(feature = "postcard")]
mod postcard;
mod proof;

use cacheness_core::{BlobWriter, FormatMeta, Result, ValueRef};

#[cfg(feature = "bincode")]
pub use self::bincode::BincodeHandler;
#[cfg(feature = "postcard")]
pub use self::postcard::PostcardHandler;
use self::proof::{Proofs, prove};
use crate::strict::{self, Format, Levels, Rules};
use crate::whole::write_all;

const RULES: Rules =
    Rules { max_depth: 256, levels: Levels::All, skipped_fields: false, non_finite_floats: true };

fn put<F: Format>(
    value: &ValueRef<'_>,
    mut writer: &mut dyn BlobWriter,
    proofs: &Proofs,
) -> Result<FormatMeta> {
    match value.target().filter(|target| target.is_serde() && proofs.is_due(target)) {
        None => strict::encode::<F>(value, &mut writer)?,
        Some(target) => {
            let mut bytes = Vec::new();
            strict::encode::<F>(value, &mut bytes)?;
            prove::<F>(&bytes, &target)?;
            proofs.remember(&target);
            write_all(writer, &bytes)?;
        }
    }
    Ok(FormatMeta::default())
}
