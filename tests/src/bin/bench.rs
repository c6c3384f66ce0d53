//! `bench latency|throughput|relay|folder`: how fast, beside how fast this machine could be. Wants the release binaries:
//! `cargo build --release --workspace --bins` first.

use anyhow::Result;
use clap::{Parser, Subcommand};
use zerok_tests::bench::{self, FolderOptions, LatencyOptions, RelayOptions, ThroughputOptions};

#[derive(Parser)]
#[command(about, version)]
struct Arguments {
    /// Prints JSON instead of a table.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Bench {
    /// Push → received by a subscriber on the other device.
    Latency(LatencyOptions),
    /// Blobs a second, one a call and many a call.
    Throughput(ThroughputOptions),
    /// The relay alone, with raw clients. Wants only the release `zerok-relay`.
    Relay(RelayOptions),
    /// The folder cases.
    Folder(FolderOptions),
    /// The other end of the floors of QUIC; not for people.
    #[command(hide = true)]
    Peer,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let report = match arguments.bench {
        Bench::Latency(options) => runtime.block_on(bench::latency(options))?,
        Bench::Throughput(options) => runtime.block_on(bench::throughput(options))?,
        Bench::Relay(options) => runtime.block_on(bench::relay(&options))?,
        Bench::Folder(options) => bench::folder(&options)?,
        Bench::Peer => return runtime.block_on(bench::serve_peer()),
    };
    if arguments.json {
        println!("{}", report.to_json());
    } else {
        println!("{report}");
    }
    Ok(())
}
