//! Per connection: at most so many calls at once, none begun while the peer does not read its answers, and no more
//! read from it meanwhile. So what one client can make the daemon hold is bounded, whatever it sends.
//!
//! jsonrpsee starts a task for every message that it reads and queues every answer. [`Gate`] is what the stream
//! ([`Backpressure`](super::pressure::Backpressure)) and the calls ([`Gated`]) agree on.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use jsonrpsee::core::middleware::{Batch, Notification, RpcServiceT};
use jsonrpsee::server::MethodResponse;
use jsonrpsee::types::{ErrorObjectOwned, Id, Request};
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;
use zerok_client::{ApiError, ErrorKind};

/// How long a call in flight may go on when the daemon stops, before it is answered with `shutting_down`.
const LAST_CALLS: Duration = Duration::from_millis(500);

/// What a connection's stream and its calls agree on.
pub(super) struct Gate {
    calls: usize,
    running: Semaphore,
    state: Mutex<State>,
    /// Rung when the peer reads again.
    open: Notify,
}

#[derive(Default)]
struct State {
    /// Calls that wait or run.
    calls: usize,
    /// Whether the last write could not go on.
    write_blocked: bool,
    /// Whoever waits to read.
    reader: Option<Waker>,
}

impl Gate {
    pub(super) fn new(calls: usize) -> Self {
        Self { calls, running: Semaphore::new(calls), state: Mutex::default(), open: Notify::new() }
    }

    /// Whether more may be read from the peer now; if not, the reader is woken when that changes.
    pub(super) fn poll_may_read(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if state.write_blocked || state.calls >= self.calls {
            state.reader = Some(cx.waker().clone());
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }

    /// Takes note of how a write went.
    pub(super) fn wrote<T>(&self, result: Poll<T>) -> Poll<T> {
        let mut state = self.state();
        let opened = state.write_blocked && result.is_ready();
        state.write_blocked = result.is_pending();
        let reader = if opened { state.reader.take() } else { None };
        drop(state);
        if opened {
            self.open.notify_waiters();
        }
        reader.into_iter().for_each(Waker::wake);
        result
    }

    /// Waits until a call may begin; it has ended when the pass is dropped.
    async fn enter(&self) -> Pass<'_> {
        self.state().calls += 1;
        let mut pass = Pass { gate: self, _permit: None };
        pass._permit = Some(self.running.acquire().await.expect("the semaphore is never closed"));
        loop {
            let opened = self.open.notified();
            if !self.state().write_blocked {
                return pass;
            }
            opened.await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One call under way.
struct Pass<'a> {
    gate: &'a Gate,
    _permit: Option<SemaphorePermit<'a>>,
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        let mut state = self.gate.state();
        state.calls -= 1;
        let reader = if state.write_blocked { None } else { state.reader.take() };
        drop(state);
        reader.into_iter().for_each(Waker::wake);
    }
}

/// The calls of one connection, through its gate.
#[derive(Clone)]
pub(super) struct Gated<S> {
    pub(super) inner: S,
    pub(super) gate: Arc<Gate>,
    pub(super) stop: CancellationToken,
}

impl<S> Gated<S> {
    /// Runs a call through the gate, and not for long once the daemon stops.
    async fn through(&self, id: Id<'static>, call: impl Future<Output = MethodResponse>) -> MethodResponse {
        let pass = tokio::select! {
            pass = self.gate.enter() => pass,
            () = self.stop.cancelled() => return shutting_down(id),
        };
        let late = async {
            self.stop.cancelled().await;
            tokio::time::sleep(LAST_CALLS).await;
        };
        let response = tokio::select! {
            biased;
            response = call => response,
            () = late => shutting_down(id),
        };
        drop(pass);
        response
    }
}

fn shutting_down(id: Id<'static>) -> MethodResponse {
    let error = ApiError::new(ErrorKind::ShuttingDown, "the daemon is stopping");
    MethodResponse::error(id, ErrorObjectOwned::from(error))
}

impl<S> RpcServiceT for Gated<S>
where
    S: RpcServiceT<
            MethodResponse = MethodResponse,
            BatchResponse = MethodResponse,
            NotificationResponse = MethodResponse,
        > + Clone
        + Send
        + Sync
        + 'static,
{
    type MethodResponse = MethodResponse;
    type NotificationResponse = MethodResponse;
    type BatchResponse = MethodResponse;

    fn call<'a>(&self, request: Request<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let this = self.clone();
        async move {
            let id = request.id().into_owned();
            let inner = this.inner.clone();
            this.through(id, async move { inner.call(request).await }).await
        }
    }

    fn batch<'a>(&self, batch: Batch<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let this = self.clone();
        async move {
            let inner = this.inner.clone();
            this.through(Id::Null, async move { inner.batch(batch).await }).await
        }
    }

    fn notification<'a>(&self, n: Notification<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        self.inner.notification(n)
    }
}
