//! A member of a group that speaks the relay's protocol by itself: with the keys of a real device, and without its
//! manners.

use std::path::Path;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use iroh::Endpoint;
use iroh::endpoint::{Connection, RecvStream, SendStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use zerok_core::{Bundle, DeviceKeys, Entry, EpochKeys, Hlc, Sealed, Secret, open_envelope, seal};
use zerok_protocol::{
    ALPN, BlobId, ChainId, Credit, EpochId, GroupId, HEADER_LEN, Hash, Head, Hello, Message, Push, RelayAddr,
    RosterGet, Subscribe, SubscribeMode, VERSION, frame_length,
};

use crate::quic;

/// The number of a member's only subscription.
const SUBSCRIPTION: u32 = 1_000_000;

/// An open session of a member.
pub struct Member {
    /// Its keys.
    pub keys: DeviceKeys,
    /// Its group.
    pub group: GroupId,
    /// The group's newest epoch.
    pub epoch: EpochId,
    /// The chain of what it pushes: a new one.
    pub chain: ChainId,
    /// What is derived from that epoch's secret.
    pub epoch_keys: EpochKeys,
    /// The connection.
    pub connection: Connection,
    send: SendStream,
    recv: RecvStream,
    endpoint: Endpoint,
    next_req: u32,
}

impl Member {
    /// Opens a session with the key in `device.key` of a daemon that is not running.
    ///
    /// # Errors
    /// The relay does not let it in, or its envelope does not open.
    pub async fn connect(device_key: &Path, group: &str, relay: &str) -> Result<Self> {
        let seed = std::fs::read(device_key)?;
        let keys = DeviceKeys::from_seed(&Secret::from_slice(&seed).context("a seed of 32 bytes")?);
        let relay: RelayAddr = relay.parse()?;
        let group: GroupId = group.parse()?;
        let endpoint = quic::endpoint(*keys.ed25519_seed().expose(), ALPN).await?;
        let address = *relay.addrs.first().context("an address")?;
        let connection = quic::connect(&endpoint, relay.id.as_bytes(), address, ALPN).await?;
        let (mut send, mut recv) = connection.open_bi().await?;
        let head = Head { n: 0, hash: Hash(*group.as_bytes()) };
        let hello = Hello { versions: vec![VERSION], group, head, last_cursor: 0, token: None };
        send.write_all(&Message::from(hello).to_frame()).await?;
        let Message::Welcome(_) = read(&mut recv).await? else { bail!("not welcome") };
        let from = RosterGet { req: 1, from: 0 };
        send.write_all(&Message::from(from).to_frame()).await?;
        let page = loop {
            if let Message::RosterPage(page) = read(&mut recv).await? {
                break page;
            }
        };
        let (mut epoch, mut secret) = (None, None);
        for append in &page.statements {
            let statement = append.statement.statement()?;
            if statement.change.makes_epoch() {
                let tag = *append.statement.hash().as_bytes().first_chunk::<8>().context("a hash")?;
                let number = epoch.map_or(0, |epoch: EpochId| epoch.number + 1);
                epoch = Some(EpochId { number, tag: u64::from_be_bytes(tag) });
            }
            for envelope in append.envelopes.iter().filter(|envelope| envelope.device == keys.id()) {
                secret = Some(open_envelope(&keys, &statement, envelope)?.0);
            }
        }
        let epoch_keys = EpochKeys::derive(&secret.context("an envelope for this device")?);
        let epoch = epoch.context("an epoch")?;
        let chain = ChainId(random());
        Ok(Self { keys, group, epoch, chain, epoch_keys, connection, send, recv, endpoint, next_req: 2 })
    }

    /// Pushes a bundle of these entries as the first of its chain; returns when the relay has it.
    ///
    /// # Errors
    /// The relay refuses it.
    pub async fn push(&mut self, entries: &[Entry], now_ms: u64) -> Result<()> {
        let encoded: Vec<_> = entries.iter().map(Entry::to_bytes).collect();
        let hlc = Hlc::tick(Hlc(0), now_ms);
        let bundle = Bundle::cut(&self.keys, self.group, self.chain, 1, None, 1, hlc, false, &encoded);
        self.push_bytes(&bundle.bytes).await
    }

    /// Pushes anything at all as a bundle, sealed as it should be.
    ///
    /// # Errors
    /// The relay refuses it.
    pub async fn push_bytes(&mut self, bundle: &[u8]) -> Result<()> {
        let blob_id = BlobId(random());
        let payload = seal(&self.epoch_keys, self.group, self.epoch, blob_id, random(), bundle);
        self.push_payload(blob_id, payload).await
    }

    /// Pushes anything at all as an envelope.
    ///
    /// # Errors
    /// The relay refuses it.
    pub async fn push_payload(&mut self, blob_id: BlobId, payload: Bytes) -> Result<()> {
        let req = self.next_req;
        self.next_req += 1;
        let push = Push { req, blob_id, epoch_id: self.epoch, recipient: None, ttl_seconds: None, payload };
        self.send(push).await?;
        loop {
            match self.read().await? {
                Message::PushAck(ack) if ack.req == req => return Ok(()),
                Message::Error(error) => bail!("{:?}: {}", error.code, error.message),
                _ => {}
            }
        }
    }

    /// Sends a message on the session.
    ///
    /// # Errors
    /// The session has ended.
    pub async fn send(&mut self, message: impl Into<Message>) -> Result<()> {
        Ok(self.send.write_all(&message.into().to_frame()).await?)
    }

    /// Subscribes from the beginning with so much credit, and hands on what is delivered: its QUIC stream is drained
    /// at all times, however slowly the receiver takes things.
    ///
    /// # Errors
    /// The session has ended.
    pub async fn subscribe(&mut self, credit: u64) -> Result<UnboundedReceiver<Message>> {
        let (req, mode) = (SUBSCRIPTION, SubscribeMode::Blobs);
        self.send(Subscribe { req, after_cursor: 0, mode, credit }).await?;
        let mut stream = self.connection.accept_uni().await?;
        let (sender, receiver) = unbounded_channel();
        tokio::spawn(async move {
            while let Ok(message) = read(&mut stream).await {
                if sender.send(message).is_err() {
                    break;
                }
            }
        });
        Ok(receiver)
    }

    /// Grants its subscription more.
    ///
    /// # Errors
    /// The session has ended.
    pub async fn credit(&mut self, bytes: u64) -> Result<()> {
        self.send(Credit { req: SUBSCRIPTION, bytes }).await
    }

    /// The bundle in a delivered payload.
    ///
    /// # Errors
    /// It does not open, or is none.
    pub fn open(&self, payload: &Bytes) -> Result<Bundle> {
        Ok(Bundle::parse(Sealed::parse(payload)?.open(&self.epoch_keys, self.group)?)?)
    }

    /// The next message on the session.
    ///
    /// # Errors
    /// The session has ended.
    pub async fn read(&mut self) -> Result<Message> {
        read(&mut self.recv).await
    }

    /// Ends it in order.
    pub async fn close(self) {
        self.endpoint.close().await;
    }
}

/// Reads one message from a stream.
async fn read(recv: &mut RecvStream) -> Result<Message> {
    let mut header = [0; HEADER_LEN];
    recv.read_exact(&mut header).await?;
    let mut body = vec![0; frame_length(header)?];
    recv.read_exact(&mut body).await?;
    Ok(Message::decode(&body)?)
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system has random bytes");
    bytes
}
