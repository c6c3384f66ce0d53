//! One connection: HTTP/1.1 with calls by POST, or upgraded to a WebSocket.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use interprocess::local_socket::tokio::Stream;
use jsonrpsee::server::middleware::rpc::RpcServiceBuilder;
use jsonrpsee::server::{
    BatchRequestConfig, HttpBody, Methods, Server, ServerConfig, StopHandle, TowerServiceBuilder,
};
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio_util::sync::CancellationToken;
use tower::Service;
use tower::layer::util::Identity;
use zerok_client::{MAX_BATCH, MAX_MESSAGE, MAX_SUBSCRIPTIONS};

use super::gate::{Gate, Gated};
use super::http;
use super::limits::Limits;
use super::pressure::Backpressure;

/// Messages queued for a WebSocket before its senders wait. Each may have some MiB, so not many.
const QUEUED_MESSAGES: u32 = 16;

/// What all connections have in common.
pub(super) struct Shared {
    builder: TowerServiceBuilder<Identity, Identity>,
    methods: Methods,
    limits: Limits,
    stop_handle: StopHandle,
    stop: CancellationToken,
}

impl Shared {
    pub(super) fn new(
        methods: Methods,
        limits: Limits,
        stop_handle: StopHandle,
        stop: CancellationToken,
    ) -> Self {
        let subscriptions = u32::try_from(MAX_SUBSCRIPTIONS).unwrap_or(u32::MAX);
        let config = ServerConfig::builder()
            .max_request_body_size(MAX_MESSAGE)
            .max_response_body_size(MAX_MESSAGE)
            .max_subscriptions_per_connection(subscriptions)
            .max_connections(u32::MAX)
            .set_batch_request_config(BatchRequestConfig::Limit(MAX_BATCH))
            .set_message_buffer_capacity(QUEUED_MESSAGES)
            .build();
        let builder = Server::builder().set_config(config).to_service_builder();
        Self { builder, methods, limits, stop_handle, stop }
    }
}

/// Serves one connection to its end; the slot is free after that.
pub(super) async fn run(shared: Arc<Shared>, stream: Stream, _slot: OwnedSemaphorePermit) {
    let gate = Arc::new(Gate::new(shared.limits.calls_per_connection));
    let (layer_gate, stop) = (Arc::clone(&gate), shared.stop.clone());
    let middleware = RpcServiceBuilder::new().layer_fn(move |inner| Gated {
        inner,
        gate: Arc::clone(&layer_gate),
        stop: stop.clone(),
    });
    let builder = shared.builder.clone().set_rpc_middleware(middleware);
    let mut rpc = builder.build(shared.methods.clone(), shared.stop_handle.clone());
    let websocket_closed = rpc.on_session_closed();
    let heard = Arc::new(Notify::new());
    let (on_request, stop) = (Arc::clone(&heard), shared.stop.clone());
    let service = service_fn(move |request: Request<Incoming>| {
        on_request.notify_one();
        let mut rpc = rpc.clone();
        async move {
            match http::foreign(request.headers()) {
                Some(refusal) => Ok(refusal),
                None => rpc.call(request).await.map_err(std::io::Error::other),
            }
        }
    });
    let io = TokioIo::new(Backpressure::new(stream, gate));
    let silent = async {
        if tokio::time::timeout(shared.limits.first_request, heard.notified()).await.is_ok() {
            std::future::pending::<()>().await;
        }
    };
    let connection = http1::Builder::new().serve_connection(io, service).with_upgrades();
    {
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
            () = silent => return,
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a local connection broke off");
        }
    }
    // Upgraded, it goes on as a WebSocket after the HTTP part (dropped above, and the service with it) has ended.
    websocket_closed.await;
}

/// Answers a connection too many, whatever it asks, and closes it.
pub(super) async fn refuse(stream: Stream, limits: Limits, _slot: OwnedSemaphorePermit) {
    let service = service_fn(move |_: Request<Incoming>| answer(limits.connections));
    let connection = http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), service);
    // A client that does not ask within the time for a first request learns it by the end of the connection.
    let _ = tokio::time::timeout(limits.first_request, connection).await;
}

fn answer(limit: usize) -> impl Future<Output = Result<Response<HttpBody>, Infallible>> {
    std::future::ready(Ok(http::too_many_connections(limit)))
}
