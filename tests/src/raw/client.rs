//! A device's connection to a relay, and sessions on it.

use anyhow::{Context, Result, bail, ensure};
use iroh::Endpoint;
use iroh::endpoint::{Connection, SendStream};
use zerok_protocol::{
    ALPN, Code, Hello, Message, RelayAddr, RosterAppend, Subscribe, SubscribeMode, VERSION, Welcome,
};

use super::{Chain, Device, Frames};
use crate::quic;

/// A connection of one device, with an endpoint of its own.
#[derive(Debug)]
pub struct Client {
    endpoint: Endpoint,
    /// The connection.
    pub connection: Connection,
}

/// The stream of an admitted session.
#[derive(Debug)]
pub struct Session {
    /// To the relay.
    pub send: SendStream,
    /// From the relay.
    pub frames: Frames,
    /// What it was welcomed with.
    pub welcome: Welcome,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// The relay does not answer.
    pub async fn connect(relay: &RelayAddr, device: &Device) -> Result<Self> {
        let endpoint = quic::endpoint(device.secret(), ALPN).await?;
        let address = *relay.addrs.first().context("an address")?;
        let connection = quic::connect(&endpoint, relay.id.as_bytes(), address, ALPN).await?;
        Ok(Self { endpoint, connection })
    }

    /// A bidirectional stream; the relay learns of it with the first bytes.
    ///
    /// # Errors
    /// The connection is lost.
    pub async fn open(&self) -> Result<(SendStream, Frames)> {
        let (send, recv) = self.connection.open_bi().await?;
        Ok((send, Frames::new(recv)))
    }

    /// An admitted session of the chain's group; brings the roster if the relay asks for it.
    ///
    /// # Errors
    /// The relay refuses.
    pub async fn session(&self, chain: &Chain) -> Result<Session> {
        let (mut send, mut frames) = self.open().await?;
        let hello = Message::from(Hello {
            versions: vec![VERSION],
            group: chain.roster.group(),
            head: chain.roster.head(),
            last_cursor: 0,
            token: None,
        });
        send.write_all(&hello.to_frame()).await?;
        loop {
            match frames.next().await? {
                Message::Welcome(welcome) => return Ok(Session { send, frames, welcome }),
                Message::Error(e) if e.code == Code::UnknownGroup => {
                    let append = Message::from(RosterAppend { req: 1, statements: chain.appends.clone() });
                    send.write_all(&append.to_frame()).await?;
                    let answer = frames.next().await?;
                    ensure!(matches!(answer, Message::RosterOk(_)), "the roster was answered {answer:?}");
                    send.write_all(&hello.to_frame()).await?;
                }
                other => bail!("HELLO was answered {other:?}"),
            }
        }
    }

    /// Subscribes in a session to what comes after a cursor; the stream on which it comes. One at a time.
    ///
    /// # Errors
    /// The relay refuses.
    pub async fn subscribe(
        &self,
        session: &mut Session,
        req: u32,
        after_cursor: u64,
        credit: u64,
    ) -> Result<Frames> {
        let subscribe = Subscribe { req, after_cursor, mode: SubscribeMode::Blobs, credit };
        session.send.write_all(&Message::from(subscribe).to_frame()).await?;
        let mut frames = Frames::new(self.connection.accept_uni().await?);
        let first = frames.next().await?;
        ensure!(matches!(&first, Message::Delivery(d) if d.req == req), "not the delivery: {first:?}");
        Ok(frames)
    }

    /// Closes the connection.
    pub async fn close(self) {
        self.endpoint.close().await;
    }
}
