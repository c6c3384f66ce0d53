mod relay;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex};

use zerok_core::{ConstantSecret, ContentRef, DeviceKeys, EpochSecret, Secret};
use zerok_protocol::ChainId;
use zerok_protocol::roster::{Append, Roster};

use super::ingest::Ingested;
use super::rows::Rows;
use super::*;
use crate::group::Group;
use crate::store::groups;
use relay::{Cache, FakeWay, Mood};

const MIB: usize = 1 << 20;

/// A device: a database, files, and an engine.
struct Device {
    content: Content,
    group: Arc<Group>,
    files: Arc<Files>,
    store: Store,
    dir: tempfile::TempDir,
    cancel: CancellationToken,
}

/// The folders' indexes: where contents lie.
#[derive(Default)]
struct Files(Mutex<BTreeMap<Hash, PathBuf>>);

impl Sources for Files {
    fn open(&self, _: GroupRow, hash: &Hash, _: u64) -> Option<File> {
        File::open(self.0.lock().unwrap().get(hash)?).ok()
    }
}

fn engine(
    store: &Store,
    groups: &Groups,
    files: &Arc<Files>,
    cache: &Arc<Cache>,
) -> (Content, CancellationToken) {
    let (way, wants) = FakeWay::new(cache);
    let cancel = CancellationToken::new();
    let content =
        Content::over(way, store.clone(), groups.clone(), wants, TaskTracker::new(), cancel.clone());
    content.set_sources(files.clone());
    (content, cancel)
}

static GENESIS: LazyLock<Append> = LazyLock::new(|| {
    let founder = DeviceKeys::from_seed(&Secret::from([1; 32]));
    zerok_core::genesis(&founder, &EpochSecret::from([7; 32]), &ConstantSecret::from([8; 32]))
});

/// All devices are in one group; what its roster says is not these tests' matter.
async fn device(seed: u8, cache: &Arc<Cache>) -> Device {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("state.db"), Box::new(|_, _| Ok(()))).unwrap();
    let (epoch, constant) = (EpochSecret::from([7; 32]), ConstantSecret::from([8; 32]));
    let genesis = GENESIS.clone();
    let roster = Roster::genesis(&genesis.statement).unwrap();
    let keys = Arc::new(DeviceKeys::from_seed(&Secret::from([seed; 32])));
    let own = (keys.id(), ChainId([seed; 16]));
    let (id, epochs) = (roster.group(), [(roster.epoch(), epoch)]);
    store
        .write(move |c| groups::create(c, &id, &constant, &[genesis], &epochs, (&own.0, &own.1), 1))
        .await
        .map_err(|e: StoreError| e)
        .unwrap();
    let groups = Groups::load(&store, keys).unwrap();
    let group = groups.find(None).unwrap();
    let files = Arc::new(Files::default());
    let (content, cancel) = engine(&store, &groups, &files, cache);
    Device { content, group, files, store, dir, cancel }
}

impl Device {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    async fn ingest(&self, path: &Path) -> Result<Ingested, IngestError> {
        let (content, group, file) = (self.content.clone(), self.group.clone(), File::open(path).unwrap());
        tokio::task::spawn_blocking(move || {
            let size = file.metadata().unwrap().len();
            content.ingest_blocking(&group, &file, size)
        })
        .await
        .unwrap()
    }

    /// Takes a file in and commits its rows, as a folder does with its record.
    async fn share(&self, path: &Path) -> ContentRef {
        let ingested = self.ingest(path).await.unwrap();
        let zerok_core::Content::Chunked(content) = ingested.content else { panic!("too small") };
        self.files.0.lock().unwrap().insert(content.hash, path.to_owned());
        self.commit(ingested.rows.unwrap()).await;
        self.content.wake();
        content
    }

    async fn commit(&self, rows: Rows) {
        self.store.write(move |c| rows.insert(c)).await.map_err(|e: StoreError| e).unwrap();
    }

