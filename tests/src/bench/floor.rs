//! What this machine can do at best: the parts that the measured path cannot do without.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use rusqlite::Connection;

use super::peer::Peer;
use super::report::{percentile, rate};

/// The median time of a 1 KiB echo on one stream, to a process of its own.
pub(super) async fn echo(count: usize) -> Result<Duration> {
    let peer = Peer::start().await?;
    let (mut send, mut recv) = peer.echo().await?;
    let mut buffer = vec![7; 1024];
    let mut samples = Vec::with_capacity(count);
    for _ in 0..count + 100 {
        let started = Instant::now();
        send.write_all(&buffer).await?;
        recv.read_exact(&mut buffer).await?;
        samples.push(started.elapsed());
    }
    peer.end().await;
    Ok(percentile(&mut samples[100..], 0.5))
}

/// How long so many bytes take by bare QUIC to a process of its own, and from it.
pub(super) async fn bulk(bytes: usize) -> Result<(Duration, Duration)> {
    let peer = Peer::start().await?;
    let started = Instant::now();
    peer.upload(bytes).await?;
    let up = started.elapsed();
    let started = Instant::now();
    peer.download(bytes).await?;
    let down = started.elapsed();
    peer.end().await;
    Ok((up, down))
}

/// How long a process of its own takes to send so many bytes when asked.
pub(super) async fn answers(bytes: usize, count: usize) -> Result<Vec<Duration>> {
    let peer = Peer::start().await?;
    let mut samples = Vec::with_capacity(count);
    for _ in 0..count {
        let started = Instant::now();
        peer.download(bytes).await?;
        samples.push(started.elapsed());
    }
    peer.end().await;
    Ok(samples)
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
