//! A raw client: just enough QUIC and framing to say anything to a relay.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use iroh::endpoint::{
    ConnectError, Connection, PortmapperConfig, QuicTransportConfig, RecvStream, SendStream, VarInt, presets,
};
use iroh::{Endpoint, EndpointAddr, EndpointId, NetReportConfig, RelayMode, SecretKey};
use rustls::crypto::{SupportedKxGroup, aws_lc_rs};
use tempfile::TempDir;
use tokio::time::timeout;
use zerok_protocol::*;
use zerok_relay::{Config, Running};

use crate::devices::{Chain, Device};

/// Longer than anything here may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// A relay in this process, on a free port.
pub(crate) struct TestRelay {
    pub(crate) running: Running,
    pub(crate) dir: Arc<TempDir>,
}

pub(crate) fn config(dir: &TempDir) -> Config {
    let mut config = Config { data: dir.path().join("relay"), ..Config::default() };
    config.server.bind = "127.0.0.1:0".parse().unwrap();
    config.http.bind = None;
    config
}

impl TestRelay {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let mut config = config(&dir);
        change(&mut config);
        Self { running: zerok_relay::start(config).await.unwrap(), dir }
    }

    pub(crate) fn address(&self) -> RelayAddr {
        self.running.address().clone()
    }
}

/// A connection of one device.
pub(crate) struct Client {
    _endpoint: Endpoint,
    pub(crate) conn: Connection,
}

/// An endpoint that speaks as the device, on loopback.
pub(crate) async fn endpoint(
    device: &Device,
    exchanges: Vec<&'static dyn SupportedKxGroup>,
    transport: QuicTransportConfig,
) -> Endpoint {
    endpoint_at("127.0.0.1:0", device, exchanges, transport).await
}

async fn endpoint_at(
    from: &str,
    device: &Device,
    exchanges: Vec<&'static dyn SupportedKxGroup>,
    transport: QuicTransportConfig,
) -> Endpoint {
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = exchanges;
    Endpoint::builder(presets::Empty)
        .crypto_provider(Arc::new(provider))
        .secret_key(SecretKey::from_bytes(&device.secret()))
        .relay_mode(RelayMode::Disabled)
        .clear_address_lookup()
        .portmapper_config(PortmapperConfig::Disabled)
        .net_report_config(NetReportConfig::minimal())
        .transport_config(transport)
        .clear_ip_transports()
        .bind_addr(from)
        .unwrap()
        .bind()
        .await
        .unwrap()
}

/// An endpoint set up as a device's is.
pub(crate) async fn honest(from: &str, device: &Device) -> Endpoint {
    let transport = QuicTransportConfig::builder()
        .max_idle_timeout(Some(VarInt::from_u32(10_000).into()))
        .keep_alive_interval(Duration::from_secs(3))
        .build();
    endpoint_at(from, device, vec![aws_lc_rs::kx_group::X25519MLKEM768], transport).await
}

/// Where iroh finds the relay.
pub(crate) fn endpoint_addr(relay: &RelayAddr) -> EndpointAddr {
    let mut addr = EndpointAddr::new(EndpointId::from_bytes(relay.id.as_bytes()).unwrap());
    for direct in &relay.addrs {
        addr = addr.with_ip_addr(*direct);
    }
    addr
}

impl Client {
    pub(crate) async fn connect(relay: &RelayAddr, device: &Device) -> Self {
        Self::over(honest("127.0.0.1:0", device).await, relay).await
    }

    /// From an address of this machine; an error if the relay refuses.
    pub(crate) async fn try_connect(
        relay: &RelayAddr,
        device: &Device,
        from: &str,
    ) -> Result<Self, ConnectError> {
        let endpoint = honest(from, device).await;
        let conn = timeout(PATIENCE, endpoint.connect(endpoint_addr(relay), ALPN)).await.unwrap()?;
        Ok(Self { _endpoint: endpoint, conn })
    }

    /// As this endpoint.
    pub(crate) async fn over(endpoint: Endpoint, relay: &RelayAddr) -> Self {
        let conn = timeout(PATIENCE, endpoint.connect(endpoint_addr(relay), ALPN)).await.unwrap().unwrap();
        Self { _endpoint: endpoint, conn }
    }

    pub(crate) async fn open(&self) -> Stream {
        let (send, recv) = self.conn.open_bi().await.unwrap();
        Stream { send, recv: Inbound { recv } }
    }

