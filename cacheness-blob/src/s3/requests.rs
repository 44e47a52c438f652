//! The requests of S3.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    CompletedMultipartUpload, CompletedPart, Delete, ObjectIdentifier, ServerSideEncryption, StorageClass,
};
use bytes::{Bytes, BytesMut};
use cacheness_core::{Error, ErrorKind, Result, StagedFile};
use futures_util::stream::{TryStreamExt, iter};

use crate::remote::{Listed, Objects, PART, part_len, read_part};

/// How many parts of one object are on their way at once.
const PARTS_AT_ONCE: usize = 4;

/// A bucket, and what its objects are stored with.
pub(super) struct Bucket {
    pub(super) client: Client,
    pub(super) name: String,
    pub(super) encryption: Option<ServerSideEncryption>,
    pub(super) kms_key: Option<String>,
    pub(super) storage_class: Option<StorageClass>,
    /// How long a call may take, and how long of that to connect.
    pub(super) timeout: Duration,
    pub(super) connect_timeout: Duration,
}

#[async_trait]
impl Objects for Bucket {
    async fn get(&self, path: &str, range: Range<u64>) -> Result<Option<(Bytes, u64)>> {
        let bytes = format!("bytes={}-{}", range.start, range.end.saturating_sub(1));
        let request = self.client.get_object().bucket(&self.name).key(path).range(bytes);
        let found = match request.send().await {
            Ok(found) => found,
            Err(failed) if failed.code() == Some("NoSuchKey") => return Ok(None),
            // Where the range begins at the end or after it, servers refuse it, not all in the same words.
            Err(failed) if matches!(failed.code(), Some("InvalidRange" | "InvalidArgument")) => {
                let head = self.client.head_object().bucket(&self.name).key(path).send().await;
                let len = head.ok().and_then(|head| u64::try_from(head.content_length?).ok());
                return match len {
                    Some(len) if len <= range.start => Ok(Some((Bytes::new(), len))),
                    _ => Err(self.told(failed)),
                };
            }
            Err(failed) => return Err(self.told(failed)),
        };
        // `bytes 0-99/1234`: what follows the slash is the length of the whole object.
        let whole = found.content_range().and_then(|range| range.rsplit_once('/')?.1.parse().ok());
        let body = read_body(found.body, range.end - range.start).await?;
        let len = whole.unwrap_or(range.start.saturating_add(body.len() as u64));
        Ok(Some((body, len)))
    }

    async fn head(&self, path: &str) -> Result<bool> {
        match self.client.head_object().bucket(&self.name).key(path).send().await {
            Ok(_) => Ok(true),
            Err(failed) if failed.raw_response().is_some_and(|answer| answer.status().as_u16() == 404) => {
                Ok(false)
            }
            Err(failed) => Err(self.told(failed)),
        }
    }

    async fn put(&self, path: &str, bytes: Bytes) -> Result<()> {
        let request = self.client.put_object().bucket(&self.name).key(path).body(ByteStream::from(bytes));
        let request = request
            .set_server_side_encryption(self.encryption.clone())
            .set_ssekms_key_id(self.kms_key.clone())
            .set_storage_class(self.storage_class.clone());
        let request = request.customize().config_override(self.with_time());
        request.send().await.map(|_| ()).map_err(|failed| self.told(failed))
    }

    async fn put_file(&self, path: &str, file: Arc<StagedFile>) -> Result<()> {
        if file.len() <= PART {
            let len = file.len();
            return self.put(path, read_part(file, 0..len).await?).await;
        }
        let begin = self.client.create_multipart_upload().bucket(&self.name).key(path);
        let begin = begin
            .set_server_side_encryption(self.encryption.clone())
            .set_ssekms_key_id(self.kms_key.clone())
            .set_storage_class(self.storage_class.clone());
        let begun = begin.send().await.map_err(|failed| self.told(failed))?;
        let upload = begun.upload_id.unwrap_or_default();
        let sent = self.send_parts(path, &upload, file).await;
        if sent.is_err() {
            // The first error is the one to tell. What stays is for the bucket's rule on abandoned uploads.
            let abort = self.client.abort_multipart_upload().bucket(&self.name).key(path).upload_id(&upload);
            let _ = abort.send().await;
        }
        sent
    }

    async fn delete(&self, paths: Vec<String>) -> Result<()> {
        let objects = paths
            .into_iter()
            .map(|path| ObjectIdentifier::builder().key(path).build())
            .collect::<std::result::Result<_, _>>()
            .and_then(|objects| Delete::builder().set_objects(Some(objects)).quiet(true).build())
            .map_err(|failed| {
                Error::new(ErrorKind::Unexpected, "S3's client refuses a request").with_source(failed)
            })?;
        let request = self.client.delete_objects().bucket(&self.name).delete(objects);
        let done = request.send().await.map_err(|failed| self.told(failed))?;
        match done.errors().iter().find(|error| error.code() != Some("NoSuchKey")) {
            None => Ok(()),
            Some(error) => {
                let (code, text) =
                    (error.code().unwrap_or("?"), error.message().unwrap_or("no more is said"));
                Err(Error::new(
                    kind_of(error.code(), None),
                    format!("S3 did not delete an object: {code}, {text}"),
                ))
            }
        }
    }

