//! One answer: the file or a part of it, as its fault has it.

use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use hyper::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, HeaderName, IF_RANGE, LOCATION,
    RANGE,
};
use hyper::{Response, StatusCode};

use super::Fault;

pub(super) type Body = BoxBody<Bytes, io::Error>;

/// The answer to a request with `headers` for `path` below `folder`, if there is to be one.
pub(super) fn answer(
    folder: &Path,
    path: &str,
    headers: &HeaderMap,
    fault: Option<&Fault>,
) -> Option<Response<Body>> {
    let Some(mut content) = read(folder, path) else {
        return Some(status(404));
    };
    let is_part = headers.contains_key(RANGE);
    match fault {
        Some(Fault::Silence) => return None,
        Some(Fault::Status(code)) => return Some(status(*code)),
        Some(Fault::RefuseRange(code)) if is_part => return Some(status(*code)),
        Some(Fault::Redirect(url)) => {
            let mut response = status(302);
            response
                .headers_mut()
                .insert(LOCATION, url.parse().expect("a URL is a header value"));
            return Some(response);
        }
        Some(Fault::Endless(bytes)) => {
            let bytes = Bytes::copy_from_slice(bytes);
            let frames = stream::repeat_with(move || Ok(Frame::data(bytes.clone())));
            return Some(Response::new(BoxBody::new(StreamBody::new(frames))));
        }
        Some(Fault::ContinueAs(other)) if is_part => content.clone_from(other),
        Some(Fault::Replace(other)) => content.clone_from(other),
        Some(Fault::Append(more)) => content.extend_from_slice(more),
        _ => {}
    }
    let tag = match fault {
        Some(Fault::Tag(tag)) => tag.clone(),
        _ => tag(&content),
    };
    let (bytes, range) = match part(headers, &tag, fault, content.len()) {
        Some(range) => (content[range.clone()].to_vec(), Some(range)),
        None => (content.clone(), None),
    };
    let mut response = Response::builder()
        .header(ACCEPT_RANGES, "bytes")
        .header(ETAG, tag);
    if let Some(range) = range {
        response = response.status(StatusCode::PARTIAL_CONTENT);
        if let Some(told) = content_range(&range, content.len(), fault) {
            response = response.header(CONTENT_RANGE, told);
        }
    }
    let bytes = wrong_count(fault, bytes);
    if !matches!(fault, Some(Fault::LongPart(_))) {
        response = response.header(CONTENT_LENGTH, bytes.len());
    }
    let body = body(fault, bytes);
    Some(response.body(body).expect("all headers are valid"))
}

/// Names `content`.
fn tag(content: &[u8]) -> String {
    let digest = <sha2::Sha256 as sha2::Digest>::digest(content);
    format!("\"{}\"", hex::encode(&digest[..8]))
}

/// The bytes that are sent, where a part is: `bytes=FIRST-` or `bytes=FIRST-LAST` of `length`.
fn part(
    headers: &HeaderMap,
    tag: &str,
    fault: Option<&Fault>,
    length: usize,
) -> Option<Range<usize>> {
    let header = |name: HeaderName| headers.get(name)?.to_str().ok();
    let ignores_change = matches!(fault, Some(Fault::ContinueAs(_)));
    let is_same = header(IF_RANGE).is_none_or(|wanted| wanted == tag);
    if !is_same && !ignores_change {
        return None;
    }
    if matches!(
        fault,
        Some(Fault::IgnoreRange | Fault::IgnoreRangeAndDrop(_))
    ) {
        return None;
    }
    let (first, last) = header(RANGE)?.strip_prefix("bytes=")?.split_once('-')?;
    let first: usize = first.parse().ok()?;
    let end = match last {
        "" => length,
        last => last.parse::<usize>().ok()?.checked_add(1)?.min(length),
    };
    (first < end).then_some(first..end)
}

/// What the server says of a part.
fn content_range(range: &Range<usize>, length: usize, fault: Option<&Fault>) -> Option<String> {
    let (first, last) = (range.start, range.end - 1);
    Some(match fault {
        Some(Fault::NoContentRange) => return None,
        Some(Fault::LieAboutRange) => format!("bytes {}-{last}/{length}", first + 1),
        Some(Fault::LieAboutLength) => format!("bytes {first}-{last}/{}", length + 1),
        Some(Fault::UnknownLength) => format!("bytes {first}-{last}/*"),
        _ => format!("bytes {first}-{last}/{length}"),
    })
}

/// `bytes`, or more or less of them.
fn wrong_count(fault: Option<&Fault>, mut bytes: Vec<u8>) -> Vec<u8> {
    match fault {
        Some(Fault::ShortPart(fewer)) => bytes.truncate(bytes.len().saturating_sub(*fewer)),
        Some(Fault::LongPart(more)) => bytes.resize(bytes.len() + more, 0),
        _ => {}
    }
    bytes
}

/// `part`, or as much of it as the fault lets through.
fn body(fault: Option<&Fault>, part: Vec<u8>) -> Body {
    match fault {
        Some(Fault::DropAfter(bytes) | Fault::IgnoreRangeAndDrop(bytes)) => {
            let first = Bytes::copy_from_slice(&part[..(*bytes).min(part.len())]);
            // What was not flushed is lost with the connection, and a body that has to wait is
            // flushed.
            let dropped = stream::once(async {
                tokio::task::yield_now().await;
                Err(io::Error::other("dropped on purpose"))
            });
            let sent = stream::iter([Ok(Frame::data(first))]);
            BoxBody::new(StreamBody::new(Box::pin(sent.chain(dropped))))
        }
        Some(Fault::StallAfter(bytes)) => {
            let first = Bytes::copy_from_slice(&part[..(*bytes).min(part.len())]);
            let sent = stream::iter([Ok(Frame::data(first))]);
            BoxBody::new(StreamBody::new(sent.chain(stream::pending())))
        }
        Some(Fault::Drip) => {
            let bytes = stream::iter(part).then(|byte| async move {
                tokio::time::sleep(Duration::from_millis(20)).await;
                Ok(Frame::data(Bytes::copy_from_slice(&[byte])))
            });
            BoxBody::new(StreamBody::new(Box::pin(bytes)))
        }
        Some(Fault::LongPart(_)) => {
            // Without a length that could be told before.
            let sent = stream::iter([Ok(Frame::data(Bytes::from(part)))]);
            BoxBody::new(StreamBody::new(sent))
        }
        _ => whole(part),
    }
}

fn whole(bytes: Vec<u8>) -> Body {
    Full::new(Bytes::from(bytes))
        .map_err(|never| match never {})
        .boxed()
}

fn status(code: u16) -> Response<Body> {
    Response::builder()
        .status(code)
        .body(whole(Vec::new()))
        .expect("a status from a test")
}

/// The file below `folder`, and nothing outside it.
fn read(folder: &Path, path: &str) -> Option<Vec<u8>> {
    let relative = PathBuf::from(path.trim_start_matches('/'));
    let inside = relative
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    inside
        .then(|| fs::read(folder.join(relative)).ok())
        .flatten()
}
