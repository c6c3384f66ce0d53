//! The QUIC endpoint: one fixed UDP address, post-quantum key exchange only, nothing published or looked up.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use iroh::endpoint::{BindError, PortmapperConfig, QuicTransportConfig, VarInt, presets};
use iroh::{Endpoint, NetReportConfig, RelayMode, SecretKey};
use noq::congestion::{Bbr3Config, CubicConfig};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use zerok_protocol::ALPN;

use crate::config::Congestion;

/// noq-proto 1.4.0 closes a connection whose reader leaves some 2,000 small chunks unread; larger windows meet that
/// sooner and gain nothing (iroh-notes, 0.1).
const STREAM_WINDOW: u32 = 1_250_000;
/// What one connection may have in flight over all its streams.
const CONNECTION_WINDOW: u32 = 8 << 20;

/// Why the endpoint is not there.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The address is taken, or not one of this machine.
    #[error(
        "cannot listen on {addr} (UDP): is it free, and this machine's? Another is chosen with server.bind (--bind)"
    )]
    Bind {
        /// The address of `server.bind`.
        addr: SocketAddr,
        /// Why.
        #[source]
        source: BindError,
    },
    /// The address is none that can be bound.
    #[error("{addr} cannot be bound")]
    Address {
        /// The address of `server.bind`.
        addr: SocketAddr,
    },
}

pub(crate) async fn bind(
    addr: SocketAddr,
    key: SecretKey,
    streams: u32,
    congestion: Congestion,
) -> Result<Endpoint, EndpointError> {
    Endpoint::builder(presets::Empty)
        .crypto_provider(post_quantum_only())
        .secret_key(key)
        .alpns(vec![ALPN.to_vec()])
        .relay_mode(RelayMode::Disabled)
        .clear_address_lookup()
        .portmapper_config(PortmapperConfig::Disabled)
        .net_report_config(NetReportConfig::minimal())
        .transport_config(transport(streams, congestion))
        .clear_ip_transports()
        .bind_addr(addr)
        .map_err(|_| EndpointError::Address { addr })?
        .bind()
        .await
        .map_err(|source| EndpointError::Bind { addr, source })
}

/// aws-lc with X25519MLKEM768 alone: both ends are ours, so there is nothing to fall back to.
fn post_quantum_only() -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = vec![aws_lc_rs::kx_group::X25519MLKEM768];
    Arc::new(provider)
}

fn transport(streams: u32, congestion: Congestion) -> QuicTransportConfig {
    let idle = VarInt::from_u32(10_000).into();
    QuicTransportConfig::builder()
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW))
        .max_concurrent_bidi_streams(VarInt::from_u32(streams))
        // Devices open none; iroh needs no stream of its own.
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .max_idle_timeout(Some(idle))
        .default_path_max_idle_timeout(Duration::from_secs(8))
        // Devices keep their connections alive every 3 s, and the answer to that shows each side that the other is there; a
        // thousand idle devices are half as much work as when both ask. So the relay's own interval stays iroh's 5 s,
        // which is also the longest that it takes.
        .datagram_receive_buffer_size(None)
        .congestion_controller_factory(match congestion {
            Congestion::Cubic => Arc::new(CubicConfig::default()),
            Congestion::Bbr3 => Arc::new(Bbr3Config::default()),
        })
        .build()
}

#[cfg(test)]
mod tests {
    use std::any::Any;

    use iroh::EndpointAddr;
    use iroh::endpoint::PathId;
    use noq::congestion::{Bbr3, Cubic};

    use super::*;

    /// The controller of a connection that such an endpoint has.
    async fn controller(congestion: Congestion) -> Box<dyn Any> {
        let loopback = "127.0.0.1:0".parse().unwrap();
        let key = |n| SecretKey::from_bytes(&[n; 32]);
        let relay = bind(loopback, key(1), 1, congestion).await.unwrap();
        let device = bind(loopback, key(2), 1, Congestion::Cubic).await.unwrap();
        let addr = EndpointAddr::new(relay.id()).with_ip_addr(relay.bound_sockets()[0]);
        let accepting = async { relay.accept().await.unwrap().accept().unwrap().await.unwrap() };
        let (_near, far) = tokio::join!(async { device.connect(addr, ALPN).await.unwrap() }, accepting);
        far.congestion_state(PathId::ZERO).unwrap().into_any()
    }

    #[tokio::test]
    async fn the_controller_is_the_configured_one() {
        assert!(controller(Congestion::Cubic).await.is::<Cubic>());
        assert!(controller(Congestion::Bbr3).await.is::<Bbr3>());
    }
}
