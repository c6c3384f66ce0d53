//! What this machine can do at best: the parts that the measured path cannot do without.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rusqlite::Connection;

use super::report::{percentile, rate};
use crate::quic;

const ALPN: &[u8] = b"/zerok-bench/echo";

/// Serves echoes until standard input closes; prints where on the first line. Runs as a process of its own.
///
/// # Errors
/// No endpoint.
pub async fn serve_echo() -> Result<()> {
    let endpoint = quic::endpoint(random(), ALPN).await?;
    let address = endpoint.bound_sockets().into_iter().next().context("a bound socket")?;
    println!("{} {address}", hex::encode(endpoint.id().as_bytes()));
    while let Some(incoming) = endpoint.accept().await {
        let connection = incoming.await?;
        while let Ok((mut send, mut recv)) = connection.accept_bi().await {
            let mut buffer = vec![0; 1024];
            while recv.read_exact(&mut buffer).await.is_ok() {
                send.write_all(&buffer).await?;
            }
        }
    }
    Ok(())
}

/// The median time of a 1 KiB echo on one stream, to a process of its own.
pub(super) async fn echo(count: usize) -> Result<Duration> {
    let mut server = Command::new(std::env::current_exe()?)
        .arg("echo")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("starting the echo server")?;
    let measured = echo_with(&mut server, count).await;
    server.kill()?;
    server.wait()?;
    measured
}

async fn echo_with(server: &mut std::process::Child, count: usize) -> Result<Duration> {
    let mut line = String::new();
    BufReader::new(server.stdout.take().context("its output")?).read_line(&mut line)?;
    let Some((id, address)) = line.trim().split_once(' ') else { bail!("the echo server said {line:?}") };
    let id: [u8; 32] = hex::decode(id)?.try_into().ok().context("an endpoint id")?;
    let endpoint = quic::endpoint(random(), ALPN).await?;
    let connection = quic::connect(&endpoint, &id, address.parse()?, ALPN).await?;
    let (mut send, mut recv) = connection.open_bi().await?;
    let mut buffer = vec![7; 1024];
    let mut samples = Vec::with_capacity(count);
    for _ in 0..count + 100 {
        let started = Instant::now();
        send.write_all(&buffer).await?;
        recv.read_exact(&mut buffer).await?;
        samples.push(started.elapsed());
    }
    endpoint.close().await;
    Ok(percentile(&mut samples[100..], 0.5))
}

/// The median time of making 4 KiB durable in a file that has its room already, as SQLite's write-ahead log has.
pub(super) fn fsync(dir: &Path, count: usize) -> Result<Duration> {
    const ROOM: u64 = 1024;
    let file = File::create(dir.join("fsync"))?;
    let block = [7; 4096];
    for at in 0..ROOM {
        file.write_all_at(&block, at * 4096)?;
    }
    file.sync_all()?;
    let mut samples = Vec::with_capacity(count);
    for at in (0..ROOM).cycle().take(count) {
        let started = Instant::now();
        file.write_all_at(&block, at * 4096)?;
        file.sync_data()?;
        samples.push(started.elapsed());
    }
    std::fs::remove_file(dir.join("fsync"))?;
    Ok(percentile(&mut samples, 0.5))
}

/// Rows of 1 KiB that SQLite makes durable in a second, with so many in each commit.
pub(super) fn sqlite(dir: &Path, commits: usize, rows: usize) -> Result<f64> {
    let path = dir.join("floor.db");
    let mut database = Connection::open(&path)?;
    database.pragma_update(None, "journal_mode", "WAL")?;
    database.pragma_update(None, "synchronous", "FULL")?;
    database.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, b BLOB NOT NULL) STRICT", [])?;
    let blob = crate::noise("row", 1024);
    let started = Instant::now();
    for _ in 0..commits {
        let transaction = database.transaction()?;
        {
            let mut insert = transaction.prepare_cached("INSERT INTO t (b) VALUES (?1)")?;
            for _ in 0..rows {
                insert.execute([&blob])?;
            }
        }
        transaction.commit()?;
    }
    let rate = rate(commits * rows, started.elapsed());
    drop(database);
    for suffix in ["", "-wal", "-shm"] {
        // SQLite removes the last two itself when it closes in order.
        let _ = std::fs::remove_file(dir.join(format!("floor.db{suffix}")));
    }
    Ok(rate)
}

/// The time of writing so many files of a size and one `syncfs`.
pub(super) fn write_files(dir: &Path, count: usize, size: usize) -> Result<Duration> {
    let root = dir.join("floor");
    std::fs::create_dir(&root)?;
    let contents = crate::noise("floor", size);
    rustix::fs::syncfs(File::open(&root)?)?;
    let started = Instant::now();
    for i in 0..count {
        std::fs::write(root.join(i.to_string()), &contents)?;
    }
    rustix::fs::syncfs(File::open(&root)?)?;
    let time = started.elapsed();
    std::fs::remove_dir_all(&root)?;
    Ok(time)
}

fn random() -> [u8; 32] {
    let mut key = [0; 32];
    getrandom::fill(&mut key).expect("the system has random bytes");
    key
}
