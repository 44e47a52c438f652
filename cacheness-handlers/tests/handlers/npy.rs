//! Arrays in NumPy's format.

use std::fmt::Debug;

use cacheness_core::{CacheHandler, ErrorKind, ReadOptions};
use cacheness_handlers::{Npy, NpyElement, NpyHandler};
use ndarray::{
    Array, Array1, Array2, Array3, ArrayD, Dimension, Ix0, Ix1, Ix2, Ix3, Ix4, Ix5, Ix6, IxDyn, ShapeBuilder,
    array,
};

use crate::memory::{FullDisk, Stored, context, get, get_with, plain_stored, put};
use cacheness_core::CacheValue;

/// What `numpy.save` writes for `numpy.array([[0, 1, 2], [3, 4, 5]], dtype="<i4")`.
fn from_numpy() -> Vec<u8> {
    let mut bytes = b"\x93NUMPY\x01\x00v\x00".to_vec();
    bytes.extend_from_slice(b"{'descr': '<i4', 'fortran_order': False, 'shape': (2, 3), }");
    bytes.resize(127, b' ');
    bytes.push(b'\n');
    bytes.extend((0..6_i32).flat_map(i32::to_le_bytes));
    bytes
}

fn with_header(version: u8, text: &str, elements: &[u8]) -> Stored {
    let mut bytes = vec![0x93, b'N', b'U', b'M', b'P', b'Y', version, 0];
    match version {
        1 => bytes.extend((text.len() as u16).to_le_bytes()),
        _ => bytes.extend((text.len() as u32).to_le_bytes()),
    }
    bytes.extend_from_slice(text.as_bytes());
    bytes.extend_from_slice(elements);
    plain_stored(&bytes)
}

fn comes_back<A: NpyElement + PartialEq + Debug, D: Dimension + 'static>(array: Array<A, D>) {
    let handler = NpyHandler::new();
    let value = Npy(array);
    let stored = put(&handler, &value).unwrap();
    assert_eq!(get::<Npy<A, D>, _>(&handler, &stored).unwrap(), value);
}

#[test]
fn every_element_type_comes_back() {
    comes_back(array![f32::MIN, f32::INFINITY, -0.0]);
    comes_back(array![f64::MAX, f64::MIN_POSITIVE, -1.5]);
    comes_back(array![i8::MIN, 0, i8::MAX]);
    comes_back(array![i16::MIN, 0, i16::MAX]);
    comes_back(array![i32::MIN, 0, i32::MAX]);
    comes_back(array![i64::MIN, 0, i64::MAX]);
    comes_back(array![u8::MIN, u8::MAX]);
    comes_back(array![u16::MIN, u16::MAX]);
    comes_back(array![u32::MIN, u32::MAX]);
    comes_back(array![u64::MIN, u64::MAX]);
    comes_back(array![true, false]);
}

#[test]
fn every_number_of_dimensions_comes_back() {
    comes_back(Array::<u16, Ix0>::from_elem((), 7));
    comes_back(Array::<u16, Ix1>::from_elem(0, 7));
    comes_back(Array::<u16, Ix2>::from_elem((3, 0), 7));
    comes_back(Array::<u16, Ix3>::from_shape_fn((3, 4, 5), |(i, j, k)| (i * 100 + j * 10 + k) as u16));
    comes_back(Array::<u16, Ix4>::from_elem((1, 2, 3, 4), 7));
    comes_back(Array::<u16, Ix5>::from_elem((1, 2, 3, 4, 1), 7));
    comes_back(Array::<u16, Ix6>::from_elem((1, 2, 3, 4, 1, 2), 7));
    comes_back(Array::<u16, IxDyn>::from_elem(vec![1; 40], 7));
    comes_back(Array::<u16, IxDyn>::from_elem(vec![], 7));
    comes_back(Array::<f64, Ix2>::from_shape_fn((1_000, 500), |(i, j)| (i * j) as f64));
}

#[test]
fn the_layout_in_memory_does_not_matter() {
    let cube = Array3::from_shape_fn((3, 4, 5), |(i, j, k)| (i * 100 + j * 10 + k) as i64);
    let handler = NpyHandler::new();
    let fortran = Npy(Array2::from_shape_vec((2, 3).f(), vec![1, 2, 3, 4, 5, 6]).unwrap());
    let back: Npy<i32, Ix2> = get(&handler, &put(&handler, &fortran).unwrap()).unwrap();
    assert_eq!(back, fortran);
    assert_eq!(back.0.strides(), fortran.0.strides(), "Fortran order stays");
    for axes in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        comes_back(cube.clone().permuted_axes(axes));
    }
    let mut reversed = cube;
    reversed.invert_axis(ndarray::Axis(1));
    comes_back(reversed.slice_move(ndarray::s![.., ..;2, 1..4]));
}

#[test]
fn numpys_own_files_are_read_and_written() {
    let handler = NpyHandler::new();
    let value = Npy(array![[0, 1, 2], [3, 4, 5]]);
    let stored = plain_stored(&from_numpy());
    assert_eq!(get::<Npy<i32, Ix2>, _>(&handler, &stored).unwrap(), value);
    let ours = put(&handler, &value).unwrap().bytes;
    assert_eq!((ours.len(), &ours[..10]), (152, &b"\x93NUMPY\x01\x00v\x00"[..]));
    assert_eq!(ours[128..], from_numpy()[128..]);
    let text = "{'shape': (2,), 'fortran_order': True, 'descr': '>u2'}\n";
    for version in 1..=3 {
        let big_endian = with_header(version, text, &[1, 2, 3, 4]);
        assert_eq!(get::<Npy<u16, Ix1>, _>(&handler, &big_endian).unwrap().0, array![0x0102, 0x0304]);
    }
}

