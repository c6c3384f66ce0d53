//! The relay alone: a `zerok-relay` process and raw clients in this one, each case beside its floor.

mod board;
mod chunks;
mod fanout;
mod idle;
mod latency;
mod million;
mod push;
mod pusher;
mod rows;
mod scene;
mod soak;

use anyhow::Result;
use clap::{Args, ValueEnum};

use super::report::Report;

/// What to measure.
#[derive(Debug, Clone, Args)]
pub struct RelayOptions {
    /// Only these cases; without it all but soak.
    #[arg(long, value_delimiter = ',')]
    case: Vec<Case>,
    /// A tenth of the counts and times: for a look, not for a figure.
    #[arg(long)]
    quick: bool,
    /// How long the soak lasts.
    #[arg(long, default_value_t = 10)]
    minutes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Case {
    Push,
    Latency,
    Fanout,
    Chunks,
    Idle,
    Million,
    Soak,
}

impl RelayOptions {
    fn cases(&self) -> Vec<Case> {
        if self.case.is_empty() {
            Case::value_variants().iter().copied().filter(|case| *case != Case::Soak).collect()
        } else {
            self.case.clone()
        }
    }

    /// So many, or a tenth of it.
    fn count(&self, full: usize) -> usize {
        if self.quick { full / 10 } else { full }
    }
}

/// Runs it.
///
/// # Errors
/// The relay does not do what it should.
pub async fn relay(options: &RelayOptions) -> Result<Report> {
    let mut report = Report::new("relay");
    for case in options.cases() {
        eprintln!("{case:?}…");
        match case {
            Case::Push => push::run(&mut report, options).await?,
            Case::Latency => latency::run(&mut report, options).await?,
            Case::Fanout => fanout::run(&mut report, options).await?,
            Case::Chunks => chunks::run(&mut report, options).await?,
            Case::Idle => idle::run(&mut report, options).await?,
            Case::Million => million::run(&mut report, options).await?,
            Case::Soak => soak::run(&mut report, options).await?,
        }
    }
    Ok(report)
}
