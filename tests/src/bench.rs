//! The benches: each case beside the floor that the same machine reached in the same run, so that a result is a ratio.

mod floor;
mod folder;
mod latency;
mod report;
mod scene;
mod throughput;

pub use floor::serve_echo;
pub use folder::{FolderOptions, folder};
pub use latency::{LatencyOptions, latency};
pub use report::Report;
pub use throughput::{ThroughputOptions, throughput};
