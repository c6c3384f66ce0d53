//! Devices without daemons around them.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio_util::task::TaskTracker;
use zerok_core::{Bundle, ConstantSecret, ContentRef, DeviceKeys, EpochSecret, FolderId, Secret, genesis};
use zerok_protocol::roster::Roster;
use zerok_protocol::{ChainId, EpochId, GroupId, Hash};

use crate::events::Events;
use crate::folder::contents::{Contents, Fetching, Ingested, Unfetched};
use crate::folder::engine::{Engine, Spec};
use crate::folder::inbox::Inbox;
use crate::folder::index::intents::{self, Intent};
use crate::folder::index::{folders, pending, problems};
use crate::folder::live::Live;
use crate::folder::root::Root;
use crate::folder::{announce, marker};
use crate::store::log::{self, GroupRow};
use crate::store::{Store, StoreError, groups};

/// Large contents of all devices.
#[derive(Default)]
pub(super) struct Memory {
    held: Mutex<HashMap<Hash, Vec<u8>>>,
    fetched: AtomicUsize,
}

impl Contents for Arc<Memory> {
    fn ingest(&self, mut file: &File, _size: u64) -> io::Result<Ingested> {
        let mut bytes = Vec::new();
        file.rewind()?;
        file.read_to_end(&mut bytes)?;
        let hash = Hash::of(&bytes);
        let root = Hash::of(hash.as_bytes());
        let content =
            ContentRef { root, epoch: EpochId { number: 0, tag: 0 }, size: bytes.len() as u64, hash };
        self.held.lock().unwrap().insert(root, bytes);
        Ok(Ingested { content, store: Box::new(|_| Ok(())) })
    }

    fn fetch(&self, content: &ContentRef, mut staged: File) -> Fetching {
        self.fetched.fetch_add(1, Ordering::Relaxed);
        let bytes = self.held.lock().unwrap().get(&content.root).cloned();
        Box::pin(async move {
            staged.write_all(&bytes.ok_or(Unfetched::Unavailable)?)?;
            Ok(Box::new(|_: &rusqlite::Connection| Ok(())) as _)
        })
    }

    fn committed(&self) {}
}

struct Device {
    keys: Arc<DeviceKeys>,
    grp: GroupRow,
    spec: Spec,
    engine: Option<Engine>,
    dir: tempfile::TempDir,
    _home: tempfile::TempDir,
}

/// Some devices with one folder.
pub(super) struct Devices {
    devices: Vec<Device>,
    memory: Arc<Memory>,
    _runtime: Runtime,
}

const FOLDER: [u8; 16] = [5; 16];

impl Devices {
    /// `count` devices, each with an empty directory as the folder.
    pub(super) fn new(count: u8) -> Self {
        let runtime = Runtime::new().unwrap();
        let memory = Arc::new(Memory::default());
        let devices = (1..=count).map(|seed| Device::new(seed, &memory, &runtime)).collect();
        Self { devices, memory, _runtime: runtime }
    }

    /// Where a device has the folder.
    pub(super) fn dir(&self, device: usize) -> PathBuf {
        self.devices[device].dir.path().canonicalize().unwrap()
    }

    /// Contents fetched so far.
    pub(super) fn fetched(&self) -> usize {
        self.memory.fetched.load(Ordering::Relaxed)
    }

    /// Everything is looked at and exchanged until all is quiet.
    pub(super) fn sync(&mut self) {
        let all: Vec<usize> = (0..self.devices.len()).collect();
        self.exchange(&all);
    }

    /// The same among some.
    pub(super) fn exchange(&mut self, among: &[usize]) {
        for _ in 0..20 {
            for device in among {
                self.devices[*device].settle(true);
            }
            if !self.carry(among) {
                return;
            }
        }
        panic!("they never come to rest");
    }

    /// One device looks at its disk and its log.
    pub(super) fn settle(&mut self, device: usize) {
        self.devices[device].settle(true);
    }

