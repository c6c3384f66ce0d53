//! The socket as programs meet it: real connections, by HTTP and by WebSocket.

mod limits;
mod listener;
mod requests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jsonrpsee::RpcModule;
use jsonrpsee::server::Methods;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Limits, bind, serve};

/// Nothing here may take longer; a test that waits for what never comes fails by this.
const PATIENCE: Duration = Duration::from_secs(10);

/// A served socket in a directory of its own.
struct Served {
    directory: tempfile::TempDir,
    begun: Arc<AtomicUsize>,
    stop: CancellationToken,
    server: JoinHandle<()>,
}

impl Served {
    async fn start(limits: Limits) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = bind(&directory.path().join("zerokd.sock")).await.unwrap();
        let (begun, stop) = (Arc::new(AtomicUsize::new(0)), CancellationToken::new());
        let server = tokio::spawn(serve(listener, methods(&begun), limits, stop.clone()));
        Self { directory, begun, stop, server }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("zerokd.sock")
    }

    /// Calls of `big` and `hang` that have begun.
    fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }
}

/// `ping`; `big`, which answers 64 KiB; `hang`, which never answers.
fn methods(begun: &Arc<AtomicUsize>) -> Methods {
    let mut module = RpcModule::new(Arc::clone(begun));
    module.register_method("ping", |_, _, _| "pong").unwrap();
    module
        .register_method("big", |_, begun, _| {
            begun.fetch_add(1, Ordering::SeqCst);
            "x".repeat(64 * 1024)
        })
        .unwrap();
    module
        .register_async_method("hang", |_, begun, _| async move {
            begun.fetch_add(1, Ordering::SeqCst);
            std::future::pending::<()>().await;
        })
        .unwrap();
    module.into()
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("took too long")
}

/// Sends one HTTP request and reads until the connection ends.
async fn exchange(path: &Path, request: &[u8]) -> String {
    within(async {
        let mut stream = UnixStream::connect(path).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    })
    .await
}

/// One POST with these extra header lines.
async fn post(path: &Path, headers: &str, body: &str) -> String {
    let head = format!(
        "POST / HTTP/1.1\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n",
        body.len()
    );
    exchange(path, format!("{head}{body}").as_bytes()).await
}
