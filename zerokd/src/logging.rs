//! Logs go to stderr, level by `RUST_LOG` (default info); events of other crates only from warn up, whatever it says.

use std::io::IsTerminal;

use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// Starts logging; a second call changes nothing.
pub fn start() {
    let level = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let ours_or_grave = filter_fn(|metadata| {
        metadata.target().starts_with("zerok") || *metadata.level() <= tracing::Level::WARN
    });
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(colour)
        .with_writer(std::io::stderr)
        .with_filter(ours_or_grave);
    drop(tracing_subscriber::registry().with(level).with(lines).try_init());
}
