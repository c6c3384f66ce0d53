//! Full disks, on a small file system of their own.

use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use tempfile::TempDir;
use tokio::time::timeout;
use zerok_protocol::*;
use zerok_relay::{Config, Percent, Running};

use super::Place;
use crate::binary::{command, run};
use crate::client::{Client, PATIENCE, Stream, config, push};
use crate::devices::{Chain, Device};

/// A small file system, in memory.
struct SmallDisk(TempDir);

impl SmallDisk {
    /// None where mounting is not permitted.
    fn mount(mib: u32) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        let mounted =
            mount.args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "none"]).arg(dir.path()).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(dir));
        }
        eprintln!("SKIPPED: a small disk cannot be mounted here (it takes root)");
        None
    }

    fn config(&self, reserve: u8) -> Config {
        let mut config = config(&self.0);
        config.data = self.0.path().join("data");
        config.storage.reserve_free_disk = Percent::new(reserve).unwrap();
        config
    }

    /// Takes that many bytes of it, or all that is left.
    fn fill(&self, bytes: usize) -> PathBuf {
        let path = self.0.path().join("filler");
        let _ = std::fs::write(&path, vec![0; bytes]);
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

struct Pair {
    _clients: (Client, Client),
    a: Stream,
    b: Stream,
    chunks: Stream,
    chain: Chain,
}

async fn pair(relay: &Running) -> Pair {
    let (a, b) = (Device::new(1), Device::new(2));
    let chain = Chain::of(&[&a, &b]);
    let clients = (Client::connect(relay.address(), &a).await, Client::connect(relay.address(), &b).await);
    let (a, b) = (clients.0.session(&chain).await.0, clients.1.session(&chain).await.0);
    let chunks = clients.0.open().await;
    Pair { _clients: clients, a, b, chunks, chain }
}

impl Pair {
    async fn try_push(&mut self, n: u32, size: usize) -> Result<u64, Error> {
        self.a.send(push(&self.chain, n, vec![u8::try_from(n % 251).unwrap(); size])).await;
        match self.a.next().await {
            Message::PushAck(ack) => Ok(ack.cursor),
            Message::Error(e) => Err(e),
            other => panic!("{other:?}"),
        }
    }

    fn chunk(&self, n: u8) -> Bytes {
        Bytes::from(vec![n; 100_000])
    }

    async fn get(&mut self, chunks: &[Bytes]) {
        let (group, addresses) = (self.chain.roster.group(), chunks.iter().map(|c| Hash::of(c)).collect());
        self.chunks.send(ChunkGet { req: 2, group, addresses, wait_ms: 0 }).await;
        for _ in chunks {
            let Message::Chunk(chunk) = self.chunks.next().await else { panic!("no chunk") };
            assert!(chunk.data.is_some_and(|data| Hash::of(&data) == chunk.address));
        }
    }

    async fn put(&mut self, n: u8) -> ChunkOutcome {
        let data = self.chunk(n);
        let group = self.chain.roster.group();
        self.chunks.send(ChunkPut { req: 1, group, address: Hash::of(&data), data }).await;
        match self.chunks.next().await {
            Message::ChunkPutAck(ack) => ack.outcome,
            other => panic!("{other:?}"),
        }
    }

    async fn pulled(&mut self) -> Vec<u64> {
        let (mut after, mut all) = (0, Vec::new());
        loop {
            self.b.send(Pull { req: 1, after_cursor: after, limit: None }).await;
            let Message::PullResponse(page) = self.b.next().await else { panic!("no page") };
            all.extend(page.blobs.iter().map(|b| b.cursor));
            after = page.upto;
            if !page.has_more {
                return all;
            }
        }
    }

    /// Pushes until it is taken, each time another blob.
    async fn until_taken(&mut self, from: u32) -> u64 {
        let mut n = from;
        let pushing = async {
            loop {
                n += 1;
                if let Ok(cursor) = self.try_push(n, 1000).await {
                    return cursor;
                }
            }
        };
        timeout(PATIENCE, pushing).await.expect("the relay did not recover")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn below_the_reserve_new_bytes_are_refused_and_all_else_goes_on() {
    let Some(disk) = SmallDisk::mount(128) else { return };
    let relay = zerok_relay::start(disk.config(50)).await.unwrap();
    let mut p = pair(&relay).await;
    let first = p.try_push(0, 1000).await.unwrap();
    assert_eq!(p.put(1).await, ChunkOutcome::Stored);
    let filler = disk.fill(66 << 20);
    let mut n = 0;
    let mut stored = vec![first];
    // The relay asks the file system twice a second.
    let refused = loop {
        n += 1;
        match p.try_push(n, 1000).await {
            Ok(cursor) => stored.push(cursor),
            Err(e) => break e,
        }
    };
    assert_eq!(refused.code, Code::GroupQuotaExceeded);
    assert!(refused.message.contains("disk") && refused.retry_after_ms.is_some(), "{refused:?}");
    let mut chunk = 1;
    while p.put(chunk).await != ChunkOutcome::Full {
        chunk += 1;
    }
    // What is there is answered, read, acknowledged; and the roster grows.
    assert_eq!(p.try_push(0, 1000).await.unwrap(), first);
    assert_eq!(p.pulled().await, stored);
    p.b.send(Ack { cursor: first }).await;
    let waiting = async { while p.pulled().await.first() == Some(&first) {} };
    timeout(PATIENCE, waiting).await.expect("the acknowledgement was lost");
    p.chain.add(&Device::new(1), &Device::new(3));
    p.a.send(RosterAppend { req: 1, statements: p.chain.appends[2..].to_vec() }).await;
    let answer = p.a.next().await;
    assert!(matches!(answer, Message::RosterOk(_)), "{answer:?}");
    std::fs::remove_file(filler).unwrap();
    p.until_taken(n).await;
    let put = async { while p.put(chunk).await != ChunkOutcome::Stored {} };
    timeout(PATIENCE, put).await.expect("the cache did not recover");
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_disk_without_any_room_nothing_is_half_written_and_it_recovers_by_itself() {
    let Some(disk) = SmallDisk::mount(32) else { return };
    let relay = zerok_relay::start(disk.config(0)).await.unwrap();
    let mut p = pair(&relay).await;
    let mut stored = vec![p.try_push(0, 1000).await.unwrap()];
    let filler = disk.fill(64 << 20);
    let (mut n, mut refused) = (0, 0);
    while refused < 20 {
        n += 1;
        match p.try_push(n, 50_000).await {
            Ok(cursor) => stored.push(cursor),
            Err(e) => {
                assert!(matches!(e.code, Code::GroupQuotaExceeded | Code::Internal), "{e:?}");
                refused += 1;
            }
        }
    }
    let mut taken = Vec::new();
    while p.put(u8::try_from(taken.len()).unwrap()).await == ChunkOutcome::Stored {
        taken.push(p.chunk(u8::try_from(taken.len()).unwrap()));
    }
    // Those it took before it knew are in memory, and served.
    p.get(&taken).await;
    assert_eq!(p.pulled().await, stored);
    std::fs::remove_file(filler).unwrap();
    stored.push(p.until_taken(n).await);
    let put = async { while p.put(255).await != ChunkOutcome::Stored {} };
    timeout(PATIENCE, put).await.expect("the cache did not recover");
    assert_eq!(p.pulled().await, stored);
    relay.stop().await;
    let output = run(command(disk.0.path()).args(["check", "--chunks"]));
    assert_eq!(output.status.code(), Some(0), "{}", super::stdout(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_finds_no_room_leaves_nothing_behind() {
    let Some(disk) = SmallDisk::mount(32) else { return };
    let place = Place::new();
    let relay = place.start().await;
    let mut p = pair(&relay).await;
    for n in 0..10 {
        p.try_push(n, 100_000).await.unwrap();
    }
    let filler = disk.fill(64 << 20);
    let target = disk.0.path().join("backup");
    let output = place.run(&["backup", target.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(crate::binary::stderr(&output).contains("full"), "{}", crate::binary::stderr(&output));
    let names =
        |dir: &Path| std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name()).collect::<Vec<_>>();
    assert_eq!(names(disk.0.path()), ["filler"]);
    std::fs::remove_file(filler).unwrap();
    assert_eq!(place.run(&["backup", target.to_str().unwrap()]).status.code(), Some(0));
    relay.stop().await;
}