    async fn fetch(&self, content: &ContentRef, name: &str) -> Result<Rows, FetchError> {
        let path = self.path(name);
        let staged =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).unwrap();
        self.content.fetch(&self.group, content, staged).await
    }

    /// Fetches and takes into the index.
    async fn take(&self, content: &ContentRef, name: &str) -> Vec<u8> {
        let rows = self.fetch(content, name).await.unwrap();
        self.commit(rows).await;
        self.files.0.lock().unwrap().insert(content.hash, self.path(name));
        fs::read(self.path(name)).unwrap()
    }

    async fn waiting(&self) -> usize {
        self.store.read(|c| rows::waiting(c, 0, 100)).await.unwrap().len()
    }
}

fn noise(seed: u8, length: usize) -> Vec<u8> {
    let mut out = vec![0; length];
    blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut out);
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_travels_through_a_relay_that_cannot_read_it() {
    let cache = Cache::new();
    let (a, b) = (device(2, &cache).await, device(3, &cache).await);
    let bytes = [noise(1, 25 * MIB), b"a canary in clear text ".repeat(5000)].concat();
    let content = a.share(&a.write("file", &bytes)).await;
    assert_eq!((content.size, content.hash), (bytes.len() as u64, Hash::of(&bytes)));
    assert!(b.take(&content, "copy").await == bytes);
    let chunks = cache.chunks.lock().unwrap();
    assert!(chunks.len() > 200);
    for chunk in chunks.values() {
        for canary in [&bytes[..16], &bytes[MIB..MIB + 16], b"a canary in clear"] {
            assert!(!chunk.windows(canary.len()).any(|w| w == canary));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_every_size_come_back() {
    let cache = Cache::new();
    let (a, b) = (device(2, &cache).await, device(3, &cache).await);
    for (n, size) in (1..).zip([32_769, 65_536, MIB - 1, MIB, 4 * MIB, 4 * MIB + 1, 9 * MIB + 77]) {
        let bytes = noise(n, size);
        let content = a.share(&a.write(&n.to_string(), &bytes)).await;
        assert!(b.take(&content, &n.to_string()).await == bytes, "{size}");
    }
    let zeros = vec![0; 6 * MIB];
    let content = a.share(&a.write("zeros", &zeros)).await;
    assert!(b.take(&content, "zeros").await == zeros);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_file_stands_in_its_record() {
    let cache = Cache::new();
    let a = device(2, &cache).await;
    for bytes in [Vec::new(), noise(1, 1), noise(1, 32_768)] {
        let ingested = a.ingest(&a.write("small", &bytes)).await.unwrap();
        assert_eq!(ingested.content, zerok_core::Content::Inline(bytes.into()));
        assert!(ingested.rows.is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changes_while_it_is_read_is_not_taken_in() {
    let cache = Cache::new();
    let a = device(2, &cache).await;
    for (size, claimed) in [(100_000, 99_999), (100_000, 100_001), (9, 10), (10, 9)] {
        let file = File::open(a.write("file", &noise(1, size))).unwrap();
        let read = a.content.ingest_blocking(&a.group, &file, claimed);
        assert!(matches!(read, Err(IngestError::Changed)), "{size} {claimed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_committed_is_uploaded_after_a_restart() {
    let cache = Cache::new();
    cache.cut();
    let a = device(2, &cache).await;
    let content = a.share(&a.write("file", &noise(1, 3 * MIB))).await;
    a.cancel.cancel();
    let groups = Groups::load(&a.store, Arc::new(DeviceKeys::from_seed(&Secret::from([2; 32])))).unwrap();
    assert_eq!((a.waiting().await, cache.stored()), (1, 0));
    let _again = engine(&a.store, &groups, &a.files, &cache);
    cache.mend();
    let b = device(3, &cache).await;
    assert!(b.take(&content, "copy").await == noise(1, 3 * MIB));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_moves_its_own_chunks_only() {
    let cache = Cache::new();
    let (a, b) = (device(2, &cache).await, device(3, &cache).await);
    let mut bytes = noise(1, 20 * MIB);
    let first = a.share(&a.write("file", &bytes)).await;
    b.take(&first, "file").await;
    let (stored, served) = (cache.stored(), cache.served());
    bytes.splice(10 * MIB..10 * MIB, *b"an insertion");
    let second = a.share(&a.write("file", &bytes)).await;
    assert!(b.take(&second, "next").await == bytes);
    // One or two pieces, one or two leaves, the root.
    assert!(cache.stored() - stored <= 5, "{}", cache.stored() - stored);
    assert!(cache.served() - served <= 6, "{}", cache.served() - served);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_moves_nothing() {
    let cache = Cache::new();
    let (a, b) = (device(2, &cache).await, device(3, &cache).await);
    let bytes = noise(1, 2 * MIB);
    let first = a.share(&a.write("file", &bytes)).await;
    b.take(&first, "file").await;
    let (stored, served) = (cache.stored(), cache.served());
    let copy = a.share(&a.write("copy", &bytes)).await;
    assert_eq!(copy, first);
    assert!(b.take(&copy, "copy").await == bytes);
    assert_eq!((cache.stored(), cache.served()), (stored, served));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_piece_that_changed_is_fetched_instead() {
    let cache = Cache::new();
    let (a, b) = (device(2, &cache).await, device(3, &cache).await);
    let mut bytes = noise(1, 4 * MIB);
    let first = a.share(&a.write("file", &bytes)).await;
    b.take(&first, "file").await;
    b.write("file", &noise(9, 4 * MIB));
    bytes[MIB] ^= 1;
    let second = a.share(&a.write("file", &bytes)).await;
    assert!(b.take(&second, "next").await == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_goes_on_where_the_link_broke() {
    let cache = Cache::new();
    let (a, b) = (device(2, &cache).await, device(3, &cache).await);
    let bytes = noise(1, 20 * MIB);
    let content = a.share(&a.write("file", &bytes)).await;
    cache.cut_after(100);
    let mut sessions = cache.sessions();
    let mend = async {
        sessions.wait_for(|_| cache.is_cut()).await.unwrap();
        cache.mend();
    };
    let (taken, ()) = tokio::join!(b.take(&content, "copy"), mend);
    assert!(taken == bytes);
    let chunks = cache.chunks.lock().unwrap().len();
    assert!(cache.served() < chunks + 100, "{} of {chunks}", cache.served());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_staged_file_is_taken_up_by_the_next_attempt() {
    let cache = Cache::new();
    let (a, b) = (device(2, &cache).await, device(3, &cache).await);
    let bytes = noise(1, 20 * MIB);
    let content = a.share(&a.write("file", &bytes)).await;
    // The first half, and then something else.
    b.write("copy", &[&bytes[..10 * MIB], &noise(5, 15 * MIB)].concat());
    assert!(b.take(&content, "copy").await == bytes);
    let chunks = cache.chunks.lock().unwrap().len();
    assert!(cache.served() < chunks * 6 / 10, "{} of {chunks}", cache.served());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_relay_dropped_is_asked_of_the_members() {
    let cache = Cache::new();
    let (a, b) = (device(2, &cache).await, device(3, &cache).await);
    let bytes = noise(1, 20 * MIB);
    let content = a.share(&a.write("file", &bytes)).await;
    b.take(&content, "copy").await;
    a.cancel.cancel();
    cache.chunks.lock().unwrap().clear();
    cache.set_mood(Mood::Impatient);
    let c = device(4, &cache).await;
    // A relay that does not wait at all: every attempt ends soon, and the next one goes on with what was brought.
    let mut stored = cache.stored.subscribe();
    while let Err(error) = c.fetch(&content, "third").await {
        assert!(matches!(error, FetchError::Unavailable), "{error}");
        stored.changed().await.unwrap();
    }
    assert!(fs::read(c.path("third")).unwrap() == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_has_is_unavailable() {
    let cache = Cache::new();
    cache.set_mood(Mood::Impatient);
    let b = device(3, &cache).await;
    let content =
        ContentRef { root: Hash([1; 32]), epoch: b.group.current().0, size: 99_999, hash: Hash([2; 32]) };
    let error = b.fetch(&content, "copy").await.unwrap_err();
    assert!(matches!(error, FetchError::Unavailable) && !error.is_final(), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changed_before_its_upload_is_told_once() {
    let cache = Cache::new();
    cache.cut();
    let a = device(2, &cache).await;
    let mut gone = a.content.gone().unwrap();
    let path = a.write("file", &noise(1, 2 * MIB));
    let content = a.share(&path).await;
    fs::write(&path, noise(2, 2 * MIB)).unwrap();
    cache.mend();
    let told = gone.recv().await.unwrap();
    assert_eq!((told.hash, told.root), (content.hash, content.root));
    assert_eq!(a.waiting().await, 0);
    // The same contents again are uploaded after all.
    a.share(&a.write("again", &noise(1, 2 * MIB))).await;
    let b = device(3, &cache).await;
    assert!(b.take(&content, "copy").await == noise(1, 2 * MIB));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_relay_is_waited_for() {
    let cache = Cache::new();
    cache.set_mood(Mood::Full);
    let (a, b) = (device(2, &cache).await, device(3, &cache).await);
    let content = a.share(&a.write("file", &noise(1, MIB))).await;
    cache.refused.subscribe().wait_for(|n| *n > 3).await.unwrap();
    cache.set_mood(Mood::Patient);
    assert!(b.take(&content, "copy").await == noise(1, MIB));
}

#[tokio::test(flavor = "multi_thread")]
async fn other_bytes_than_those_asked_for_are_not_taken() {
    let cache = Cache::new();
    let (a, b) = (device(2, &cache).await, device(3, &cache).await);
    let content = a.share(&a.write("file", &noise(1, MIB))).await;
    cache.has(content.root).await;
    cache.set_mood(Mood::Lying);
    assert!(matches!(b.fetch(&content, "copy").await, Err(FetchError::Unavailable)));
    assert_eq!(fs::metadata(b.path("copy")).unwrap().len(), 0);
    cache.set_mood(Mood::Patient);
    assert!(b.take(&content, "copy").await == noise(1, MIB));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_does_not_fit_its_contents_is_refused_for_good() {
    let cache = Cache::new();
    let (a, b) = (device(2, &cache).await, device(3, &cache).await);
    let content = a.share(&a.write("file", &noise(1, MIB))).await;
    let other_hash = ContentRef { hash: Hash([1; 32]), ..content.clone() };
    let error = b.fetch(&other_hash, "copy").await.unwrap_err();
    assert!(matches!(error, FetchError::Hash) && error.is_final());
    assert_eq!(fs::metadata(b.path("copy")).unwrap().len(), 0);
    let other_size = ContentRef { size: 2, ..content.clone() };
    assert!(matches!(b.fetch(&other_size, "copy").await, Err(FetchError::List(_))));
    let other_epoch = zerok_protocol::EpochId { number: 7, tag: 7 };
    let sealed_later = ContentRef { epoch: other_epoch, ..content };
    assert!(matches!(b.fetch(&sealed_later, "copy").await, Err(FetchError::NoKey)));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_files_go_at_once() {
    let cache = Cache::new();
    let (a, b) = (device(2, &cache).await, device(3, &cache).await);
    let mut contents = Vec::new();
    for n in 0..200u8 {
        contents.push(a.share(&a.write(&n.to_string(), &noise(n, 100 << 10))).await);
    }
    let taken = futures_util::future::join_all(contents.iter().map(|content| async {
        let name = content.hash.to_hex();
        Hash::of(&b.take(content, &name).await) == content.hash
    }));
    assert!(taken.await.into_iter().all(|same| same));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_file_has_any_more_is_forgotten_but_for_what_waits() {
    let cache = Cache::new();
    let (a, b) = (device(2, &cache).await, device(3, &cache).await);
    let content = a.share(&a.write("file", &noise(1, MIB))).await;
    b.take(&content, "copy").await;
    cache.cut();
    let waiting = b.share(&b.write("own", &noise(2, MIB))).await;
    b.store.write(rows::collect).await.map_err(|e: StoreError| e).unwrap();
    let known = |root: Hash| {
        let grp = b.group.row;
        b.store.read(move |c| Ok::<_, StoreError>(rows::find(c, grp, &root)?.is_some()))
    };
    assert!(!known(content.root).await.unwrap());
    assert!(known(waiting.root).await.unwrap());
}
