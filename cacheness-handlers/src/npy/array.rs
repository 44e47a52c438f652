//! The wrapper by which arrays reach the handler.

use cacheness_core::{CacheValue, TypeTarget, ValueRef};
use ndarray::{Array, Dimension};

/// An array to be stored in NumPy's format.
///
/// `ndarray`'s arrays can be serde values, so they have no marker of their own: without this wrapper, and with the
/// feature `serde` of `ndarray`, an array is stored as any serde value is, which is larger and slower.
///
/// ```
/// use cacheness_core::CacheValue;
/// use cacheness_handlers::Npy;
/// use ndarray::{Array2, Ix2, array};
///
/// let image = Npy(array![[1_u8, 2], [3, 4]]);
/// assert!(Npy::<u8, Ix2>::target().is::<Npy<u8, Ix2>>());
/// let array: Array2<u8> = image.0;
/// assert_eq!(array.sum(), 10);
/// ```
#[derive(Clone, PartialEq, Debug)]
pub struct Npy<A, D: Dimension>(pub Array<A, D>);

/// Marks [`Npy`]. Nobody needs to name it: the compiler infers it.
///
/// ```
/// use cacheness_core::CacheValue;
/// use cacheness_handlers::{Npy, ViaNpy};
/// use ndarray::{Ix1, IxDyn};
///
/// fn is_array<T: CacheValue<ViaNpy>>() -> bool { true }
/// assert!(is_array::<Npy<f32, Ix1>>() && is_array::<Npy<bool, IxDyn>>());
/// ```
#[derive(Debug)]
pub enum ViaNpy {}

/// An element type that [`Npy`] stores: `f32`, `f64`, `i8`, `i16`, `i32`, `i64`, `u8`, `u16`, `u32`, `u64` or `bool`. No
/// other type can implement it.
///
/// ```
/// use cacheness_handlers::NpyElement;
///
/// fn bytes_of<A: NpyElement>(elements: usize) -> usize { elements * size_of::<A>() }
/// assert_eq!(bytes_of::<f64>(3), 24);
/// ```
pub trait NpyElement: sealed::Element {}

pub(super) mod sealed {
    use std::any::Any;

    use ndarray_npy::{ReadableElement, WritableElement};

    pub trait Element: ReadableElement + WritableElement + Any + Send + Sync {
        /// The type's name in Rust.
        const NAME: &'static str;
    }
}

macro_rules! elements {
    ($($element:ident)*) => {
        $(impl sealed::Element for $element {
            const NAME: &'static str = stringify!($element);
        }
        impl NpyElement for $element {})*
    };
}

elements! { f32 f64 i8 i16 i32 i64 u8 u16 u32 u64 bool }

impl<A: NpyElement, D: Dimension + 'static> CacheValue<ViaNpy> for Npy<A, D> {
    fn value_ref(&self) -> ValueRef<'_> {
        ValueRef::native(self)
    }

    fn target() -> TypeTarget {
        TypeTarget::native::<Self>()
    }
}
