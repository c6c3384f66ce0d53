//! One JSON-RPC call by HTTP POST on a connection of its own (RFC 9112): the request is written whole, the answer
//! is read to its end.

use std::path::Path;

use jsonrpsee::core::client::Error as RpcError;
use jsonrpsee::types::ErrorObjectOwned;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::client::Error;
use crate::connection::{LONGEST_CALL, dial};
use crate::limits::MAX_MESSAGE;

/// Most bytes of status line and header fields.
const MAX_HEAD: usize = 16 * 1024;

#[derive(Serialize)]
struct Request<'a, P> {
    jsonrpc: &'static str,
    id: u32,
    method: &'a str,
    params: &'a P,
}

#[derive(Deserialize)]
#[serde(bound = "R: DeserializeOwned")]
struct Response<R> {
    #[serde(default = "none")]
    result: Option<R>,
    error: Option<ErrorObjectOwned>,
}

fn none<R>() -> Option<R> {
    None
}

pub(crate) async fn call<P: Serialize, R: DeserializeOwned>(
    socket: &Path,
    method: &str,
    params: &P,
) -> Result<R, Error> {
    let request = Request { jsonrpc: "2.0", id: 1, method, params };
    let body = serde_json::to_vec(&request).map_err(RpcError::ParseError)?;
    let head = format!(
        "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n",
        body.len()
    );
    let exchange = exchange(socket, head.as_bytes(), &body);
    let answer = tokio::time::timeout(LONGEST_CALL, exchange).await.map_err(|_| Error::Timeout)??;
    let answer = body_of(&answer)?;
    let response: Response<R> = serde_json::from_slice(answer).map_err(RpcError::ParseError)?;
    match (response.result, response.error) {
        (_, Some(error)) => Err(RpcError::Call(error).into()),
        (Some(result), None) => Ok(result),
        (None, None) => Err(malformed("neither result nor error")),
    }
}

async fn exchange(socket: &Path, head: &[u8], body: &[u8]) -> Result<Vec<u8>, Error> {
    let mut stream = dial(socket).await?;
    let lost = |e: std::io::Error| Error::Lost(RpcError::Transport(e.into()));
    stream.write_all(head).await.map_err(lost)?;
    stream.write_all(body).await.map_err(lost)?;
    stream.flush().await.map_err(lost)?;
    let mut answer = Vec::new();
    let limit = u64::from(MAX_MESSAGE) + MAX_HEAD as u64;
    stream.take(limit).read_to_end(&mut answer).await.map_err(lost)?;
    Ok(answer)
}

/// The body of an HTTP/1.1 response that was read to its end. The daemon always states its length.
fn body_of(answer: &[u8]) -> Result<&[u8], Error> {
    let end = answer
        .windows(4)
        .take(MAX_HEAD)
        .position(|w| w == b"\r\n\r\n")
        .ok_or_else(|| malformed("no end of the header"))?;
    let (head, rest) = answer.split_at(end);
    let head = std::str::from_utf8(head).map_err(|_| malformed("header is no text"))?;
    let body = rest.get(4..).unwrap_or_default();
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|l| l.split(' ').nth(1)).unwrap_or_default();
    let length = lines
        .filter_map(|l| l.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse::<usize>().ok())
        .ok_or_else(|| malformed("no content-length"))?;
    if status == "503" {
        return Err(Error::Busy);
    }
    body.get(..length).ok_or_else(|| malformed("the answer is cut short"))
}

fn malformed(what: &'static str) -> Error {
    Error::Lost(RpcError::Transport(format!("HTTP answer: {what}").into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_is_as_long_as_stated() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nx: y\r\n\r\n{}";
        assert_eq!(body_of(answer).unwrap(), b"{}");
    }

    #[test]
    fn an_answer_cut_short_is_a_lost_connection() {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{}";
        assert!(matches!(body_of(answer), Err(Error::Lost(_))));
        assert!(matches!(body_of(b"HTTP/1.1 200 OK\r\n"), Err(Error::Lost(_))));
        assert!(matches!(body_of(b""), Err(Error::Lost(_))));
    }

    #[test]
    fn status_503_means_busy() {
        let answer = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
        assert!(matches!(body_of(answer), Err(Error::Busy)));
    }
}
