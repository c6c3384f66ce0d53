//! `GET /health` and `GET /metrics` over HTTP/1.1.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::relay::Relay;

/// Requests at a time.
const CONNECTIONS: usize = 64;
/// How long a client may take for its request, and for all of a connection.
const HEADERS: Duration = Duration::from_secs(5);
const CONNECTION: Duration = Duration::from_secs(60);
/// How long the database may take to answer before it is called ill.
const PROBE: Duration = Duration::from_secs(2);

/// Why `/health` is not there.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {addr} for /health and /metrics: choose another http.bind (--http IP:PORT), or none (--http none)"
)]
pub struct HttpError {
    addr: SocketAddr,
    #[source]
    source: std::io::Error,
}

pub(crate) async fn listen(addr: SocketAddr) -> Result<(TcpListener, SocketAddr), HttpError> {
    let failed = |source| HttpError { addr, source };
    let listener = TcpListener::bind(addr).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// Serves until the relay's tasks are over, so that `/health` says "draining" while they are.
pub(crate) async fn run(relay: Arc<Relay>, listener: TcpListener) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let relay = relay.clone();
                // Not among the relay's tasks: a browser's idle connection must not hold up a stop.
                tokio::spawn(async move {
                    let _ = timeout(CONNECTION, serve(relay, stream)).await;
                    drop(slot);
                });
            }
            // Out of descriptors, most likely: the next try may do better.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn serve(relay: Arc<Relay>, stream: TcpStream) {
    let service = service_fn(move |request| {
        let relay = relay.clone();
        async move { Ok::<_, Infallible>(answer(&relay, &request).await) }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEADERS).max_buf_size(16 << 10);
    let _ = server.serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(relay: &Relay, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    if path != "/health" && !(relay.settings().metrics && path == "/metrics") {
        return text(StatusCode::NOT_FOUND, "text/plain", "not found\n".into());
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "GET only\n".into());
        response.headers_mut().insert(ALLOW, hyper::header::HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    if path == "/health" {
        return health(relay).await;
    }
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    text(StatusCode::OK, kind, relay.metrics.encode(relay.storage.totals(), relay.chunks.bytes()))
}

async fn health(relay: &Relay) -> Response<Full<Bytes>> {
    let database = matches!(timeout(PROBE, relay.storage.probe()).await, Ok(Ok(())));
    let status = match (relay.stop.is_cancelled(), database) {
        (true, _) => "draining",
        (false, false) => "database",
        (false, true) => "ok",
    };
    let totals = relay.storage.totals();
    let body = serde_json::json!({
        "status": status,
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": relay.started.elapsed().as_secs(),
        "connections": relay.metrics.connections.get(),
        "groups": totals.groups,
        "blobs": totals.blobs,
        "storage_bytes": totals.bytes,
    });
    let code = if status == "ok" { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    text(code, "application/json", body.to_string())
}

fn text(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    response
}
