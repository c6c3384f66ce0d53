//! The relay from outside: real QUIC connections on loopback, and the binary itself.

#![expect(clippy::unwrap_used, reason = "in a test what cannot be is a failure")]

mod attacks;
mod binary;
mod blobs;
mod chunks;
mod client;
mod configuration;
mod devices;
mod forks;
mod handshakes;
mod health;
mod hostile;
mod http;
mod invites;
mod limits;
mod mailboxes;
mod metrics;
mod redaction;
mod reload;
mod retention;
mod roster;
#[path = "../../protocol/tests/samples/mod.rs"]
mod samples;
mod session;
mod storage;
mod systemd;
