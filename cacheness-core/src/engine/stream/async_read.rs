//! A value as Tokio reads it.

use std::io::Result;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, ReadBuf};

use super::ValueReader;

/// A [`ValueReader`] as Tokio's [`AsyncRead`]: for whatever takes one, such as the body of an answer or a file.
///
/// It reads on from where the value reader stands, and the error of a read holds the cache's own
/// [`Error`](crate::Error).
///
/// ```
/// use cacheness::{Cache, PutOptions};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let cache = Cache::memory().await?;
/// cache.put_reader("report", &b"many bytes"[..], PutOptions::new()).await?;
/// if let Some(reader) = cache.reader("report").await? {
///     let mut copy = Vec::new();
///     tokio::io::copy(&mut reader.into_async_read(), &mut copy).await?;
///     assert_eq!(copy, b"many bytes");
/// }
/// # Ok(())
/// # }
/// ```
pub struct AsyncValueReader(State);

enum State {
    /// What is left of the piece that was read last.
    Here(Option<Box<ValueReader>>, Bytes),
    Reading(BoxFuture<'static, (Box<ValueReader>, crate::error::Result<Option<Bytes>>)>),
}

impl ValueReader {
    /// The value as Tokio's [`AsyncRead`], from the present position on.
    #[must_use]
    pub fn into_async_read(self) -> AsyncValueReader {
        AsyncValueReader(State::Here(Some(Box::new(self)), Bytes::new()))
    }
}

impl AsyncRead for AsyncValueReader {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        loop {
            self.0 = match &mut self.0 {
                State::Here(_, rest) if !rest.is_empty() || out.remaining() == 0 => {
                    let piece = rest.split_to(rest.len().min(out.remaining()));
                    out.put_slice(&piece);
                    return Poll::Ready(Ok(()));
                }
                State::Here(reader, _) => {
                    // It is not here after a panic of a backend only.
                    let Some(mut reader) = reader.take() else { return Poll::Ready(Ok(())) };
                    let read = async move {
                        let piece = reader.next_piece().await;
                        (reader, piece)
                    };
                    State::Reading(read.boxed())
                }
                State::Reading(read) => {
                    let (reader, piece) = ready!(read.poll_unpin(cx));
                    let (piece, failed) = match piece {
                        Ok(piece) => (piece, None),
                        Err(error) => (None, Some(error)),
                    };
                    let ended = piece.is_none();
                    self.0 = State::Here(Some(reader), piece.unwrap_or_default());
                    match failed {
                        Some(error) => return Poll::Ready(Err(std::io::Error::other(error))),
                        None if ended => return Poll::Ready(Ok(())),
                        None => continue,
                    }
                }
            };
        }
    }
}

impl std::fmt::Debug for AsyncValueReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AsyncValueReader").finish_non_exhaustive()
    }
}
