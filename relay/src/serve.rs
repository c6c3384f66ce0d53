//! Running the relay until a signal ends it. SIGHUP reads the configuration again.

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use zerok_relay::{Config, Running};

use crate::address_file;
use crate::args::Args;

/// Runs the relay until SIGTERM or SIGINT.
#[tokio::main]
pub(crate) async fn serve(args: &Args, config: Config) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("signals")?;
    let mut hangup = signal(SignalKind::hangup()).context("signals")?;
    let own_address = config.data.join("relay.address");
    let relay = zerok_relay::start(config).await?;
    // The first is for `zerok-relay invite`.
    for path in [Some(&own_address), args.address_file.as_ref()].into_iter().flatten() {
        if let Err(e) = address_file::write(path, relay.address()) {
            relay.stop().await;
            return Err(e).with_context(|| format!("cannot write {}", path.display()));
        }
    }
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => reload(&relay, args),
            () = relay.closed() => anyhow::bail!("the relay ended by itself; the log says why"),
        }
    }
    tokio::select! {
        () = relay.stop() => Ok(()),
        _ = terminate.recv() => anyhow::bail!("stopped at once"),
        _ = interrupt.recv() => anyhow::bail!("stopped at once"),
    }
}

/// All or nothing: a configuration that is wrong in one place changes nothing.
fn reload(relay: &Running, args: &Args) {
    let reloaded = args.config().map_err(anyhow::Error::new).and_then(|(config, unknown)| {
        args.warn_of(&unknown);
        Ok(relay.reload(&config)?)
    });
    match reloaded {
        Ok(waiting) => {
            tracing::info!("configuration read again");
            if !waiting.is_empty() {
                tracing::warn!(
                    "these keys take effect when the relay is started again: {}",
                    waiting.join(", ")
                );
            }
        }
        Err(e) => tracing::error!("the configuration stays as it is: {e:#}"),
    }
}
