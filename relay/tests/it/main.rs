//! The relay from outside: real QUIC connections on loopback, and the binary itself.

mod binary;
mod blobs;
mod chunks;
mod client;
mod devices;
mod mailboxes;
mod roster;
