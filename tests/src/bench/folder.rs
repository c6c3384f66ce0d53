//! The folder cases: small and large files, first sync and edits, and what an idle daemon costs.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::json;

use super::machine::{memory, processor_time};
use super::report::{Report, ms, percentile};
use super::{floor, scene};
use crate::pair::Pair;
use crate::tree::Tree;

/// What to measure.
#[derive(Debug, Clone, Args)]
pub struct FolderOptions {
    /// A share of the full sizes and counts, as in 0.1.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Only these cases: save, small, medium, large, idle.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

impl FolderOptions {
    fn wants(&self, case: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == case)
    }

    fn scaled(&self, full: usize) -> usize {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count"
        )]
        let scaled = (full as f64 * self.scale) as usize;
        scaled.max(1)
    }
}

/// How long a case may take before it counts as failed.
const PATIENCE: Duration = Duration::from_secs(180);

/// Runs it.
///
/// # Errors
/// The scene does not work, or a case does not end.
pub fn folder(options: &FolderOptions) -> Result<Report> {
    let mut report = Report::new("folder");
    if options.wants("save") {
        save(&mut report, options.scaled(200))?;
    }
    if options.wants("small") || options.wants("idle") {
        let scene = first_sync(&mut report, options.scaled(10_000), 1024, "≤ 1500 ms")?;
        if options.wants("idle") {
            idle(&mut report, &scene)?;
        }
    }
    if options.wants("medium") {
        first_sync(&mut report, options.scaled(1000), 100 * 1024, "≤ 1000 ms")?;
    }
    if options.wants("large") {
        let scene = first_sync(&mut report, 1, options.scaled(1 << 30), "≤ 5000 ms")?;
        edit(&mut report, &scene, options.scaled(1 << 30))?;
    }
    Ok(report)
}

struct Shared {
    pair: Pair,
    a: PathBuf,
    b: PathBuf,
}

impl Shared {
    fn add_and_join(&self) -> Result<()> {
        let path = |path: &Path| path.to_str().map(str::to_owned).context("a UTF-8 path");
        self.pair.anna.call("folder.add", &json!({"path": path(&self.a)?, "name": "bench"}));
        until("the folder is offered", Duration::from_millis(2), || {
            self.pair.ben.call("folder.list", &json!({}))["folders"][0]["state"] == "offered"
        })?;
        self.pair.ben.call("folder.join", &json!({"folder": "bench", "path": path(&self.b)?}));
        Ok(())
    }
}

fn shared() -> Shared {
    let pair = scene::pair();
    let (a, b) = (pair.sandbox.dir("a"), pair.sandbox.path().join("b"));
    Shared { pair, a, b }
}

/// A small file saved, until it is visible on the other device.
fn save(report: &mut Report, count: usize) -> Result<()> {
    let scene = shared();
    fs::write(scene.a.join("first"), "x")?;
    scene.add_and_join()?;
    until("the folder works", Duration::from_millis(2), || scene.b.join("first").exists())?;
    let mut samples = Vec::new();
    for i in 0..count {
        let (from, to) = (scene.a.join(format!("file {i}")), scene.b.join(format!("file {i}")));
        let contents = crate::noise(&i.to_string(), 1024);
        let started = Instant::now();
        fs::write(from, &contents)?;
        until("a saved file arrives", Duration::from_micros(200), || to.exists())?;
        samples.push(started.elapsed());
        ensure!(fs::read(&to)? == contents, "it is visible, and whole");
    }
    let fsync = floor::fsync(scene.pair.sandbox.path(), 500)?;
    report.row("1 KiB file saved → visible, p50", ms(percentile(&mut samples, 0.5)), "ms").aim("≤ 40 ms");
    report.floor(20.0 + 4.0 * ms(fsync), "20 ms of settling + 4 fsyncs");
    report.row("1 KiB file saved → visible, p99", ms(percentile(&mut samples, 0.99)), "ms").aim("≤ 150 ms");
    Ok(())
}