    /// Bundles go from each to each other; true if there was anything new.
    fn carry(&mut self, among: &[usize]) -> bool {
        let mut news = false;
        for from in among {
            for bundle in self.devices[*from].bundles() {
                for to in among.iter().filter(|to| *to != from) {
                    news |= self.devices[*to].take_in(&bundle);
                }
            }
        }
        news
    }

    /// Entries that the devices have logged.
    pub(super) fn entries(&self) -> u64 {
        self.devices.iter().map(Device::logged).sum()
    }

    /// Looking again changes nothing.
    pub(super) fn assert_quiet(&mut self) {
        let before = self.entries();
        let trees: Vec<Tree> = (0..self.devices.len()).map(|n| Tree::read(&self.dir(n))).collect();
        self.sync();
        assert_eq!(self.entries(), before, "nothing more is logged");
        for (n, tree) in trees.iter().enumerate() {
            assert_eq!(Tree::read(&self.dir(n)), *tree);
            let tmp = std::fs::read_dir(self.dir(n).join(".zerok/tmp")).unwrap().count();
            assert_eq!(tmp, 0, "no temporary is left behind");
            assert_eq!(self.problems(n), Vec::<String>::new());
        }
    }

    /// The codes of a device's problems.
    pub(super) fn problems(&self, device: usize) -> Vec<String> {
        let device = &self.devices[device];
        let row = device.spec.info.row;
        let list: Result<_, StoreError> = device.spec.store.read_blocking(|c| problems::list(c, row, 100));
        list.unwrap().into_iter().map(|p| p.code).collect()
    }

    /// The device goes away, as if killed.
    pub(super) fn stop(&mut self, device: usize) {
        self.devices[device].engine = None;
    }

    /// And comes back.
    pub(super) fn restart(&mut self, device: usize) {
        let device = &mut self.devices[device];
        device.engine = None;
        device.engine = Some(Engine::open(&device.spec, &device.dir.path().canonicalize().unwrap()).unwrap());
    }

    /// Notes an exchange as begun, as a kill in the midst of one leaves it.
    pub(super) fn intend(&mut self, device: usize, intent: Intent) {
        let spec = &self.devices[device].spec;
        let row = spec.info.row;
        let put = spec.store.write_blocking(move |c| intents::put(c, row, &intent));
        put.map_err(|e: StoreError| e).unwrap();
    }
}

