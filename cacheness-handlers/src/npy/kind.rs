//! Every pair of an element type and a dimension: the handler itself is not generic.

use std::any::Any;
use std::io::{BufWriter, Write};

use cacheness_core::{BoxedValue, Error, ErrorKind, Result, TypeTarget};
use ndarray::{ArrayD, Dimension, Ix0, Ix1, Ix2, Ix3, Ix4, Ix5, Ix6, IxDyn, ShapeBuilder};
use ndarray_npy::{WriteNpyError, WriteNpyExt};

use super::array::{Npy, NpyElement};
use super::header::{self, MOST_DIMENSIONS, not_an_array};
use crate::whole::not_claimed;

/// What can be done with one type of array.
pub(super) struct Kind {
    pub(super) is_value: fn(&dyn Any) -> bool,
    pub(super) is_target: fn(&TypeTarget) -> bool,
    pub(super) write: fn(&dyn Any, &mut dyn Write) -> Result<()>,
    pub(super) read: fn(&[u8]) -> Result<BoxedValue>,
}

macro_rules! kinds {
    ($($element:ident)*) => {
        &[$(
            kind::<$element, Ix0>(),
            kind::<$element, Ix1>(),
            kind::<$element, Ix2>(),
            kind::<$element, Ix3>(),
            kind::<$element, Ix4>(),
            kind::<$element, Ix5>(),
            kind::<$element, Ix6>(),
            kind::<$element, IxDyn>(),
        )*]
    };
}

pub(super) static KINDS: &[Kind] = kinds! { f64 f32 i64 i32 u8 bool i8 i16 u16 u32 u64 };

const fn kind<A: NpyElement, D: Dimension + 'static>() -> Kind {
    Kind {
        is_value: is_value::<A, D>,
        is_target: is_target::<A, D>,
        write: write::<A, D>,
        read: read::<A, D>,
    }
}

fn is_value<A: NpyElement, D: Dimension + 'static>(value: &dyn Any) -> bool {
    value.is::<Npy<A, D>>()
}

fn is_target<A: NpyElement, D: Dimension + 'static>(target: &TypeTarget) -> bool {
    target.is::<Npy<A, D>>()
}

fn write<A: NpyElement, D: Dimension + 'static>(value: &dyn Any, writer: &mut dyn Write) -> Result<()> {
    let Some(Npy(array)) = value.downcast_ref::<Npy<A, D>>() else {
        return Err(not_claimed("npy", std::any::type_name::<Npy<A, D>>()));
    };
    if array.ndim() > MOST_DIMENSIONS {
        let message =
            format!("the array has {} dimensions; NumPy's have {MOST_DIMENSIONS} at most", array.ndim());
        return Err(Error::new(ErrorKind::Encode, message));
    }
    // An array that is not contiguous is written element by element.
    let mut buffered = BufWriter::new(writer);
    let written = array.write_npy(&mut buffered);
    // Where that failed, what is still buffered belongs to an array that is not complete.
    drop(buffered.into_parts());
    written.map_err(|error| match error {
        WriteNpyError::Io(error) => Error::io(error, "writing an array"),
        error => Error::new(ErrorKind::Encode, "the array cannot be written").with_source(error),
    })
}

fn read<A: NpyElement, D: Dimension + 'static>(bytes: &[u8]) -> Result<BoxedValue> {
    let (header, elements) = header::parse(bytes)?;
    let stored = header::element_name(&header)
        .ok_or_else(|| not_an_array(&format!("the element type `{}` is unknown", header.type_descriptor)))?;
    let dimensions = header.shape.len();
    if stored != A::NAME || D::NDIM.is_some_and(|wanted| wanted != dimensions) {
        let wanted = D::NDIM.unwrap_or(dimensions);
        let message = format!(
            "the array was put as {} and asked for as {}",
            describe(stored, dimensions),
            describe(A::NAME, wanted)
        );
        return Err(Error::new(ErrorKind::TypeMismatch, message));
    }
    let count = header.shape.iter().try_fold(1_usize, |count, axis| count.checked_mul(*axis));
    let needed = count.and_then(|count| count.checked_mul(size_of::<A>()));
    let count = count.filter(|_| needed == Some(elements.len())).ok_or_else(|| {
        let shape = &header.shape;
        not_an_array(&format!("its shape is {shape:?}, and {} bytes follow", elements.len()))
    })?;
    let elements = A::read_to_end_exact_vec(elements, &header.type_descriptor, count)
        .map_err(|error| not_an_array("the elements cannot be read").with_source(error))?;
    let shape = IxDyn(&header.shape).set_f(header.layout.is_fortran());
    let array = ArrayD::from_shape_vec(shape, elements)
        .and_then(|array| array.into_dimensionality::<D>())
        .map_err(|error| not_an_array("its shape is impossible").with_source(error))?;
    Ok(Box::new(Npy(array)))
}

fn describe(element: &str, dimensions: usize) -> String {
    format!("`{element}` with {dimensions} dimension{}", if dimensions == 1 { "" } else { "s" })
}