#[test]
fn another_type_than_was_put_is_a_mismatch_that_names_both() {
    let handler = NpyHandler::new();
    let stored = put(&handler, &Npy(Array2::<f64>::zeros((2, 3)))).unwrap();
    let mismatch = |error: cacheness_core::Error, asked: &str| {
        assert_eq!(error.kind(), ErrorKind::TypeMismatch);
        let message = error.to_string();
        assert!(message.contains("put as `f64` with 2 dimensions"), "{message}");
        assert!(message.contains(asked), "{message}");
    };
    mismatch(get::<Npy<f32, Ix2>, _>(&handler, &stored).unwrap_err(), "asked for as `f32` with 2 dimensions");
    mismatch(
        get::<Npy<i64, IxDyn>, _>(&handler, &stored).unwrap_err(),
        "asked for as `i64` with 2 dimensions",
    );
    mismatch(get::<Npy<f64, Ix1>, _>(&handler, &stored).unwrap_err(), "asked for as `f64` with 1 dimension");
    let any: Npy<f64, IxDyn> = get(&handler, &stored).unwrap();
    assert_eq!(any.0, ArrayD::<f64>::zeros(vec![2, 3]));
}

#[test]
fn an_array_that_numpy_could_not_read_is_refused() {
    let array = Npy(ArrayD::<u8>::zeros(vec![1; 65]));
    assert_eq!(put(&NpyHandler::new(), &array).map(|_| ()).unwrap_err().kind(), ErrorKind::Encode);
}

#[test]
fn headers_that_lie_are_decode_errors_and_reserve_nothing() {
    let handler = NpyHandler::new();
    let of_shape = |shape: &str| format!("{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}\n");
    for shape in [
        "(9223372036854775807,)",
        "(1099511627776,)",
        "(4294967296, 4294967296)",
        "(18446744073709551615, 2)",
        "(0, 18446744073709551615, 18446744073709551615)",
        "(99999999999999999999999999999999999999,)",
        "(-1,)",
        "(1.5,)",
        "7",
        "(2,)",
        "()",
        "(0,)",
    ] {
        for version in 1..=2 {
            let stored = with_header(version, &of_shape(shape), &[0; 24]);
            for error in [
                get::<Npy<f64, IxDyn>, _>(&handler, &stored).unwrap_err(),
                get::<Npy<f64, Ix1>, _>(&handler, &stored).unwrap_err(),
            ] {
                let kinds = [ErrorKind::Decode, ErrorKind::TypeMismatch];
                assert!(kinds.contains(&error.kind()), "{shape}: {error}");
            }
        }
    }
    let mut long = with_header(2, &of_shape("(3,)"), &[0; 24]).bytes.to_vec();
    long[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(
        get::<Npy<f64, Ix1>, _>(&handler, &plain_stored(&long)).unwrap_err().kind(),
        ErrorKind::Decode
    );
}

#[test]
fn a_header_that_nests_takes_no_stack() {
    for text in
        ["(".repeat(9_000), "[".repeat(60_000), "{1:".repeat(3_000), "-".repeat(9_999), "'\\".repeat(4_000)]
    {
        let error =
            get::<Npy<f64, Ix1>, _>(&NpyHandler::new(), &with_header(2, &(text + "\n"), &[])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Decode);
    }
}

#[test]
fn damaged_files_are_errors_or_other_arrays() {
    let handler = NpyHandler::new();
    let whole = from_numpy();
    for len in 0..whole.len() {
        let error = get::<Npy<i32, Ix2>, _>(&handler, &plain_stored(&whole[..len])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Decode);
    }
    for bit in 0..whole.len() * 8 {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        if let Err(error) = get::<Npy<i32, Ix2>, _>(&handler, &plain_stored(&flipped)) {
            assert!([ErrorKind::Decode, ErrorKind::TypeMismatch].contains(&error.kind()), "{error}");
        }
    }
    let error = get::<Npy<i32, Ix2>, _>(&handler, &plain_stored(&[whole, vec![0]].concat())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode, "a byte is left over");
    let bools = put(&handler, &Npy(array![true, false])).unwrap().bytes.to_vec();
    let bad = [&bools[..bools.len() - 1], &[2]].concat();
    assert_eq!(
        get::<Npy<bool, Ix1>, _>(&handler, &plain_stored(&bad)).unwrap_err().kind(),
        ErrorKind::Decode
    );
}

#[test]
fn parts_are_refused_and_errors_of_the_writer_come_out_unchanged() {
    let handler = NpyHandler::new();
    let value = Npy(Array1::<f64>::zeros(10_000));
    let stored = put(&handler, &value).unwrap();
    let error = get_with::<Npy<f64, Ix1>, _>(&handler, &stored, &ReadOptions::new().rows(0..1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    for room in [0, 5, 200, stored.bytes.len() - 1] {
        let error = handler.put(&value.value_ref(), &mut FullDisk(room), &context(None)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
    }
}
