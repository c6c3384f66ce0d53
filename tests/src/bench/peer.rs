//! A bare QUIC peer in a process of its own, for the floors that need two ends.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use iroh::Endpoint;
use iroh::endpoint::{Connection, RecvStream, SendStream};

use crate::quic;

const ALPN: &[u8] = b"/zerok-bench/peer";
/// Bytes written at once in bulk.
const PIECE: usize = 1 << 20;

/// What a stream to the peer is for: its first byte.
const ECHO: u8 = 0;
const TAKE: u8 = 1;
const GIVE: u8 = 2;

/// Serves echoes and bulk until it is killed; prints where on the first line. Runs as a process of its own.
///
/// # Errors
/// No endpoint.
pub async fn serve_peer() -> Result<()> {
    let endpoint = quic::endpoint(random(), ALPN).await?;
    let address = endpoint.bound_sockets().into_iter().next().context("a bound socket")?;
    println!("{} {address}", hex::encode(endpoint.id().as_bytes()));
    while let Some(incoming) = endpoint.accept().await {
        let connection = incoming.await?;
        while let Ok((send, mut recv)) = connection.accept_bi().await {
            let mut purpose = [0];
            recv.read_exact(&mut purpose).await?;
            match purpose {
                [TAKE] => take(send, recv).await?,
                [GIVE] => give(send, recv).await?,
                _ => echo(send, recv).await?,
            }
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
    for _ in 0..bytes / PIECE {
        send.write_chunk(piece.clone()).await?;
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
        let (endpoint, connection) = connect(&mut process.0).await?;
        Ok(Self { _process: process, endpoint, connection })
    }

    /// A stream on which every 1024 bytes come back.
    pub(super) async fn echo(&self) -> Result<(SendStream, RecvStream)> {
        let (mut send, recv) = self.connection.open_bi().await?;
        send.write_all(&[ECHO]).await?;
        Ok((send, recv))
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

async fn connect(process: &mut Child) -> Result<(Endpoint, Connection)> {
    let mut line = String::new();
    BufReader::new(process.stdout.take().context("its output")?).read_line(&mut line)?;
    let Some((id, address)) = line.trim().split_once(' ') else { bail!("the peer said {line:?}") };
    let id: [u8; 32] = hex::decode(id)?.try_into().ok().context("an endpoint id")?;
    let endpoint = quic::endpoint(random(), ALPN).await?;
    let connection = quic::connect(&endpoint, &id, address.parse()?, ALPN).await?;
    Ok((endpoint, connection))
}

fn random() -> [u8; 32] {
    let mut key = [0; 32];
    getrandom::fill(&mut key).expect("the system has random bytes");
    key
}
