//! Rows with a value, its floor and the aim, as a table and as JSON.

use std::fmt;
use std::process::Command;
use std::time::Duration;

use serde::Serialize;

/// One measured case.
#[derive(Debug, Clone, Serialize)]
struct Row {
    case: String,
    value: f64,
    unit: &'static str,
    floor: Option<f64>,
    floor_is: Option<String>,
    aim: Option<String>,
}

/// What a bench measured.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    bench: &'static str,
    commit: String,
    cores: usize,
    kernel: String,
    rows: Vec<Row>,
}

impl Report {
    /// An empty one, stamped with the commit and the machine.
    #[must_use]
    pub fn new(bench: &'static str) -> Self {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let commit = output("git", &["rev-parse", "--short", "HEAD"]);
        Self { bench, commit, cores, kernel: output("uname", &["-sr"]), rows: Vec::new() }
    }

    pub(super) fn row(&mut self, case: impl Into<String>, value: f64, unit: &'static str) -> &mut Self {
        self.rows.push(Row { case: case.into(), value, unit, floor: None, floor_is: None, aim: None });
        self
    }

    pub(super) fn floor(&mut self, floor: f64, is: impl Into<String>) -> &mut Self {
        if let Some(row) = self.rows.last_mut() {
            (row.floor, row.floor_is) = (Some(floor), Some(is.into()));
        }
        self
    }

    pub(super) fn aim(&mut self, aim: impl Into<String>) -> &mut Self {
        if let Some(row) = self.rows.last_mut() {
            row.aim = Some(aim.into());
        }
        self
    }

    /// As one JSON document.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "## {} ({}, {} cores, {})\n", self.bench, self.commit, self.cores, self.kernel)?;
        writeln!(f, "| case | value | floor | ratio | aim |\n|---|---|---|---|---|")?;
        for row in &self.rows {
            write!(f, "| {} | {} {} |", row.case, number(row.value), row.unit)?;
            match (row.floor, &row.floor_is) {
                (Some(floor), Some(is)) => {
                    // A rate is better above, a time below: the ratio says how many times the floor's work it costs.
                    let ratio = if row.unit.ends_with("/s") { floor / row.value } else { row.value / floor };
                    write!(f, " {} ({is}) | {ratio:.2} |", number(floor))?;
                }
                _ => write!(f, " | |")?,
            }
            writeln!(f, " {} |", row.aim.as_deref().unwrap_or(""))?;
        }
        Ok(())
    }
}

fn number(value: f64) -> String {
    if value >= 1000.0 {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.3}")
    }
}

fn output(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().map(|o| o.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).trim().to_owned()
}

/// The value below which this share of the samples lies.
pub(super) fn percentile(samples: &mut [Duration], share: f64) -> Duration {
    samples.sort_unstable();
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a sample's index"
    )]
    let at = ((samples.len() as f64 * share) as usize).min(samples.len().saturating_sub(1));
    samples.get(at).copied().unwrap_or_default()
}

/// Milliseconds, for a row.
pub(super) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// How many a second.
pub(super) fn rate(count: usize, time: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    let count = count as f64;
    count / time.as_secs_f64()
}