    async fn list(&self, folder: &str, after: Option<&str>, limit: usize) -> Result<Listed> {
        let request = self.client.list_objects_v2().bucket(&self.name).prefix(folder);
        let listed = request
            .set_continuation_token(after.map(str::to_owned))
            .max_keys(i32::try_from(limit).unwrap_or(1_000))
            .send()
            .await
            .map_err(|failed| self.told(failed))?;
        let names = listed.contents().iter().filter_map(|object| object.key()?.strip_prefix(folder));
        let names: Vec<String> = names.map(str::to_owned).collect();
        if listed.is_truncated() == Some(true) && listed.next_continuation_token().is_none() {
            let message = "S3 says that there are more objects, and not where they begin";
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        // Names in between may be of a bucket that lists in no order, so that only the server knows where it was.
        let next = listed.next_continuation_token.filter(|_| listed.is_truncated == Some(true));
        Ok(Listed { names, next })
    }
}

impl Bucket {
    /// Gives each attempt of a request that carries a part the time of the whole call: a quarter of it may be too little for
    /// 8 MiB on a slow line, and would then be too little each time. What the call may take is bounded all the same.
    fn with_time(&self) -> aws_sdk_s3::config::Builder {
        let time = TimeoutConfig::builder()
            .connect_timeout(self.connect_timeout)
            .operation_timeout(self.timeout)
            .disable_operation_attempt_timeout()
            .build();
        aws_sdk_s3::config::Builder::new().timeout_config(time)
    }

    async fn send_parts(&self, path: &str, upload: &str, file: Arc<StagedFile>) -> Result<()> {
        let (len, part_len) = (file.len(), part_len(file.len()));
        let parts: Vec<CompletedPart> = iter((0..len.div_ceil(part_len)).map(Ok))
            .map_ok(|index| {
                let file = file.clone();
                async move {
                    let start = index * part_len;
                    let bytes = read_part(file, start..len.min(start + part_len)).await?;
                    let number = i32::try_from(index + 1).unwrap_or(i32::MAX);
                    let request = self.client.upload_part().bucket(&self.name).key(path).upload_id(upload);
                    let request = request.part_number(number).body(ByteStream::from(bytes));
                    let request = request.customize().config_override(self.with_time());
                    let sent = request.send().await.map_err(|failed| self.told(failed))?;
                    Ok(CompletedPart::builder().part_number(number).set_e_tag(sent.e_tag).build())
                }
            })
            .try_buffered(PARTS_AT_ONCE)
            .try_collect()
            .await?;
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let end = self.client.complete_multipart_upload().bucket(&self.name).key(path).upload_id(upload);
        match end.multipart_upload(parts).send().await {
            Ok(_) => Ok(()),
            // So servers answer where it was completed before, and that answer was lost.
            Err(failed) if failed.code() == Some("NoSuchUpload") => {
                let head = self.client.head_object().bucket(&self.name).key(path).send().await;
                let whole = head.ok().and_then(|head| u64::try_from(head.content_length?).ok()) == Some(len);
                if whole { Ok(()) } else { Err(self.told(failed)) }
            }
            Err(failed) => Err(self.told(failed)),
        }
    }

    /// An error of S3 as one of ours.
    fn told<E>(&self, failed: SdkError<E>) -> Error
    where
        E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
    {
        let status = failed.raw_response().map(|answer| answer.status().as_u16());
        let kind = match &failed {
            SdkError::TimeoutError(_) => ErrorKind::Timeout,
            SdkError::ConstructionFailure(_) => ErrorKind::ConfigInvalid,
            SdkError::DispatchFailure(_) | SdkError::ResponseError(_) => ErrorKind::Unavailable,
            _ => kind_of(failed.code(), status),
        };
        let message = match (kind, failed.code()) {
            (_, Some("NoSuchBucket")) => {
                format!("there is no bucket `{}`; make it, or name another by `bucket`", self.name)
            }
            (ErrorKind::PermissionDenied, code) => format!(
                "S3 refuses this ({}); see whether the credentials are right and what they may do with bucket `{}`",
                code.unwrap_or("no reason given"),
                self.name
            ),
            (ErrorKind::Timeout, _) => "S3 did not answer in time; see whether `endpoint` can be reached".to_owned(),
            (ErrorKind::Unavailable, None) => {
                "S3 cannot be reached; see whether `endpoint` and `region` are right, and whether there are credentials"
                    .to_owned()
            }
            (_, code) => format!("S3 failed: {}", code.unwrap_or("no reason given")),
        };
        Error::new(kind, message).with_source(failed)
    }
}

/// Reads what a request brings, which is no more than it asked for.
async fn read_body(mut body: ByteStream, most: u64) -> Result<Bytes> {
    let mut bytes = BytesMut::new();
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|failed| {
            Error::new(ErrorKind::Unavailable, "the answer of S3 broke off").with_source(failed)
        })?;
        if (bytes.len() + piece.len()) as u64 > most {
            let message =
                format!("S3 sends more than the {most} bytes that were asked for; it does not heed ranges");
            return Err(Error::new(ErrorKind::Unavailable, message).with_temporary(false));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes.freeze())
}

fn kind_of(code: Option<&str>, status: Option<u16>) -> ErrorKind {
    match (code, status) {
        (Some("NoSuchBucket"), _) => ErrorKind::NotFound,
        (Some("AccessDenied" | "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "ExpiredToken"), _)
        | (_, Some(401 | 403)) => ErrorKind::PermissionDenied,
        (Some("QuotaExceeded"), _) | (_, Some(507)) => ErrorKind::StorageFull,
        (
            Some(
                "SlowDown" | "InternalError" | "ServiceUnavailable" | "RequestTimeout" | "IncompleteBody"
                | "BadDigest" | "OperationAborted",
            ),
            _,
        )
        | (_, Some(408 | 409 | 429 | 500..)) => ErrorKind::Unavailable,
        _ => ErrorKind::Unexpected,
    }
}
