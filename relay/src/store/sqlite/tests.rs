use std::sync::mpsc::{Receiver, channel};

use tempfile::TempDir;
use tokio::time::timeout;
use zerok_protocol::{BlobId, Hash};

use super::*;
use crate::store::{Maker, Pushed, Stored};

const ALL: PageLimit = PageLimit { blobs: 1000, bytes: usize::MAX };
const GROUP: GroupId = GroupId([7; 32]);
const A: DeviceId = DeviceId([1; 32]);
const B: DeviceId = DeviceId([2; 32]);

struct Scene {
    store: Sqlite,
    published: Receiver<Stored>,
    dir: TempDir,
}

fn open(dir: &TempDir, vacuum: bool) -> (Sqlite, Receiver<Stored>) {
    let quotas = Quotas { group_bytes: 1 << 40, total_bytes: 1 << 40, groups: 10 };
    let quotas = tokio::sync::watch::channel(quotas).1;
    let options = Options { quotas, reserve: Percent::new(0).unwrap(), vacuum };
    let (sink, published) = channel();
    let publish = Box::new(move |stored: Vec<Stored>| stored.into_iter().for_each(|s| sink.send(s).unwrap()));
    let store = Sqlite::open(&dir.path().join("relay.db"), options, Arc::new(Metrics::new()), publish);
    (store.unwrap(), published)
}

impl Scene {
    /// A storage with one group of two members.
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (store, published) = open(&dir, true);
        let members = vec![(A, true), (B, true)];
        let (maker, statements) = (Maker::Anybody, Vec::new());
        store
            .append(NewStatements { group: GROUP, expected: 0, first: 0, statements, maker, members })
            .await
            .unwrap();
        Self { store, published, dir }
    }

    fn push(&self, n: u32, size: usize, ttl_seconds: u64) -> oneshot::Receiver<Result<Pushed, StoreError>> {
        let mut blob_id = [0; 16];
        blob_id[..4].copy_from_slice(&n.to_be_bytes());
        let payload = bytes::Bytes::from(vec![n.to_be_bytes()[3]; size]);
        let (done, answer) = oneshot::channel();
        let blob = NewBlob {
            group: GROUP,
            pusher: A,
            blob_id: BlobId(blob_id),
            recipient: None,
            ttl_seconds,
            stale: false,
            hash: Hash::of(&payload),
            payload,
        };
        self.store.push(blob, Box::new(move |result| drop(done.send(result))));
        answer
    }

    /// What the other member may see, as cursors.
    async fn seen(&self) -> Vec<u64> {
        let page = self.store.page(GROUP, B, 0, ALL).await.unwrap();
        page.blobs.iter().map(|b| b.cursor).collect()
    }

    /// Says something to the writer's connection.
    async fn pragma(&self, name: &'static str, value: i64) {
        let set = move |work: &mut writer::Work<'_>| {
            Ok(work.connection.pragma_update_and_check(None, name, value, |_| Ok(()))?)
        };
        self.store.writer.run(set).await.unwrap();
    }

    async fn pages(&self) -> i64 {
        let count = |c: &Connection| Ok(c.pragma_query_value(None, "page_count", |r| r.get(0))?);
        self.store.readers.run(count).await.unwrap()
    }

    fn file_size(&self) -> u64 {
        self.dir.path().join("relay.db").metadata().unwrap().len()
    }
}

