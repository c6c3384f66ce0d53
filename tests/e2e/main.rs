//! End-to-end tests with real processes: a relay, daemons with homes of their own, and `zerokctl`, on loopback.
//! Each test has a sandbox of its own and ends within seconds.

mod api;
mod blobs;
mod canary;
mod cli;
mod crash;
mod folders;
mod pairing;
mod relay;
mod sdk;
