use std::sync::Arc;

use bytes::Bytes;
use zerok_core::{Bundle, ConstantSecret, DeviceKeys, EpochSecret, Hlc, Secret};
use zerok_protocol::ChainId;
use zerok_protocol::roster::Roster;

use super::log::{NewEntry, TakenIn};
use super::*;
use crate::clock;

/// A device with one group, without a daemon around it.
struct Device {
    keys: Arc<DeviceKeys>,
    store: Store,
    grp: log::GroupRow,
    _dir: tempfile::TempDir,
}

fn never_cut() -> writer::BeforeCommit {
    Box::new(|_, _| Ok(()))
}

async fn device(seed: u8) -> Device {
    let dir = tempfile::tempdir().unwrap();
    let keys = Arc::new(DeviceKeys::from_seed(&Secret::from([seed; 32])));
    let store = Store::open(&dir.path().join("state.db"), never_cut()).unwrap();
    // One group for all: what a roster says is not this test's matter.
    let founder = DeviceKeys::from_seed(&Secret::from([1; 32]));
    let (epoch, constant) = (EpochSecret::from([7; 32]), ConstantSecret::from([8; 32]));
    let group = zerok_protocol::GroupId([9; 32]);
    let genesis = zerok_core::genesis(&founder, &epoch, &constant);
    let epoch_id = Roster::genesis(&genesis.statement).unwrap().epoch();
    let own = (keys.id(), ChainId([seed; 16]));
    let grp = store
        .write(move |c| {
            groups::create(c, &group, &constant, &[genesis], &[(epoch_id, epoch)], (&own.0, &own.1), 1)
        })
        .await
        .map_err(|e: StoreError| e)
        .unwrap();
    Device { keys, store, grp, _dir: dir }
}

fn entry(channel: &str, body: &str) -> NewEntry {
    NewEntry {
        channel: channel.into(),
        key: None,
        refs: vec![],
        body: Bytes::copy_from_slice(body.as_bytes()),
    }
}

impl Device {
    async fn append(&self, channel: &str, body: &str) {
        let (grp, entry) = (self.grp, entry(channel, body));
        let done = self.store.write(move |c| log::append(c, grp, &[entry], clock::now_ms())).await;
        done.map_err(|e: StoreError| e).unwrap();
    }

    async fn cut(&self) -> usize {
        let (grp, keys) = (self.grp, self.keys.clone());
        self.store
            .write(move |c| log::cut_pending(c, grp, &keys, usize::MAX))
            .await
            .map_err(|e: StoreError| e)
            .unwrap()
    }

    fn bundles(&self) -> Vec<Bundle> {
        let all = self
            .store
            .read_blocking(|c| log::own_bundles(c, self.grp, 0, 1000, usize::MAX))
            .map_err(|e: StoreError| e);
        all.unwrap().into_iter().map(|(_, _, bytes)| Bundle::parse(bytes).unwrap()).collect()
    }

    async fn take_in(&self, bundle: &Bundle) -> TakenIn {
        let (grp, bundle) = (self.grp, bundle.clone());
        let taken = self.store.write(move |c| log::take_in(c, grp, &bundle, clock::now_ms())).await;
        taken.map_err(|e: StoreError| e).unwrap()
    }

    fn bodies(&self, channel: &str) -> Vec<String> {
        let page = self.store.read_blocking(|c| log::read_after(c, self.grp, channel, 0, 1000, usize::MAX));
        let page: Vec<log::LogRow> = page.map_err(|e: StoreError| e).unwrap();
        assert!(page.iter().map(|row| row.pos).eq(1..=page.len() as u64), "places are gap-free");
        page.into_iter().map(|row| String::from_utf8(row.body.to_vec()).unwrap()).collect()
    }

    fn vector(&self) -> zerok_core::Vector {
        self.store.read_blocking(|c| log::vector(c, self.grp)).map_err(|e: StoreError| e).unwrap()
    }
}

#[tokio::test]
async fn a_failing_job_does_not_undo_its_neighbours() {
    let device = device(1).await;
    let set = |value: &'static str| move |c: &Connection| meta::set(c, value, b"x");
    let (first, failed, last) = tokio::join!(
        device.store.write(set("first")),
        device.store.write(|c: &Connection| {
            meta::set(c, "failed", b"x")?;
            Err::<(), _>(StoreError::Damaged("on purpose"))
        }),
        device.store.write(set("last")),
    );
    assert!(first.is_ok() && failed.is_err() && last.is_ok());
    let known = |key: &str| device.store.read_blocking(|c| meta::get(c, key)).unwrap().is_some();
    assert!(known("first") && known("last") && !known("failed"));
}

#[tokio::test]
async fn a_commit_is_announced_after_it_and_only_if_it_released_something() {
    let device = device(1).await;
    let mut released = device.store.released();
    released.borrow_and_update();
    device.store.write(|c| meta::set(c, "k", b"v")).await.unwrap();
    assert!(!released.has_changed().unwrap());
    device.append("c", "one").await;
    assert!(released.has_changed().unwrap());
    assert_eq!(device.bodies("c"), ["one"]);
}

