//! `zerok-relay check`: is what is stored whole?

use std::process::ExitCode;

use clap::Args;
use serde_json::json;
use zerok_relay::{CheckOptions, Config, Damage, DamageKind, Report};

use super::amount::{Bytes, count};

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Read every file of the chunk cache, too
    #[arg(long)]
    chunks: bool,
    /// Drop what is damaged, for devices to send it again; the relay must be stopped
    #[arg(long)]
    repair: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(super) fn run(&self, config: &Config) -> anyhow::Result<ExitCode> {
        let options = CheckOptions { chunks: self.chunks, repair: self.repair };
        let report = match zerok_relay::check(config, options) {
            Ok(report) => report,
            // 1 says that something is damaged: not known here.
            Err(e) => {
                eprintln!("zerok-relay: {:#}", anyhow::Error::new(e));
                return Ok(ExitCode::from(2));
            }
        };
        let clean = report.is_clean();
        if self.json {
            let mut object = json!(report);
            object["clean"] = clean.into();
            println!("{object}");
        } else {
            tell(&report, self.repair);
        }
        Ok(if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn tell(report: &Report, repair: bool) {
    let blobs = count(report.blobs, "blob");
    let chunks = report.chunks.map(|n| format!(", {}", count(n, "chunk"))).unwrap_or_default();
    let looked_at =
        format!("{}, {blobs} ({}){chunks}", count(report.groups, "group"), Bytes(report.blob_bytes));
    if report.damage.is_empty() {
        return println!("{looked_at}: no damage");
    }
    println!("{looked_at}");
    for damage in &report.damage {
        println!("{}: {}", if damage.repaired { "repaired" } else { "damaged" }, name(damage));
    }
    if report.is_clean() {
        println!("Devices send again what was dropped.");
    } else if repair || report.damage.iter().any(|damage| damage.kind == DamageKind::Database) {
        println!(
            "Stop the relay and restore a backup (`zerok-relay restore FILE`), or move relay.db away: \
             devices fill a new one."
        );
    } else {
        println!("Stop the relay and run `zerok-relay check --repair`.");
    }
}

fn name(damage: &Damage) -> String {
    let n = damage.count;
    match damage.kind {
        DamageKind::Database => {
            format!(
                "the database itself: {}",
                damage.first.as_deref().unwrap_or("see `PRAGMA integrity_check`")
            )
        }
        DamageKind::Orphans => format!("{} of no group", count(n, "row")),
        DamageKind::Rosters => format!("{}: the roster does not hold", count(n, "group")),
        DamageKind::Blobs => format!("{}: not the bytes that were pushed", count(n, "blob")),
        DamageKind::Counters => format!("{}: wrong counters", count(n, "group")),
        DamageKind::Chunks => format!("{}: not the bytes that were put", count(n, "chunk")),
    }
}