/// From `folder add` on one device until everything is on the other.
fn first_sync(report: &mut Report, count: usize, size: usize, aim: &str) -> Result<Shared> {
    let scene = shared();
    for i in 0..count {
        let dir = scene.a.join(format!("dir {}", i / 1000));
        fs::create_dir_all(&dir)?;
        fs::write(dir.join(format!("file {i}")), crate::noise(&i.to_string(), size))?;
    }
    let started = Instant::now();
    scene.add_and_join()?;
    until("everything arrives", Duration::from_millis(5), || {
        let status = scene.pair.ben.call("folder.status", &json!({"folder": "bench"}));
        status["files"].as_u64() == u64::try_from(count).ok() && status["state"] == "idle"
    })?;
    let time = started.elapsed();
    let (a, b) = (Tree::read(&scene.a), Tree::read(&scene.b));
    ensure!(a == b, "not the same: {:?}", a.differences(&b));
    let best = floor::write_files(scene.pair.sandbox.path(), count, size)?;
    report.row(format!("{count} files of {size} B, first sync"), ms(time), "ms").aim(aim);
    report.floor(ms(best), "writing them and one syncfs");
    Ok(scene)
}

/// 1 MiB replaced in the middle of a large file.
fn edit(report: &mut Report, scene: &Shared, size: usize) -> Result<()> {
    let (from, to) = (scene.a.join("dir 0/file 0"), scene.b.join("dir 0/file 0"));
    let edit = crate::noise("edit", (1 << 20).min(size / 2));
    let at = u64::try_from(size / 2)?;
    let before = wire(scene);
    let file = fs::File::options().write(true).open(from)?;
    let started = Instant::now();
    file.write_all_at(&edit, at)?;
    drop(file);
    let mut found = vec![0; edit.len()];
    until("the edit arrives", Duration::from_millis(2), || {
        fs::File::open(&to).and_then(|file| file.read_exact_at(&mut found, at)).is_ok() && found == edit
    })?;
    let time = started.elapsed();
    ensure!(Tree::read(&scene.a) == Tree::read(&scene.b), "the whole file is the same");
    report.row(format!("{} B edited inside it", edit.len()), ms(time), "ms").aim("≤ 2500 ms");
    if let (Some((in_before, out_before)), Some((in_after, out_after))) = (before, wire(scene)) {
        let bytes = (in_after - in_before).max(out_after - out_before);
        report.row("the same, on the wire (the larger leg)", bytes / 1e6, "MB").aim("≤ 2.2 MB");
    }
    Ok(())
}

/// Bytes that the relay has taken in and given out, as its metrics say.
fn wire(scene: &Shared) -> Option<(f64, f64)> {
    Some((scene.pair.relay.metric("bytes_in")?, scene.pair.relay.metric("bytes_out")?))
}

/// Memory and processor time of a daemon whose folder rests.
fn idle(report: &mut Report, scene: &Shared) -> Result<()> {
    const SPAN: Duration = Duration::from_secs(10);
    for (name, daemon) in [("sender", &scene.pair.anna), ("receiver", &scene.pair.ben)] {
        let id = daemon.process_id();
        let before = processor_time(id)?;
        std::thread::sleep(SPAN);
        let share = (processor_time(id)? - before) / SPAN.as_secs_f64() * 100.0;
        report.row(format!("idle {name}, memory"), memory(id)? / 1024.0, "MiB").aim("≤ 40 MiB");
        report.row(format!("idle {name}, processor"), share, "% of a core").aim("< 0.1 %");
    }
    Ok(())
}

fn until(what: &str, interval: Duration, mut condition: impl FnMut() -> bool) -> Result<()> {
    let started = Instant::now();
    while !condition() {
        ensure!(started.elapsed() < PATIENCE, "waited {} s in vain: {what}", PATIENCE.as_secs());
        std::thread::sleep(interval);
    }
    Ok(())
}
