//! The usual scene, made for measuring: release binaries, quiet logs, and clients of the SDK.

use anyhow::Result;
use zerok_client::Client;

use crate::pair::Pair;

/// A relay and two paired daemons.
pub(super) fn pair() -> Pair {
    let quiet = [("RUST_LOG", "error")];
    let pair = Pair::with_environment(&quiet, &quiet);
    pair.converge();
    pair
}

/// SDK clients of both devices.
pub(super) async fn clients(pair: &Pair) -> Result<(Client, Client)> {
    Ok((Client::connect_to(pair.anna.socket()).await?, Client::connect_to(pair.ben.socket()).await?))
}
