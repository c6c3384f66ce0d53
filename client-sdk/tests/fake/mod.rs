//! A daemon that keeps one channel in memory and fails on demand.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use jsonrpsee::core::SubscriptionResult;
use jsonrpsee::server::{HttpRequest, Methods, Server, ServerConfig, ServerHandle, serve, stop_channel};
use jsonrpsee::types::{ErrorObjectOwned, Params};
use jsonrpsee::{PendingSubscriptionSink, RpcModule};
use serde_json::{Value, json};
use tokio::net::UnixListener;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tower::Service;

/// What the daemon holds; it stays when the daemon is started again.
#[derive(Default)]
pub struct State {
    length: watch::Sender<usize>,
    /// Subscriptions begun.
    pub begun: AtomicUsize,
    /// Subscriptions that the client has ended.
    pub ended: AtomicUsize,
    /// Leave out the next notification.
    pub skip_one: AtomicBool,
    /// Cut all connections in the middle of the next push.
    pub cut_next_push: AtomicBool,
    cut: Notify,
    /// Idempotency keys of the pushes, in order.
    pub keys: Mutex<Vec<String>>,
}

impl State {
    pub fn append(&self, count: usize) {
        self.length.send_modify(|length| *length += count);
    }
}

pub struct Fake {
    pub directory: tempfile::TempDir,
    pub state: Arc<State>,
    running: Option<ServerHandle>,
}

impl Fake {
    pub fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut fake = Self { directory, state: Arc::default(), running: None };
        fake.restart();
        fake
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("zerokd.sock")
    }

    /// Ends every connection and takes new ones again.
    pub fn restart(&mut self) {
        drop(self.running.take());
        let _ = std::fs::remove_file(self.socket());
        let listener = UnixListener::bind(self.socket()).unwrap();
        let (stop, handle) = stop_channel();
        let (methods, state) = (methods(&self.state), Arc::clone(&self.state));
        tokio::spawn(async move {
            let config = ServerConfig::builder().max_request_body_size(16 << 20).build();
            let builder = Server::builder().set_config(config).to_service_builder();
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = tokio::select! {
                    accepted = listener.accept() => accepted.unwrap(),
                    () = state.cut.notified() => { connections.abort_all(); continue }
                    () = stop.clone().shutdown() => return,
                };
                let rpc = builder.clone().build(methods.clone(), stop.clone());
                let service = tower::service_fn(move |request: HttpRequest<_>| {
                    let mut rpc = rpc.clone();
                    async move { rpc.call(request).await.map_err(std::io::Error::other) }
                });
                connections.spawn(serve(stream, service));
            }
        });
        self.running = Some(handle);
    }
}

fn methods(state: &Arc<State>) -> Methods {
    let mut module = RpcModule::new(Arc::clone(state));
    module.register_method("blob.pull", |params, state, _| pull(&params, state)).unwrap();
    module
        .register_subscription(
            "blob.subscribe",
            "blob.entries",
            "blob.unsubscribe",
            |params, pending, state, _| async move {
                let after = cursor(&params);
                follow(after, pending, &state).await
            },
        )
        .unwrap();
    module
        .register_async_method("blob.push", |params, state, _| async move {
            let key = field(&params, "idempotency_key").as_str().unwrap().to_owned();
            state.keys.lock().unwrap().push(key);
            if state.cut_next_push.swap(false, Ordering::SeqCst) {
                state.cut.notify_one();
                std::future::pending::<()>().await;
            }
            Ok::<_, ErrorObjectOwned>(json!({ "id": "c:1", "cursor": "1" }))
        })
        .unwrap();
    module.into()
}

fn pull(params: &Params<'_>, state: &State) -> Value {
    let after = cursor(params);
    let until = (*state.length.borrow()).min(after + 10);
    let entries: Vec<_> = (after..until).map(entry).collect();
    let more = until < *state.length.borrow();
    json!({ "entries": entries, "next": until.to_string(), "has_more": more, "gaps": [], "truncated": false })
}

/// One entry per notification, as fast as the socket takes them.
async fn follow(mut after: usize, pending: PendingSubscriptionSink, state: &State) -> SubscriptionResult {
    let sink = pending.accept().await?;
    state.begun.fetch_add(1, Ordering::SeqCst);
    let mut length = state.length.subscribe();
    loop {
        length.wait_for(|length| *length > after).await?;
        let next = after + 1;
        let batch = json!({
            "after": after.to_string(), "next": next.to_string(), "entries": [entry(after)], "gaps": [],
            "truncated": false
        });
        if !state.skip_one.swap(false, Ordering::SeqCst) {
            let notification = serde_json::value::to_raw_value(&batch)?;
            if sink.send(notification).await.is_err() {
                state.ended.fetch_add(1, Ordering::SeqCst);
                return Ok(());
            }
        }
        after = next;
    }
}

fn entry(n: usize) -> Value {
    json!({
        "cursor": (n + 1).to_string(), "id": format!("c:{n}"), "author": "a", "n": n, "hlc": 0, "key": null,
        "data": ""
    })
}

fn field(params: &Params<'_>, name: &str) -> Value {
    params.parse::<Value>().unwrap()[name].take()
}

fn cursor(params: &Params<'_>) -> usize {
    field(params, "after").as_str().unwrap().parse().unwrap()
}
