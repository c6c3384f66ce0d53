//! The relay from outside: real QUIC connections on loopback, and the binary itself.

#![expect(clippy::unwrap_used, reason = "in a test what cannot be is a failure")]

mod binary;
mod blobs;
mod chunks;
mod client;
mod configuration;
mod devices;
mod forks;
mod handshakes;
mod http;
mod invites;
mod limits;
mod mailboxes;
mod retention;
mod roster;
mod session;
mod storage;
mod systemd;
