//! `zerok-relay health`: GET /health of the relay on this machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use clap::Args;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;
use zerok_relay::Config;

/// Most bytes of an answer that are read.
const ANSWER: usize = 64 << 10;

#[derive(Debug, Args)]
pub(crate) struct Health {
    /// How long to wait for the answer
    #[arg(long, value_name = "SECONDS", default_value_t = 3)]
    timeout: u64,
}

impl Health {
    pub(super) fn run(&self, config: &Config) -> anyhow::Result<ExitCode> {
        let addr = local(config.http.bind.context("http.bind is none: there is no /health to ask")?);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        // Inside the runtime: a timer outside of one panics.
        let asked = runtime.block_on(async { timeout(Duration::from_secs(self.timeout), ask(addr)).await });
        let (healthy, body) = asked
            .with_context(|| format!("http://{addr}/health did not answer in {} s", self.timeout))?
            .with_context(|| format!("http://{addr}/health"))?;
        println!("{}", body.trim_end());
        Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Where a relay that is bound there can be reached from its own machine.
fn local(bind: SocketAddr) -> SocketAddr {
    let ip = match bind.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, bind.port())
}

async fn ask(addr: SocketAddr) -> anyhow::Result<(bool, String)> {
    let stream = TcpStream::connect(addr).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request =
        Request::get("/health").header(header::HOST, addr.to_string()).body(Empty::<Bytes>::new())?;
    let asking = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = match Limited::new(response.into_body(), ANSWER).collect().await {
            Ok(body) => body.to_bytes(),
            Err(e) => bail!(e),
        };
        Ok((status.is_success(), String::from_utf8_lossy(&body).into_owned()))
    };
    tokio::pin!(asking);
    tokio::select! {
        answer = &mut asking => answer,
        // The answer may be in already: a relay may close right behind it.
        _ = connection => asking.await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_on_all_interfaces_is_asked_on_loopback() {
        assert_eq!(local("0.0.0.0:8080".parse().unwrap()), "127.0.0.1:8080".parse().unwrap());
        assert_eq!(local("[::]:8080".parse().unwrap()), "[::1]:8080".parse().unwrap());
        assert_eq!(local("192.0.2.1:1".parse().unwrap()), "192.0.2.1:1".parse().unwrap());
    }
}
