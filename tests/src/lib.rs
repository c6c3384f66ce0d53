//! What the end-to-end tests and the benches stand on: the real binaries as processes, a directory per test, and
//! the comparisons that decide whether two devices hold the same.
//!
//! Nothing here may sleep in order to synchronise: [`wait_until`] asks until a condition holds or a deadline passes.

pub mod bench;
mod binary;
mod canary;
mod ctl;
mod daemon;
mod listening;
mod member;
mod pair;
mod process;
pub mod quic;
pub mod raw;
mod relay;
mod rpc;
mod sample;
mod sandbox;
mod tree;
mod wait;

pub use binary::binary;
pub use canary::{Hit, search};
pub use ctl::{Follow, Output};
pub use daemon::Daemon;
pub use member::Member;
pub use pair::Pair;
pub use process::{Exit, Process};
pub use relay::Relay;
pub use rpc::{Api, RpcError, http_post};
pub use sample::{Sample, noise};
pub use sandbox::Sandbox;
pub use tree::{Node, Tree, wait_same};
pub use wait::{wait_for, wait_ok, wait_until};
