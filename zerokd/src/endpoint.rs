//! The daemon's QUIC endpoint: direct addresses only, X25519MLKEM768 only, nothing published or looked up.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use iroh::endpoint::{Connection, NetReportConfig, PortmapperConfig, QuicTransportConfig, VarInt, presets};
use iroh::{Endpoint, EndpointAddr, EndpointId, RelayMode, SecretKey};
use zerok_core::DeviceKeys;
use zerok_protocol::{ALPN, RelayAddr};

/// How long a connection attempt may take.
const CONNECT: Duration = Duration::from_secs(10);

/// Why the endpoint could not be made, or a relay not be reached.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EndpointError {
    /// The UDP socket.
    #[error("network: cannot bind {addr}: {reason}")]
    Bind {
        /// Which address.
        addr: SocketAddr,
        /// The system's words.
        reason: String,
    },
    /// Nobody answered in time.
    #[error("the relay did not answer within {} s", CONNECT.as_secs())]
    Timeout,
    /// The handshake failed.
    #[error("the relay could not be reached: {0}")]
    Connect(String),
    /// The relay's id is no Ed25519 key.
    #[error("the relay's id is not a valid key")]
    Id,
}

/// Binds the endpoint with the device's own key, which is its identity towards relays.
pub(crate) async fn bind(keys: &DeviceKeys, addr: SocketAddr) -> Result<Endpoint, EndpointError> {
    let failed = |reason: String| EndpointError::Bind { addr, reason };
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.kx_groups = vec![rustls::crypto::aws_lc_rs::kx_group::X25519MLKEM768];
    Endpoint::builder(presets::Empty)
        .crypto_provider(Arc::new(provider))
        .secret_key(SecretKey::from_bytes(keys.ed25519_seed().expose()))
        .relay_mode(RelayMode::Disabled)
        .clear_address_lookup()
        .portmapper_config(PortmapperConfig::Disabled)
        .net_report_config(NetReportConfig::minimal())
        .transport_config(transport())
        .clear_ip_transports()
        .bind_addr(addr)
        .map_err(|e| failed(format!("{e:#}")))?
        .bind()
        .await
        .map_err(|e| failed(format!("{e:#}")))
}

/// A dead relay is noticed within 10 s; a stream's window stays at the default, because larger ones trip a defect of
/// noq-proto 1.4.0 (iroh-notes §0.1).
fn transport() -> QuicTransportConfig {
    let idle = Duration::from_secs(10);
    QuicTransportConfig::builder()
        .receive_window(VarInt::from_u32(16 << 20))
        .max_idle_timeout(Some(idle.try_into().expect("10 s fit")))
        .default_path_max_idle_timeout(Duration::from_secs(8))
        .keep_alive_interval(Duration::from_secs(3))
        .default_path_keep_alive_interval(Duration::from_secs(3))
        .max_concurrent_uni_streams(VarInt::from_u32(64))
        .max_concurrent_bidi_streams(VarInt::from_u32(64))
        .datagram_receive_buffer_size(None)
        .build()
}

/// Connects to a relay; its id is proven by the handshake.
pub(crate) async fn connect(endpoint: &Endpoint, relay: &RelayAddr) -> Result<Connection, EndpointError> {
    let id = EndpointId::from_bytes(relay.id.as_bytes()).map_err(|_| EndpointError::Id)?;
    let target = relay.addrs.iter().fold(EndpointAddr::new(id), |target, addr| target.with_ip_addr(*addr));
    match tokio::time::timeout(CONNECT, endpoint.connect(target, ALPN)).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(e)) => Err(EndpointError::Connect(format!("{e:#}"))),
        Err(_) => Err(EndpointError::Timeout),
    }
}