#[tokio::test]
async fn what_waits_is_cut_as_one_and_arrives_in_order() {
    let (a, b) = (device(1).await, device(2).await);
    for i in 0..300 {
        a.append("c", &i.to_string()).await;
    }
    assert_eq!(a.cut().await, 2);
    assert_eq!(a.cut().await, 0);
    for bundle in a.bundles() {
        assert_eq!(b.take_in(&bundle).await, TakenIn::New);
        assert_eq!(b.take_in(&bundle).await, TakenIn::Known);
    }
    assert_eq!(b.bodies("c"), (0..300).map(|i| i.to_string()).collect::<Vec<_>>());
    assert_eq!(a.vector().to_bytes(), b.vector().to_bytes());
}

#[tokio::test]
async fn behind_a_hole_apps_wait_and_the_daemons_own_channels_do_not() {
    let (a, b) = (device(1).await, device(2).await);
    for body in ["1", "2", "3"] {
        a.append("c", body).await;
        a.append("$folder/00", body).await;
        a.cut().await;
    }
    let bundles = a.bundles();
    b.take_in(&bundles[2]).await;
    assert_eq!(b.bodies("c"), [""; 0]);
    assert_eq!(b.bodies("$folder/00"), ["3"]);
    b.take_in(&bundles[1]).await;
    assert_eq!(b.bodies("c"), [""; 0]);
    b.take_in(&bundles[0]).await;
    assert_eq!(b.bodies("c"), ["1", "2", "3"]);
    assert_eq!(b.bodies("$folder/00"), ["3", "2", "1"]);
    assert_eq!(a.vector(), b.vector());
}

#[tokio::test]
async fn an_author_that_contradicts_itself_changes_nothing() {
    let (a, b) = (device(1).await, device(2).await);
    a.append("c", "one").await;
    a.append("c", "two").await;
    a.cut().await;
    let bundle = &a.bundles()[0];
    b.take_in(bundle).await;
    let header = &bundle.header;
    let other = zerok_core::Entry {
        channel: "c".into(),
        key: None,
        kind: zerok_core::EntryKind::Data,
        hlc: Hlc(5),
        refs: vec![],
        body: Bytes::from_static(b"other"),
    };
    let cut = |seq, prev, first| {
        let entries = [other.to_bytes()];
        Bundle::cut(&a.keys, header.group, header.chain, seq, prev, first, Hlc(5), false, &entries)
    };
    assert_eq!(b.take_in(&cut(1, None, 1)).await, TakenIn::Contradicts);
    assert_eq!(b.take_in(&cut(2, Some(zerok_protocol::Hash([0; 32])), 3)).await, TakenIn::Contradicts);
    assert_eq!(b.take_in(&cut(2, Some(bundle.hash), 9)).await, TakenIn::Contradicts);
    assert_eq!(b.bodies("c"), ["one", "two"]);
}

#[tokio::test]
async fn a_stored_bundle_is_given_out_with_the_same_bytes() {
    let a = device(1).await;
    a.append("c", "one").await;
    a.cut().await;
    let cut = a.store.recent().get(a.grp, 1).unwrap();
    assert_eq!(a.bundles()[0].bytes, cut.bytes);
    let want = zerok_core::Want { device: a.keys.id(), chain: ChainId([1; 16]), from: 1, to: 9 };
    let mut budget = 1 << 20;
    let found =
        a.store.read_blocking(|c| log::bundles_of(c, a.grp, &want, &mut budget)).map_err(|e: StoreError| e);
    assert_eq!(found.unwrap(), [cut.bytes]);
}

#[tokio::test]
async fn the_same_idempotency_key_gives_the_first_answer() {
    let a = device(1).await;
    let grp = a.grp;
    let answer = log::Appended { n: 4, pos: 2 };
    a.store.write(move |c| consumers::remember(c, grp, "key", answer, 1_000)).await.unwrap();
    let at = |now| {
        a.store.read_blocking(|c| consumers::answered(c, grp, "key", now)).map_err(|e: StoreError| e).unwrap()
    };
    assert_eq!(at(2_000), Some(answer));
    let later = 1_000 + 24 * 3600 * 1000;
    assert_eq!(at(later), None);
    a.store.write(move |c| consumers::forget_old(c, later)).await.unwrap();
    assert_eq!(at(2_000), None);
}

#[tokio::test]
async fn a_consumer_never_goes_back() {
    let a = device(1).await;
    let grp = a.grp;
    a.append("c", "one").await;
    for pos in [3, 2] {
        a.store
            .write(move |c| consumers::acknowledge(c, grp, "c", "app", pos))
            .await
            .map_err(|e: StoreError| e)
            .unwrap();
    }
    let offset = a.store.read_blocking(|c| consumers::offset(c, grp, "c", "app")).map_err(|e: StoreError| e);
    assert_eq!(offset.unwrap(), 3);
}

#[tokio::test]
async fn an_invite_is_decided_once() {
    let a = device(1).await;
    let grp = a.grp;
    let decided = a
        .store
        .write(move |c| {
            let address = format!("{}@127.0.0.1:1", "ab".repeat(32)).parse().unwrap();
            let relay = relays::put(c, &address, 1)?;
            let row = invites::put(c, grp, relay, "zerok:x", 99)?;
            Ok::<_, StoreError>([invites::decide(c, row, b"j", "n")?, invites::decide(c, row, b"k", "m")?])
        })
        .await
        .unwrap();
    assert_eq!(decided, [true, false]);
}
