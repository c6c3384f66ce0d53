//! What is refused before jsonrpsee sees it: requests that a web page could have caused, and connections too many.

use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, ORIGIN, REFERER};
use hyper::{Response, StatusCode};
use jsonrpsee::server::HttpBody;

/// Hosts by which the socket may be called; it has no name of its own.
const HOSTS: [&str; 4] = ["localhost", "127.0.0.1", "[::1]", "zerokd"];
/// JSON-RPC's "invalid request".
const INVALID_REQUEST: i32 = -32600;
/// The library's "server is busy".
const BUSY: i32 = -32009;

/// Why a request is refused for its header, if it is. A browser reaches a Unix socket only through some proxy; one
/// that sends its requests on would make every web page a caller.
pub(super) fn foreign(headers: &HeaderMap) -> Option<Response<HttpBody>> {
    let text = if headers.contains_key(ORIGIN) {
        "header Origin: web pages may not call zerokd"
    } else if headers.contains_key(REFERER) {
        "header Referer: web pages may not call zerokd"
    } else if !headers.get_all(HOST).iter().all(|host| host.to_str().is_ok_and(is_local)) {
        "header Host: only localhost is served here"
    } else {
        return None;
    };
    Some(refusal(StatusCode::FORBIDDEN, INVALID_REQUEST, text))
}

fn is_local(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    name.is_empty() || HOSTS.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// The answer to a connection too many.
pub(super) fn too_many_connections(limit: usize) -> Response<HttpBody> {
    let text = format!("zerokd has its {limit} connections already; close one");
    refusal(StatusCode::SERVICE_UNAVAILABLE, BUSY, &text)
}

fn refusal(status: StatusCode, code: i32, text: &str) -> Response<HttpBody> {
    let error = serde_json::json!({
        "jsonrpc": "2.0", "id": null, "error": { "code": code, "message": text }
    });
    let mut response = Response::new(HttpBody::from(error.to_string()));
    *response.status_mut() = status;
    let json = hyper::header::HeaderValue::from_static("application/json; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_local_hosts_are_served() {
        for host in ["localhost", "LOCALHOST:80", "127.0.0.1:1", "[::1]:1", "[::1]", ""] {
            assert!(is_local(host), "{host}");
        }
        for host in ["example.com", "localhost.example.com", "127.0.0.1.example.com:80", "localhost:x"] {
            assert!(!is_local(host), "{host}");
        }
    }
}
