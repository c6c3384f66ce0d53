//! Raw protocol clients: devices that sign rosters and say to a relay what they are told to, without a daemon.

mod chain;
mod client;
mod frames;

pub use chain::{Chain, Device};
pub use client::{Client, Session};
pub use frames::Frames;
