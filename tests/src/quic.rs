//! A bare QUIC endpoint with the relay's and the daemon's settings: for clients that do not behave, and for the floor
//! of the benches.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use iroh::endpoint::{Connection, NetReportConfig, PortmapperConfig, QuicTransportConfig, presets};
use iroh::{Endpoint, EndpointAddr, EndpointId, RelayMode, SecretKey};

/// An endpoint on loopback, on a free port.
///
/// # Errors
/// The socket cannot be bound.
pub async fn endpoint(key: [u8; 32], alpn: &[u8]) -> Result<Endpoint> {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.kx_groups = vec![rustls::crypto::aws_lc_rs::kx_group::X25519MLKEM768];
    let transport = QuicTransportConfig::builder()
        .max_idle_timeout(Some(Duration::from_secs(10).try_into().context("an idle timeout")?))
        .keep_alive_interval(Duration::from_secs(3))
        .default_path_max_idle_timeout(Duration::from_secs(8))
        .default_path_keep_alive_interval(Duration::from_secs(3))
        .datagram_receive_buffer_size(None)
        .build();
    Endpoint::builder(presets::Empty)
        .crypto_provider(Arc::new(provider))
        .secret_key(SecretKey::from_bytes(&key))
        .alpns(vec![alpn.to_vec()])
        .relay_mode(RelayMode::Disabled)
        .clear_address_lookup()
        .portmapper_config(PortmapperConfig::Disabled)
        .net_report_config(NetReportConfig::minimal())
        .transport_config(transport)
        .clear_ip_transports()
        .bind_addr("127.0.0.1:0")?
        .bind()
        .await
        .context("binding an endpoint")
}

/// Connects to a key at an address.
///
/// # Errors
/// Nobody answers in time, or not under that key.
pub async fn connect(
    endpoint: &Endpoint,
    id: &[u8; 32],
    address: SocketAddr,
    alpn: &[u8],
) -> Result<Connection> {
    let target = EndpointAddr::new(EndpointId::from_bytes(id)?).with_ip_addr(address);
    tokio::time::timeout(Duration::from_secs(10), endpoint.connect(target, alpn))
        .await
        .context("no answer in time")?
        .context("connecting")
}
