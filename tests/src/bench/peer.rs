//! A bare QUIC peer in a process of its own, for the floors that need two ends.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use iroh::Endpoint;
use iroh::endpoint::{Connection, RecvStream, SendStream};
use tokio::sync::Mutex;

use crate::quic;

const ALPN: &[u8] = b"/zerok-bench/peer";
/// Bytes written at once in bulk.
const PIECE: usize = 1 << 20;

/// What a stream to the peer is for: its first byte.
const ECHO: u8 = 0;
const TAKE: u8 = 1;
const GIVE: u8 = 2;
const LISTEN: u8 = 3;
const SHOUT: u8 = 4;

/// Streams that hear what is shouted.
type Listeners = Arc<Mutex<Vec<SendStream>>>;

/// Serves echoes and bulk until it is killed; prints where on the first line. Runs as a process of its own.
///
/// # Errors
/// No endpoint.
pub async fn serve_peer() -> Result<()> {
    let endpoint = quic::endpoint(random(), ALPN).await?;
    let address = endpoint.bound_sockets().into_iter().next().context("a bound socket")?;
    println!("{} {address}", hex::encode(endpoint.id().as_bytes()));
    let listeners = Listeners::default();
    while let Some(incoming) = endpoint.accept().await {
        let listeners = listeners.clone();
        tokio::spawn(async move {
            let connection = incoming.await?;
            while let Ok((send, recv)) = connection.accept_bi().await {
                serve(send, recv, &listeners).await?;
            }
            anyhow::Ok(())
        });
    }
    Ok(())
}

async fn serve(send: SendStream, mut recv: RecvStream, listeners: &Listeners) -> Result<()> {
    let mut purpose = [0];
    recv.read_exact(&mut purpose).await?;
    match purpose {
        [TAKE] => take(send, recv).await,
        [GIVE] => give(send, recv).await,
        [LISTEN] => listen(send, listeners).await,
        [SHOUT] => shout(recv, listeners).await,
        _ => echo(send, recv).await,
    }
}

async fn listen(mut send: SendStream, listeners: &Listeners) -> Result<()> {
    send.write_all(&[LISTEN]).await?;
    listeners.lock().await.push(send);
    Ok(())
}

async fn shout(mut recv: RecvStream, listeners: &Listeners) -> Result<()> {
    let mut buffer = vec![0; 1024];
    while recv.read_exact(&mut buffer).await.is_ok() {
        for listener in listeners.lock().await.iter_mut() {
            listener.write_all(&buffer).await?;
        }
    }
    Ok(())
}

async fn echo(mut send: SendStream, mut recv: RecvStream) -> Result<()> {
    let mut buffer = vec![0; 1024];
    while recv.read_exact(&mut buffer).await.is_ok() {
        send.write_all(&buffer).await?;
    }
    Ok(())
}

async fn take(mut send: SendStream, recv: RecvStream) -> Result<()> {
    drain(recv).await?;
    send.write_all(b"!").await?;
    send.finish()?;
    Ok(())
}

async fn give(send: SendStream, mut recv: RecvStream) -> Result<()> {
    let mut count = [0; 8];
    recv.read_exact(&mut count).await?;
    fill(send, usize::try_from(u64::from_be_bytes(count))?).await
}

async fn fill(mut send: SendStream, bytes: usize) -> Result<()> {
    let piece = Bytes::from(crate::noise("bulk", PIECE));
    let mut left = bytes;
    while left > 0 {
        let next = piece.slice(..left.min(PIECE));
        left -= next.len();
        send.write_chunk(next).await?;
    }
    send.finish()?;
    Ok(())
}

async fn drain(mut recv: RecvStream) -> Result<()> {
    let mut chunks: [Bytes; 16] = std::array::from_fn(|_| Bytes::new());
    while recv.read_many_chunks(&mut chunks).await?.is_some() {}
    Ok(())
}

/// The peer's process, and a connection to it.
pub(super) struct Peer {
    _process: Owned,
    id: [u8; 32],
    address: SocketAddr,
    endpoint: Endpoint,
    connection: Connection,
}

impl Peer {
    pub(super) async fn start() -> Result<Self> {
        let mut process = Owned(
            Command::new(std::env::current_exe()?)
                .arg("peer")
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .spawn()
                .context("starting the peer")?,
        );
        let (id, address) = where_it_is(&mut process.0)?;
        let endpoint = quic::endpoint(random(), ALPN).await?;
        let connection = quic::connect(&endpoint, &id, address, ALPN).await?;
        Ok(Self { _process: process, id, address, endpoint, connection })
    }

    /// A stream on which every 1024 bytes come back.
    pub(super) async fn echo(&self) -> Result<(SendStream, RecvStream)> {
        let (mut send, recv) = self.connection.open_bi().await?;
        send.write_all(&[ECHO]).await?;
        Ok((send, recv))
    }

    /// A stream on which comes what is shouted, on a connection of its own.
    pub(super) async fn listen(&self) -> Result<(Endpoint, RecvStream)> {
        let endpoint = quic::endpoint(random(), ALPN).await?;
        let connection = quic::connect(&endpoint, &self.id, self.address, ALPN).await?;
        let (mut send, mut recv) = connection.open_bi().await?;
        send.write_all(&[LISTEN]).await?;
        recv.read_exact(&mut [0]).await?;
        Ok((endpoint, recv))
    }

    /// A stream whose every 1024 bytes come to all who listen.
    pub(super) async fn shout(&self) -> Result<SendStream> {
        let (mut send, _) = self.connection.open_bi().await?;
        send.write_all(&[SHOUT]).await?;
        Ok(send)
    }

    /// Sends it so many bytes, and waits until it has them.
    pub(super) async fn upload(&self, bytes: usize) -> Result<()> {
        let (mut send, recv) = self.connection.open_bi().await?;
        send.write_all(&[TAKE]).await?;
        fill(send, bytes).await?;
        drain(recv).await
    }

    /// Takes so many bytes from it.
    pub(super) async fn download(&self, bytes: usize) -> Result<()> {
        let (mut send, recv) = self.connection.open_bi().await?;
        send.write_all(&[GIVE]).await?;
        send.write_all(&u64::try_from(bytes)?.to_be_bytes()).await?;
        send.finish()?;
        drain(recv).await
    }

    pub(super) async fn end(self) {
        self.endpoint.close().await;
    }
}

/// The process; killed with its handle.
struct Owned(Child);

impl Drop for Owned {
    fn drop(&mut self) {
        // It may have ended by itself: then there is nothing to kill, only to collect.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What it printed: its key and its address.
fn where_it_is(process: &mut Child) -> Result<([u8; 32], SocketAddr)> {
    let mut line = String::new();
    BufReader::new(process.stdout.take().context("its output")?).read_line(&mut line)?;
    let Some((id, address)) = line.trim().split_once(' ') else { bail!("the peer said {line:?}") };
    Ok((hex::decode(id)?.try_into().ok().context("an endpoint id")?, address.parse()?))
}

fn random() -> [u8; 32] {
    let mut key = [0; 32];
    getrandom::fill(&mut key).expect("the system has random bytes");
    key
}