impl Device {
    fn new(seed: u8, memory: &Arc<Memory>, runtime: &Runtime) -> Self {
        let (home, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let keys = Arc::new(DeviceKeys::from_seed(&Secret::from([seed; 32])));
        let store = Store::open(&home.path().join("state.db"), Box::new(|_, _| Ok(()))).unwrap();
        let founder = DeviceKeys::from_seed(&Secret::from([1; 32]));
        let (epoch, constant) = (EpochSecret::from([7; 32]), ConstantSecret::from([8; 32]));
        let (group, chain) = (GroupId([9; 32]), ChainId([seed; 16]));
        let genesis = genesis(&founder, &epoch, &constant);
        let epoch_id = Roster::genesis(&genesis.statement).unwrap().epoch();
        let (device, id) = (keys.id(), FolderId::from(FOLDER));
        let path = dir.path().canonicalize().unwrap();
        marker::write(&Root::open(&path).unwrap(), &id, &device).unwrap();
        let info = store
            .write_blocking(move |c| {
                let epochs = [(epoch_id, epoch)];
                let grp = groups::create(c, &group, &constant, &[genesis], &epochs, (&device, &chain), 1)?;
                announce::announce(c, grp, &id, "folder", device)?;
                folders::settle_at(c, grp, &id, &path)
            })
            .map_err(|e: StoreError| e)
            .unwrap();
        let grp = info.grp;
        let spec = Spec {
            info,
            store,
            device,
            chain,
            contents: Arc::new(memory.clone()),
            live: Live::new(Events::new(), group, id),
            inbox: Arc::new(Inbox::default()),
            tracker: TaskTracker::new(),
            runtime: runtime.handle().clone(),
        };
        let engine = Some(Engine::open(&spec, &dir.path().canonicalize().unwrap()).unwrap());
        Self { keys, grp, spec, engine, dir, _home: home }
    }

    fn settle(&mut self, look: bool) {
        let Some(engine) = &mut self.engine else { return };
        if look {
            self.spec.inbox.rescan();
        }
        let begun = Instant::now();
        loop {
            let busy = engine.turn(self.spec.inbox.take()).unwrap();
            let row = self.spec.info.row;
            let waiting: Result<_, StoreError> = self.spec.store.read_blocking(|c| pending::count(c, row));
            // What is put off for a moment is waited for, what is put off for longer is not.
            let put_off = waiting.unwrap().0 > 0 && begun.elapsed() < Duration::from_secs(8);
            if !busy && engine.elsewhere.is_idle() && !put_off {
                return;
            }
            if !busy {
                engine.idle_until(Instant::now() + Duration::from_millis(5)).unwrap();
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "the folder never comes to rest");
        }
    }

    fn bundles(&self) -> Vec<Bundle> {
        let (grp, keys, store) = (self.grp, self.keys.clone(), &self.spec.store);
        store
            .write_blocking(move |c| log::cut_pending(c, grp, &keys, usize::MAX))
            .map_err(|e: StoreError| e)
            .unwrap();
        let all = store.read_blocking(|c| log::own_bundles(c, grp, 0, 100_000, usize::MAX));
        let all: Result<Vec<_>, StoreError> = all;
        all.unwrap().into_iter().map(|(_, _, bytes)| Bundle::parse(bytes).unwrap()).collect()
    }

    fn take_in(&self, bundle: &Bundle) -> bool {
        let (grp, bundle) = (self.grp, bundle.clone());
        let taken =
            self.spec.store.write_blocking(move |c| log::take_in(c, grp, &bundle, crate::clock::now_ms()));
        taken.map_err(|e: StoreError| e).unwrap() == log::TakenIn::New
    }

    fn logged(&self) -> u64 {
        let own: Result<_, StoreError> = self.spec.store.read_blocking(|c| log::own_chain(c, self.grp));
        own.unwrap().next_n
    }
}

/// A directory's contents: path, what it is, its bytes.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Tree(BTreeMap<String, (String, Vec<u8>)>);

impl std::fmt::Debug for Tree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let short = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(12)]).into_owned();
        f.debug_map()
            .entries(self.0.iter().map(|(path, (what, bytes))| (path, (what, short(bytes)))))
            .finish()
    }
}

impl Tree {
    /// A folder, without the daemon's own directory.
    pub(super) fn read(dir: &Path) -> Self {
        let mut tree = Self::read_in(dir);
        tree.0.retain(|path, _| path != ".zerok" && !path.starts_with(".zerok/"));
        tree
    }

    /// Any directory; one that is absent is empty.
    pub(super) fn read_in(dir: &Path) -> Self {
        let mut tree = Self::default();
        tree.add(dir, "");
        tree
    }

    fn add(&mut self, dir: &Path, below: &str) {
        let Ok(entries) = std::fs::read_dir(dir.join(below)) else { return };
        for entry in entries {
            let entry = entry.unwrap();
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if below.is_empty() { name } else { format!("{below}/{name}") };
            let meta = entry.path().symlink_metadata().unwrap();
            if meta.is_dir() {
                self.0.insert(path.clone(), ("directory".into(), Vec::new()));
                self.add(dir, &path);
            } else if meta.is_symlink() {
                let target = std::fs::read_link(entry.path()).unwrap();
                self.0.insert(path, (format!("link to {}", target.display()), Vec::new()));
            } else if meta.is_file() {
                use std::os::unix::fs::MetadataExt;
                let look = format!(
                    "file {:o} {}.{}",
                    meta.permissions().mode() & 0o100,
                    meta.mtime(),
                    meta.mtime_nsec()
                );
                self.0.insert(path, (look, std::fs::read(entry.path()).unwrap()));
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn paths(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }

    /// The contents of the files.
    pub(super) fn contents(&self) -> Vec<Vec<u8>> {
        self.0.values().filter(|(what, _)| what.starts_with("file")).map(|(_, bytes)| bytes.clone()).collect()
    }
}
