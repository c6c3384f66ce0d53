//! The local API of 0k-Sync: the RPC traits that zerokd serves, their types and errors, where the socket is, and
//! the Rust SDK.
//!
//! This crate is *not* allowed to depend on any other crate of this workspace: the local API must not move when the
//! wire protocol does. It makes no runtime and opens no file; everything goes through the daemon's socket.
//!
//! ```no_run
//! # async fn example() -> Result<(), zerok_client::Error> {
//! use zerok_client::{Client, Push, StartAt};
//!
//! let client = Client::connect().await?;
//! let pushed = client.push(Push::new("notes", b"hello".as_slice())).await?;
//! println!("kept as {}", pushed.id);
//!
//! let mut entries = client.entries("notes", StartAt::Beginning);
//! while let Ok(batch) = entries.next().await {
//!     for entry in &batch.entries {
//!         println!("{}: {} bytes", entry.id, entry.data.as_bytes().len());
//!     }
//! }
//! # Ok(()) }
//! ```

#[cfg(any(feature = "server", feature = "client"))]
pub mod api;
mod error;
mod limits;
pub mod socket;
pub mod types;

#[cfg(feature = "client")]
mod client;
#[cfg(feature = "client")]
mod connection;
#[cfg(feature = "client")]
mod post;
#[cfg(feature = "client")]
mod push;
#[cfg(feature = "client")]
mod subscription;

#[cfg(feature = "client")]
pub use client::{Client, Error};
pub use error::{ApiError, ErrorKind};
/// What the methods of [`api`] fail with; [`Error`] by `From`.
#[cfg(feature = "client")]
pub use jsonrpsee::core::ClientError as RpcError;
pub use limits::*;
#[cfg(feature = "client")]
pub use push::{Push, idempotency_key};
#[cfg(feature = "client")]
pub use subscription::{Entries, Events, StartAt};

/// The guide's Rust compiles.
#[cfg(all(doctest, feature = "client"))]
#[doc = include_str!("../README.md")]
struct Guide;
