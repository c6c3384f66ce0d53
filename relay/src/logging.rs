//! The log on stderr: this program's events by `RUST_LOG`, those of other crates only from warnings on and with
//! everything taken out that may be an id or an address.

use std::fmt;

use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormattedFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, filter};

/// Starts logging to stderr.
pub(crate) fn init() {
    tracing_subscriber::registry().with(layer(filter(), std::io::stderr)).init();
}

fn layer<S, W>(filter: EnvFilter, out: W) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let foreign = filter::filter_fn(|meta| is_ours(meta) || *meta.level() <= Level::WARN);
    tracing_subscriber::fmt::layer()
        .with_writer(out)
        .with_ansi(false)
        .event_format(Redacted)
        .with_filter(foreign)
        .and_then(filter)
}

fn filter() -> EnvFilter {
    EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env_lossy()
}

fn is_ours(meta: &Metadata<'_>) -> bool {
    meta.target().starts_with("zerok_")
}

struct Redacted;

impl<S, N> FormatEvent<S, N> for Redacted
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let meta = event.metadata();
        SystemTime.format_time(&mut out)?;
        write!(out, " {:>5} {}: ", meta.level(), meta.target())?;
        for span in context.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            if is_ours(span.metadata()) {
                let fields = span.extensions();
                let fields = fields.get::<FormattedFields<N>>().map_or("", |f| f.fields.as_str());
                write!(out, "{}{{{fields}}}: ", span.name())?;
            }
        }
        let mut fields = String::new();
        context.format_fields(Writer::new(&mut fields), event)?;
        if is_ours(meta) { writeln!(out, "{fields}") } else { writeln!(out, "{}", redact(&fields)) }
    }
}

/// Replaces every word with a run of hexadecimal digits, dots and colons that may be part of an id or an address.
fn redact(text: &str) -> String {
    let hidden = |word: &str| {
        let runs = word.split(|c: char| !c.is_ascii_hexdigit() && c != '.' && c != ':');
        runs.into_iter().any(|run| {
            let digits = run.bytes().any(|b| b.is_ascii_digit());
            let net = run.bytes().filter(|b| *b == b':').count() >= 2;
            run.len() >= 8 || digits && (run.len() >= 7 || net)
        })
    };
    text.split(' ').map(|word| if hidden(word) { "[redacted]" } else { word }).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn other_crates_are_heard_from_warnings_on_and_without_addresses() {
        let kept = Kept::default();
        let out = kept.clone();
        let subscriber =
            tracing_subscriber::registry().with(layer(EnvFilter::new("trace"), move || out.clone()));
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(target: "iroh::socket", "bound");
            tracing::warn!(target: "iroh::socket", remote = "127.0.0.1:4433", id = %"ab12cd34ef", "path lost");
            tracing::warn!(target: "iroh::socket", remote = "[::1]:443", id = %"abcdefabcd", "faded: bead cafe");
            tracing::debug!(target: "zerok_relay::session", count = 12_345_678, "ours");
        });
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        assert!(!text.contains("bound") && !text.contains("127.0.0.1") && !text.contains("ab12"), "{text}");
        assert!(
            !text.contains("::1") && !text.contains("abcdef") && text.contains("faded: bead cafe"),
            "{text}"
        );
        assert!(text.contains("path lost") && text.contains("12345678"), "{text}");
    }
}
