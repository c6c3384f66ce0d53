//! What is counted. No label ever carries an id.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use zerok_protocol::Code;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct CodeLabel {
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct LimitLabel {
    limit: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ReasonLabel {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct KindLabel {
    kind: &'static str,
}

/// The counters of one relay.
pub(crate) struct Metrics {
    registry: Registry,
    pub(crate) connections: Gauge,
    pub(crate) connections_total: Counter,
    pub(crate) retries: Counter,
    pub(crate) sessions: Gauge,
    pub(crate) sessions_total: Counter,
    pub(crate) pushes: Counter,
    pub(crate) pulls: Counter,
    pub(crate) deliveries: Counter,
    pub(crate) signals: Counter,
    pub(crate) unread: Counter,
    pub(crate) chunks_in: Counter,
    pub(crate) chunks_out: Counter,
    pub(crate) bytes_in: Counter,
    pub(crate) bytes_out: Counter,
    pub(crate) commit_seconds: Histogram,
    pub(crate) delivery_seconds: Histogram,
    groups: Gauge,
    blobs: Gauge,
    blob_bytes: Gauge,
    chunk_bytes: Gauge,
    errors: Family<CodeLabel, Counter>,
    rate_limited: Family<LimitLabel, Counter>,
    rejected: Family<ReasonLabel, Counter>,
    damaged: Family<KindLabel, Counter>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        // 50 µs to 1.6 s.
        let latency = || Histogram::new(exponential_buckets(0.000_05, 2.0, 16));
        let mut metrics = Self {
            registry: Registry::with_prefix("zerok_relay"),
            connections: Gauge::default(),
            connections_total: Counter::default(),
            retries: Counter::default(),
            sessions: Gauge::default(),
            sessions_total: Counter::default(),
            pushes: Counter::default(),
            pulls: Counter::default(),
            deliveries: Counter::default(),
            signals: Counter::default(),
            unread: Counter::default(),
            chunks_in: Counter::default(),
            chunks_out: Counter::default(),
            bytes_in: Counter::default(),
            bytes_out: Counter::default(),
            commit_seconds: latency(),
            delivery_seconds: latency(),
            groups: Gauge::default(),
            blobs: Gauge::default(),
            blob_bytes: Gauge::default(),
            chunk_bytes: Gauge::default(),
            errors: Family::default(),
            rate_limited: Family::default(),
            rejected: Family::default(),
            damaged: Family::default(),
        };
        metrics.register();
        // What alerts watch is there from the start: Prometheus sees no increase in what begins with 1.
        for code in [Code::GroupQuotaExceeded, Code::Internal] {
            drop(metrics.errors.get_or_create(&CodeLabel { code: code.number() }));
        }
        for kind in ["blob", "chunk"] {
            drop(metrics.damaged.get_or_create(&KindLabel { kind }));
        }
        metrics
    }

    fn register(&mut self) {
        let r = &mut self.registry;
        r.register("connections", "Open connections", self.connections.clone());
        // The encoder appends `_total` to counters.
        r.register("connections_accepted", "Connections accepted", self.connections_total.clone());
        r.register("handshake_retries", "Addresses asked to prove themselves", self.retries.clone());
        r.register("sessions", "Open sessions", self.sessions.clone());
        r.register("sessions_admitted", "Sessions admitted", self.sessions_total.clone());
        r.register("pushes", "Blobs stored or repeated", self.pushes.clone());
        r.register("pulls", "Pages asked for", self.pulls.clone());
        r.register("deliveries", "Blobs delivered", self.deliveries.clone());
        r.register("signals", "Signals taken", self.signals.clone());
        r.register("streams_unread", "Streams ended because nobody read them", self.unread.clone());
        r.register("chunks_in", "Chunks put", self.chunks_in.clone());
        r.register("chunks_out", "Chunks served", self.chunks_out.clone());
        r.register("bytes_in", "Bytes of frames received", self.bytes_in.clone());
        r.register("bytes_out", "Bytes of frames sent", self.bytes_out.clone());
        r.register("commit_seconds", "Time of a group commit", self.commit_seconds.clone());
        r.register("delivery_seconds", "From commit to written", self.delivery_seconds.clone());
        r.register("groups", "Groups stored", self.groups.clone());
        r.register("blobs", "Blobs stored", self.blobs.clone());
        r.register("blob_bytes", "Bytes of blobs stored", self.blob_bytes.clone());
        r.register("chunk_bytes", "Bytes of chunks cached", self.chunk_bytes.clone());
        r.register("errors", "Refusals by code", self.errors.clone());
        r.register("rate_limited", "Refusals and waits by limit", self.rate_limited.clone());
        r.register("rejected_handshakes", "Connections not accepted", self.rejected.clone());
        r.register(
            "damaged_items",
            "Stored blobs and chunks found damaged and dropped",
            self.damaged.clone(),
        );
    }

    pub(crate) fn error(&self, code: Code) {
        self.errors.get_or_create(&CodeLabel { code: code.number() }).inc();
    }

    pub(crate) fn limited(&self, limit: &'static str) {
        self.rate_limited.get_or_create(&LimitLabel { limit }).inc();
    }

    /// Items whose bytes were not those that were stored, and which are dropped.
    pub(crate) fn damaged(&self, kind: &'static str, items: u64) {
        self.damaged.get_or_create(&KindLabel { kind }).inc_by(items);
    }

    pub(crate) fn rejected(&self, reason: &'static str) {
        self.rejected.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// Everything as Prometheus text, with what is stored at this moment.
    pub(crate) fn encode(&self, totals: crate::store::Totals, chunk_bytes: u64) -> String {
        let gauge = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        self.groups.set(gauge(totals.groups));
        self.blobs.set(gauge(totals.blobs));
        self.blob_bytes.set(gauge(totals.bytes));
        self.chunk_bytes.set(gauge(chunk_bytes));
        let mut text = String::new();
        match prometheus_client::encoding::text::encode(&mut text, &self.registry) {
            Ok(()) => text,
            Err(_) => String::new(),
        }
    }
}

/// Counts something as long as it lives.
pub(crate) struct Counted(Gauge);

impl Counted {
    pub(crate) fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}
