//! What the table formats share: which values are tables, and which part of one a caller asks for.

mod compare;
mod selection;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, DataType, Field, Fields, Schema, SchemaRef};
use arrow_select::concat::concat_batches;
use cacheness_core::{BoxedValue, CacheValue, Error, ErrorKind, Result, TypeTarget, ValueRef};

pub(crate) use self::compare::matches;
pub(crate) use self::selection::Selection;

/// Marks Arrow tables, [`RecordBatch`] and `Vec<RecordBatch>`. Nobody needs to name it: the compiler infers it.
///
/// ```
/// use arrow_array::RecordBatch;
/// use cacheness_core::CacheValue;
/// use cacheness_handlers::ViaArrow;
///
/// fn is_table<T: CacheValue<ViaArrow>>() -> bool { true }
/// assert!(is_table::<RecordBatch>() && is_table::<Vec<RecordBatch>>());
/// ```
#[derive(Debug)]
pub enum ViaArrow {}

impl CacheValue<ViaArrow> for RecordBatch {
    fn value_ref(&self) -> ValueRef<'_> {
        ValueRef::native(self)
    }

    fn target() -> TypeTarget {
        TypeTarget::native::<Self>()
    }
}

/// A list of batches with one schema. The empty list is stored with an empty schema.
impl CacheValue<ViaArrow> for Vec<RecordBatch> {
    fn value_ref(&self) -> ValueRef<'_> {
        ValueRef::native(self)
    }

    fn target() -> TypeTarget {
        TypeTarget::native::<Self>()
    }
}

/// The batches of a table; `None` where the value is none.
pub(crate) fn batches_of<'a>(value: &ValueRef<'a>) -> Option<&'a [RecordBatch]> {
    let any: &'a (dyn Any + Send + Sync) = value.any();
    match any.downcast_ref::<RecordBatch>() {
        Some(batch) => Some(std::slice::from_ref(batch)),
        None => any.downcast_ref::<Vec<RecordBatch>>().map(Vec::as_slice),
    }
}

pub(crate) fn is_table(target: &TypeTarget) -> bool {
    target.is::<RecordBatch>() || target.is::<Vec<RecordBatch>>()
}

/// The batches of a table and the one schema that they have.
pub(crate) fn table_of<'a>(handler: &str, value: &ValueRef<'a>) -> Result<(SchemaRef, &'a [RecordBatch])> {
    let batches = batches_of(value).ok_or_else(|| {
        let message = format!("the handler `{handler}` cannot write a `{}`", value.type_name());
        Error::new(ErrorKind::Encode, message)
    })?;
    let schema = batches.first().map_or_else(|| Schema::empty().into(), RecordBatch::schema);
    if let Some(other) = batches.iter().position(|batch| batch.schema_ref() != &schema) {
        let message =
            format!("all batches of a table have one schema; batch {other} has another than batch 0");
        return Err(Error::new(ErrorKind::Encode, message));
    }
    if let Some(field) = schema.fields().iter().find(|field| !nests_within(field.data_type(), MOST_LEVELS)) {
        let message = format!(
            "the column `{}` nests deeper than {MOST_LEVELS} levels, and would not be read",
            field.name()
        );
        return Err(Error::new(ErrorKind::Encode, message));
    }
    Ok((schema, batches))
}

/// How many fields may lie in one another. The reader of a schema takes 64 tables, of which two are around the fields and
/// one is in the last.
const MOST_LEVELS: usize = 60;

fn nests_within(data_type: &DataType, levels: usize) -> bool {
    let Some(below) = levels.checked_sub(1) else { return false };
    let field = |field: &Field| nests_within(field.data_type(), below);
    match data_type {
        DataType::List(inner)
        | DataType::LargeList(inner)
        | DataType::ListView(inner)
        | DataType::LargeListView(inner)
        | DataType::FixedSizeList(inner, _)
        | DataType::Map(inner, _)
        | DataType::RunEndEncoded(_, inner) => field(inner),
        DataType::Struct(fields) => fields.iter().all(|inner| field(inner)),
        DataType::Union(fields, _) => fields.iter().all(|(_, inner)| field(inner)),
        DataType::Dictionary(_, values) => nests_within(values, levels),
        _ => true,
    }
}

/// Refuses a target that is no table.
pub(crate) fn check_target(handler: &str, target: &TypeTarget) -> Result<()> {
    if is_table(target) {
        return Ok(());
    }
    Err(not_a_table(format!("the handler `{handler}` cannot make a `{}`", target.type_name())))
}

