//! The benches: each case beside the floor that the same machine reached in the same run, so that a result is a ratio.

mod floor;
mod folder;
mod latency;
mod machine;
mod peer;
mod relay;
mod report;
mod scene;
mod throughput;

pub use folder::{FolderOptions, folder};
pub use latency::{LatencyOptions, latency};
pub use peer::serve_peer;
pub use relay::{RelayOptions, relay};
pub use report::Report;
pub use throughput::{ThroughputOptions, throughput};