/// On a full disk SQLite may fail a statement, or give up all of the transaction: as which it comes depends on where it
/// was, so that many are tried.
#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_everybody_is_answered_and_what_was_acknowledged_is_stored_and_told_in_order() {
    for room in [0, 3, 10, 40, 100] {
        let s = Scene::new().await;
        s.pragma("max_page_count", s.pages().await + room).await;
        let pushes: Vec<_> = (0..100).map(|n| s.push(n, 10_000, 1000)).collect();
        let (mut stored, mut refused) = (Vec::new(), 0);
        for push in pushes {
            match timeout(BUSY, push).await.expect("no answer").expect("no answer") {
                Ok(pushed) => stored.push(pushed.cursor),
                Err(StoreError::DiskFull) => refused += 1,
                Err(e) => panic!("{e}"),
            }
        }
        assert!(refused > 0 && s.store.probe().await.is_ok());
        assert_eq!(s.seen().await, stored);
        s.pragma("max_page_count", 1 << 30).await;
        stored.push(s.push(1000, 10_000, 1000).await.unwrap().unwrap().cursor);
        assert_eq!(s.seen().await, stored);
        assert!(stored.is_sorted());
        assert_eq!(s.published.try_iter().map(|s| s.blob.cursor).collect::<Vec<_>>(), stored);
        let blobs = u64::try_from(stored.len()).unwrap();
        assert_eq!(s.store.totals(), Totals { groups: 1, blobs, bytes: blobs * 10_000 });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_is_answered_when_there_is_no_transaction_at_all() {
    let s = Scene::new().await;
    s.pragma("busy_timeout", 1).await;
    let other = Connection::open(s.dir.path().join("relay.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let push = s.push(1, 10, 1000).await.expect("no answer");
    assert!(matches!(push, Err(StoreError::Database(_))), "{push:?}");
    assert!(matches!(s.store.expire().await, Err(StoreError::Database(_))));
    assert!(s.store.probe().await.is_err());
    other.execute_batch("COMMIT").unwrap();
    assert!(s.push(1, 10, 1000).await.unwrap().is_ok());
    assert!(s.store.probe().await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledgements_that_could_not_be_stored_are_not_forgotten() {
    let s = Scene::new().await;
    let cursor = s.push(1, 10, 1000).await.unwrap().unwrap().cursor;
    s.pragma("busy_timeout", 1).await;
    let other = Connection::open(s.dir.path().join("relay.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    s.store.acks.lock().unwrap().insert((GROUP, B), cursor);
    assert!(s.store.writer.flush_acks().await.is_err());
    other.execute_batch("COMMIT").unwrap();
    assert_eq!(s.seen().await, [cursor]);
    s.store.writer.flush_acks().await.unwrap();
    assert!(s.seen().await.is_empty());
    assert!(s.store.acks.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_becomes_shorter_when_much_has_expired_and_pushes_go_on_meanwhile() {
    let s = Scene::new().await;
    let pushes: Vec<_> = (0..2000).map(|n| s.push(n, 10_000, 0)).collect();
    for push in pushes {
        push.await.unwrap().unwrap();
    }
    let first = s.store.give_back().await.unwrap();
    let full = s.file_size();
    assert!(first == 0 && full > 20_000_000, "{first} {full}");
    let expiring = tokio::spawn(s.store.expire());
    let stays = s.push(5000, 10, 1000).await.unwrap().unwrap().cursor;
    assert_eq!(expiring.await.unwrap(), Ok(2000));
    let giving = tokio::spawn(s.store.give_back());
    let too = s.push(5001, 10, 1000).await.unwrap().unwrap().cursor;
    let given = giving.await.unwrap().unwrap();
    // What stays free is for what comes next.
    assert!(given > 10_000_000 && s.file_size() < 6_000_000, "{given} {}", s.file_size());
    assert_eq!(s.seen().await, [stays, too]);
    let whole: String =
        s.store.readers.run(|c| Ok(c.query_row("PRAGMA integrity_check", [], |r| r.get(0))?)).await.unwrap();
    assert_eq!(whole, "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_database_learns_to_give_room_back_unless_that_is_off() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("relay.db");
    let mut old = Connection::open(&path).unwrap();
    schema::migrations().to_latest(&mut old).unwrap();
    drop(old);
    let can = |path: &Path| vacuum::can_give_back(&Connection::open(path).unwrap()).unwrap();
    open(&dir, false).0.close().await.unwrap();
    assert!(!can(&path));
    open(&dir, true).0.close().await.unwrap();
    assert!(can(&path));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_begins_anew_as_soon_as_no_reader_is_in_the_way() {
    let s = Scene::new().await;
    let path = s.dir.path().join("relay.db");
    let log = || s.dir.path().join("relay.db-wal").metadata().unwrap().len();
    s.push(1, 100_000, 1000).await.unwrap().unwrap();
    let mut reader = Connection::open(&path).unwrap();
    let reading = reader.transaction().unwrap();
    reading.query_row("SELECT count(*) FROM blobs", [], |r| r.get::<_, i64>(0)).unwrap();
    s.push(2, 100_000, 1000).await.unwrap().unwrap();
    s.store.writer.checkpoint().await.unwrap();
    assert!(log() > 100_000);
    drop(reading);
    s.store.writer.checkpoint().await.unwrap();
    assert_eq!(log(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_blob_is_dropped_when_it_is_read_and_the_page_goes_on_behind_it() {
    let s = Scene::new().await;
    let mut cursors = Vec::new();
    for n in 0..6 {
        cursors.push(s.push(n, 100, 1000).await.unwrap().unwrap().cursor);
    }
    let damage = "UPDATE blobs SET payload = randomblob(100) WHERE id IN (1, 3, 4);
                  UPDATE blobs SET blob_id = x'00' WHERE id = 6";
    s.store.writer.run(move |work| Ok(work.connection.execute_batch(damage)?)).await.unwrap();
    // The damaged ones count into a page, which then may be empty, but is not the last.
    let (mut after, mut got, mut pages) = (0, Vec::new(), 0);
    loop {
        let page = s.store.page(GROUP, B, after, PageLimit { blobs: 1, ..ALL }).await.unwrap();
        got.extend(page.blobs.iter().map(|b| b.cursor));
        (after, pages) = (page.upto, pages + 1);
        if !page.has_more {
            break;
        }
    }
    assert_eq!((got, pages), (vec![cursors[1], cursors[4]], 6));
    assert_eq!(s.store.totals(), Totals { groups: 1, blobs: 2, bytes: 200 });
    let metrics = s.store.metrics.encode(s.store.totals(), 0);
    assert!(metrics.contains("zerok_relay_damaged_items_total{kind=\"blob\"} 4"), "{metrics}");
    // Pushed anew, it is there anew.
    let again = s.push(9, 100, 1000).await.unwrap().unwrap().cursor;
    assert_eq!(s.seen().await, [cursors[1], cursors[4], again]);
}
