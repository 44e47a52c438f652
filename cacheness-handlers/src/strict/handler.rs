//! The one handler behind all of these formats.

use cacheness_core::strict::Encoding;
use cacheness_core::{
    BlobReader, BlobWriter, BoxedValue, FormatMeta, ReadOptions, Result, TypeTarget, ValueRef,
};

use super::format::{self, Format};
use super::proofs::{Known, Proofs, prove};
use crate::whole::{not_claimed, refuse_partial, write_all};

/// Declares the handler of a format.
macro_rules! strict_handler {
    ($(#[$docs:meta])* $handler:ident: $format:ident) => {
        $(#[$docs])*
        #[derive(Clone, Debug, Default)]
        pub struct $handler {
            proofs: $crate::strict::proofs::Proofs,
        }

        impl $handler {
            /// The handler. A clone of it knows what either has learned of types.
            #[must_use]
            pub fn new() -> Self {
                Self::default()
            }
        }

        impl ::cacheness_core::CacheHandler for $handler {
            fn name(&self) -> &str {
                <$format as $crate::strict::format::Format>::NAME
            }

            fn description(&self) -> &str {
                <$format as $crate::strict::format::Format>::DESCRIPTION
            }

            fn class(&self) -> ::cacheness_core::TypeClass {
                ::cacheness_core::TypeClass::Serde
            }

            fn can_handle(&self, value: &::cacheness_core::ValueRef<'_>) -> bool {
                value.is_serde()
            }

            fn can_decode(&self, target: &::cacheness_core::TypeTarget) -> bool {
                target.is_serde()
            }

            fn put(
                &self,
                value: &::cacheness_core::ValueRef<'_>,
                writer: &mut dyn ::cacheness_core::BlobWriter,
                _: &::cacheness_core::HandlerContext,
            ) -> ::cacheness_core::Result<::cacheness_core::FormatMeta> {
                $crate::strict::handler::put::<$format>(value, writer, &self.proofs)
            }

            fn get(
                &self,
                reader: &mut dyn ::cacheness_core::BlobReader,
                _: &::cacheness_core::FormatMeta,
                target: &::cacheness_core::TypeTarget,
                options: &::cacheness_core::ReadOptions,
            ) -> ::cacheness_core::Result<::cacheness_core::BoxedValue> {
                $crate::strict::handler::get::<$format>(reader, target, options)
            }
        }
    };
}

pub(super) use strict_handler;

pub(super) fn put<F: Format>(
    value: &ValueRef<'_>,
    mut writer: &mut dyn BlobWriter,
    proofs: &Proofs,
) -> Result<FormatMeta> {
    if !value.is_serde() {
        return Err(not_claimed(F::NAME, value.type_name()));
    }
    let Some(target) = value.target().filter(TypeTarget::is_serde) else {
        format::encode::<F>(value, &Encoding::one_way(F::RULES), &mut writer)?;
        return Ok(FormatMeta::default());
    };
    match proofs.of(&target) {
        Known::Shapes(shapes) => {
            let encoding = Encoding::known(F::RULES, &shapes);
            format::encode::<F>(value, &encoding, &mut writer)?;
            if !encoding.is_known() {
                let (_, learned) = prove::<F>(value, &target, Some((*shapes).clone()))?;
                proofs.remember(&target, learned);
            }
        }
        Known::Nothing => {
            let (bytes, learned) = prove::<F>(value, &target, Some(Default::default()))?;
            proofs.remember(&target, learned);
            write_all(writer, &bytes)?;
        }
        Known::Unsteady => write_all(writer, &prove::<F>(value, &target, None)?.0)?,
    }
    Ok(FormatMeta::default())
}

pub(super) fn get<F: Format>(
    reader: &mut dyn BlobReader,
    target: &TypeTarget,
    options: &ReadOptions,
) -> Result<BoxedValue> {
    refuse_partial(F::NAME, options)?;
    let bytes = reader.bytes()?;
    format::decode::<F>(&bytes, target, &format::bounds::<F>(bytes.len()))
}
