//! Blobs, streamed from disk, whole or in part (distribution spec 1.1, "Pulling blobs").
//!
//! Bytes are shared by all repositories, but each shows only what was uploaded to it or mounted in it.

use super::{CONTENT_DIGEST, errors::Fault};
use crate::{ImageError, ImageStore};
use axum::{
    body::Body,
    extract::Request,
    http::{Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use freehold_model::Digest;
use std::{io::SeekFrom, ops::RangeInclusive};
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncSeekExt},
};
use tokio_util::io::ReaderStream;

pub(super) async fn get(
    store: &ImageStore,
    name: &str,
    digest: &Digest,
    request: Request,
) -> Result<Response, Fault> {
    let (request, _) = request.into_parts();
    let shown = store.shows(name, digest)?.then(|| store.blobs().size(digest)).transpose()?.flatten();
    let size = shown.ok_or_else(|| Fault::blob_unknown(digest))?;
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::ACCEPT_RANGES, "bytes".to_owned()),
        (header::ETAG, format!("\"{digest}\"")),
        (CONTENT_DIGEST, digest.to_string()),
    ];
    if request.method == Method::HEAD {
        return Ok((headers, [(header::CONTENT_LENGTH, size.to_string())]).into_response());
    }
    let asked = request.headers.get(header::RANGE).and_then(|value| value.to_str().ok());
    match asked.map_or(Asked::Whole, |asked| parse_range(asked, size)) {
        Asked::Whole => {
            let length = [(header::CONTENT_LENGTH, size.to_string())];
            Ok((headers, length, stream(store, digest, 0, size).await?).into_response())
        }
        Asked::Part(part) => {
            let length = part.end() - part.start() + 1;
            let range = format!("bytes {}-{}/{size}", part.start(), part.end());
            let part_headers = [(header::CONTENT_LENGTH, length.to_string()), (header::CONTENT_RANGE, range)];
            let body = stream(store, digest, *part.start(), length).await?;
            Ok((StatusCode::PARTIAL_CONTENT, headers, part_headers, body).into_response())
        }
        Asked::Outside => {
            let range = [(header::CONTENT_RANGE, format!("bytes */{size}"))];
            Ok((range, Fault::range("the blob has no such bytes")).into_response())
        }
    }
}

/// Takes a blob out of a repository. Its bytes go once no image and no other repository needs them.
pub(super) fn delete(store: &ImageStore, name: &str, digest: &Digest) -> Result<Response, Fault> {
    match store.links().remove(name, digest)? {
        true => Ok(StatusCode::ACCEPTED.into_response()),
        false => Err(Fault::blob_unknown(digest)),
    }
}

async fn stream(store: &ImageStore, digest: &Digest, start: u64, length: u64) -> Result<Body, Fault> {
    let path = store.blobs().path(digest);
    let mut file = File::open(&path).await.map_err(ImageError::io("read", &path))?;
    file.seek(SeekFrom::Start(start)).await.map_err(ImageError::io("read", &path))?;
    Ok(Body::from_stream(ReaderStream::with_capacity(file.take(length), 1 << 16)))
}

/// Reads a `Range`, for [`crate::fuzz`].
pub(super) fn parse(header: &str) {
    for size in [0, 10, u64::MAX] {
        if let Asked::Part(part) = parse_range(header, size) {
            assert!(part.start() <= part.end() && *part.end() < size, "{header} of {size}");
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Whole,
    Part(RangeInclusive<u64>),
    Outside,
}

/// One range of bytes (RFC 9110, 14.1.2). What cannot be read, or asks for several, means the whole, as
/// the RFC allows.
fn parse_range(text: &str, size: u64) -> Asked {
    let Some((first, last)) = text.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return Asked::Whole;
    };
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let (first, last) = match (number(first), number(last)) {
        (Some(first), _) if last.trim().is_empty() => (first, u64::MAX),
        (Some(first), Some(last)) if first <= last => (first, last),
        (None, Some(0)) if first.trim().is_empty() => return Asked::Outside,
        (None, Some(suffix)) if first.trim().is_empty() => (size.saturating_sub(suffix), u64::MAX),
        _ => return Asked::Whole,
    };
    if first >= size { Asked::Outside } else { Asked::Part(first..=last.min(size - 1)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        for (text, expected) in [
            ("bytes=0-3", Asked::Part(0..=3)),
            ("bytes=4-", Asked::Part(4..=9)),
            ("bytes=-3", Asked::Part(7..=9)),
            ("bytes=-30", Asked::Part(0..=9)),
            ("bytes=4-400", Asked::Part(4..=9)),
            ("bytes=10-", Asked::Outside),
            ("bytes=-0", Asked::Outside),
            ("bytes=5-4", Asked::Whole),
            ("bytes=1-2,4-5", Asked::Whole),
            ("lines=1-2", Asked::Whole),
        ] {
            assert_eq!(parse_range(text, 10), expected, "{text}");
        }
        assert_eq!(parse_range("bytes=0-", 0), Asked::Outside);
    }
}
