//! End-to-end tests with real processes: a relay, daemons with homes of their own, and `zerokctl`, on loopback.
//! Each test has a sandbox of its own and ends within seconds.

#![expect(clippy::unwrap_used, reason = "a test fails by it, helper functions of a test too")]

mod api;
mod blobs;
mod canary;
mod cli;
mod crash;
mod folders;
mod hostile;
mod pairing;
mod readme;
mod relay;
mod sdk;