/// True where one of these fields, or a field inside them, has such a type.
pub(crate) fn has_type(fields: &Fields, wanted: fn(&DataType) -> bool) -> bool {
    fields.iter().any(|field| field_has_type(field, wanted))
}

fn field_has_type(field: &Field, wanted: fn(&DataType) -> bool) -> bool {
    let inside = match field.data_type() {
        DataType::List(inner)
        | DataType::LargeList(inner)
        | DataType::ListView(inner)
        | DataType::LargeListView(inner)
        | DataType::FixedSizeList(inner, _)
        | DataType::Map(inner, _)
        | DataType::RunEndEncoded(_, inner) => field_has_type(inner, wanted),
        DataType::Struct(fields) => has_type(fields, wanted),
        DataType::Union(fields, _) => fields.iter().any(|(_, field)| field_has_type(field, wanted)),
        _ => false,
    };
    inside || wanted(field.data_type())
}

/// Hands batches over as the type asked for. A list always shows its schema: where options left no rows of a table
/// that had some batches, it has one batch without rows.
pub(crate) fn into_target(target: &TypeTarget, table: ReadTable) -> Result<BoxedValue> {
    let ReadTable { schema, mut batches, keep_empty } = table;
    if target.is::<Vec<RecordBatch>>() {
        if !keep_empty {
            batches.retain(|batch| batch.num_rows() > 0);
            if batches.is_empty() {
                batches.push(RecordBatch::new_empty(schema));
            }
        }
        return Ok(Box::new(batches));
    }
    let batch = match batches.len() {
        1 => batches.swap_remove(0),
        _ => concat_batches(&schema, &batches).map_err(|error| {
            let message = "the table is too large for one batch; get it as `Vec<RecordBatch>`";
            Error::new(ErrorKind::LimitExceeded, message).with_source(error)
        })?,
    };
    Ok(Box::new(batch))
}

/// What was read of a table.
pub(crate) struct ReadTable {
    pub(crate) schema: SchemaRef,
    pub(crate) batches: Vec<RecordBatch>,
    /// True where the batches are those that were stored, the empty ones too.
    pub(crate) keep_empty: bool,
}

/// Runs a decoder of another crate, whose every check of hostile bytes is not ours to make: its panic means that the
/// bytes hold no table.
pub(crate) fn catch_panics<T>(decode: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(decode))
        .unwrap_or_else(|_| Err(Error::new(ErrorKind::Decode, "the decoder of the stored table panicked")))
}

/// How much longer the names in a schema may be than the bytes that it is read from. Fields may share a name, and then
/// each of them gets a copy.
const MOST_SHARED: usize = 4;

/// Fails where the names and the metadata of fields, which the decoder copies, are together much longer than the bytes
/// of the schema. The verifier has bounded how many fields there are and how deep they lie.
pub(crate) fn check_names(schema: arrow_ipc::Schema<'_>, schema_len: usize) -> Result<()> {
    let most = schema_len.saturating_mul(MOST_SHARED);
    let mut left = most;
    let mut fields: Vec<_> = schema.fields().into_iter().flatten().collect();
    let mut metadata: Vec<_> = schema.custom_metadata().into_iter().flatten().collect();
    while let Some(field) = fields.pop() {
        metadata.extend(field.custom_metadata().into_iter().flatten());
        fields.extend(field.children().into_iter().flatten());
        let texts = metadata.drain(..).flat_map(|entry| [entry.key(), entry.value()]);
        let len =
            texts.chain([field.name()]).flatten().fold(0, |len: usize, text| len.saturating_add(text.len()));
        left = left.checked_sub(len).ok_or_else(|| not_a_table("the schema repeats its names"))?;
    }
    Ok(())
}

/// Asks the allocator for as much as the decoder will, because the decoder would end the process where it fails.
pub(crate) fn check_room(claimed: usize) -> Result<()> {
    let mut room = Vec::<u8>::new();
    room.try_reserve_exact(claimed)
        .map_err(|error| not_a_table("the table is larger than memory").with_source(error))
}

/// An error of encoding, or the writer's own error where writing failed.
pub(crate) fn encode_error(error: ArrowError) -> Error {
    match error {
        ArrowError::IoError(_, error) => Error::io(error, "writing a table"),
        error => {
            Error::new(ErrorKind::Encode, "the table cannot be written in this format").with_source(error)
        }
    }
}

pub(crate) fn decode_error(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    not_a_table("the stored bytes are no table").with_source(error)
}

pub(crate) fn not_a_table(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Decode, message)
}