    /// A session of the chain's group, admitted; brings the roster if the relay asks for it.
    pub(crate) async fn session(&self, chain: &Chain) -> (Stream, Welcome) {
        let mut stream = self.open().await;
        stream.send(hello(chain)).await;
        loop {
            match stream.next().await {
                Message::Welcome(welcome) => return (stream, welcome),
                Message::Error(e) if e.code == Code::UnknownGroup => {
                    stream.send(RosterAppend { req: 1, statements: chain.appends.clone() }).await;
                    assert!(matches!(stream.next().await, Message::RosterOk(_)));
                    stream.send(hello(chain)).await;
                }
                other => panic!("no welcome: {other:?}"),
            }
        }
    }

    /// Takes the delivery stream of a subscription.
    pub(crate) async fn delivery(&self) -> (Inbound, Delivery) {
        let recv = timeout(PATIENCE, self.conn.accept_uni()).await.unwrap().unwrap();
        let mut inbound = Inbound { recv };
        match inbound.next().await {
            Message::Delivery(delivery) => (inbound, delivery),
            other => panic!("no delivery: {other:?}"),
        }
    }
}

pub(crate) fn hello(chain: &Chain) -> Hello {
    Hello {
        versions: vec![VERSION],
        group: chain.roster.group(),
        head: chain.roster.head(),
        last_cursor: 0,
        token: None,
    }
}

/// Both directions of a stream.
pub(crate) struct Stream {
    pub(crate) send: SendStream,
    pub(crate) recv: Inbound,
}

/// The incoming direction.
pub(crate) struct Inbound {
    pub(crate) recv: RecvStream,
}

impl Inbound {
    pub(crate) async fn try_next(&mut self) -> Option<Message> {
        let read = async {
            let mut header = [0u8; HEADER_LEN];
            self.recv.read_exact(&mut header).await.ok()?;
            let mut body = vec![0; frame_length(header).unwrap()];
            self.recv.read_exact(&mut body).await.ok()?;
            Some(Message::decode(&body).unwrap())
        };
        timeout(PATIENCE, read).await.expect("the relay says nothing")
    }

    pub(crate) async fn next(&mut self) -> Message {
        self.try_next().await.expect("the stream ended")
    }

    /// The next blob, notices of being caught up passed over.
    pub(crate) async fn blob(&mut self) -> Blob {
        loop {
            match self.next().await {
                Message::Deliver(deliver) => return deliver.blob,
                Message::CaughtUp(_) => {}
                other => panic!("no blob: {other:?}"),
            }
        }
    }

    /// All blobs up to the cursor that the relay says is all.
    pub(crate) async fn blobs_until(&mut self, cursor: u64) -> Vec<Blob> {
        let mut blobs = Vec::new();
        loop {
            match self.next().await {
                Message::Deliver(deliver) => blobs.push(deliver.blob),
                Message::CaughtUp(c) if c.cursor >= cursor => return blobs,
                Message::CaughtUp(_) => {}
                other => panic!("no blob: {other:?}"),
            }
        }
    }
}

impl Stream {
    pub(crate) async fn send(&mut self, message: impl Into<Message>) {
        self.send.write_all(&message.into().to_frame()).await.unwrap();
    }

    pub(crate) async fn raw(&mut self, bytes: &[u8]) {
        self.send.write_all(bytes).await.unwrap();
    }

    /// The next message, presence and news passed over.
    pub(crate) async fn next(&mut self) -> Message {
        loop {
            match self.recv.next().await {
                Message::Presence(_) | Message::RosterNews(_) => {}
                other => return other,
            }
        }
    }

    pub(crate) async fn error(&mut self) -> Error {
        match self.next().await {
            Message::Error(e) => e,
            other => panic!("no error: {other:?}"),
        }
    }

    pub(crate) async fn ack(&mut self) -> PushAck {
        match self.next().await {
            Message::PushAck(ack) => ack,
            other => panic!("no ack: {other:?}"),
        }
    }

    pub(crate) async fn push(&mut self, chain: &Chain, n: u32, payload: impl Into<Bytes>) -> PushAck {
        self.send(push(chain, n, payload)).await;
        self.ack().await
    }

    pub(crate) async fn subscribe(&mut self, req: u32, after_cursor: u64, credit: u64) {
        self.send(Subscribe { req, after_cursor, mode: SubscribeMode::Blobs, credit }).await;
    }
}

pub(crate) fn blob_id(n: u32) -> BlobId {
    let mut id = [0u8; 16];
    id[..4].copy_from_slice(&n.to_be_bytes());
    BlobId(id)
}

pub(crate) fn push(chain: &Chain, n: u32, payload: impl Into<Bytes>) -> Push {
    Push {
        req: n,
        blob_id: blob_id(n),
        epoch_id: chain.roster.epoch(),
        recipient: None,
        ttl_seconds: None,
        payload: payload.into(),
    }
}
