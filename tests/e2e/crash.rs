//! `kill -9` at any time: what was acknowledged is never lost, and nothing comes twice.

use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use zerok_tests::{Api, Pair, Sample, Tree, wait_until};

use crate::folders::Shared;

/// Pushes numbers until told to stop; a push whose answer was lost is not repeated. Returns the acknowledged ones.
fn push_numbers(api: &Api, acknowledged: &AtomicUsize, stop: &AtomicBool) -> Vec<u32> {
    let mut accepted = Vec::new();
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        if api.push_if_alive("numbers", n.to_string().as_bytes()).is_some() {
            accepted.push(n);
            acknowledged.fetch_add(1, Ordering::Relaxed);
        }
    }
    accepted
}

fn received(blobs: &[Vec<u8>]) -> Vec<u32> {
    blobs.iter().map(|blob| std::str::from_utf8(blob).unwrap().parse().unwrap()).collect()
}

/// Pushes on anna while `disturb` is called again and again, then compares all three histories.
fn pushes_survive(mut pair: Pair, rounds: usize, disturb: impl Fn(&mut Pair)) {
    let (acknowledged, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let api = pair.anna.api();
    let accepted = std::thread::scope(|scope| {
        let pusher = scope.spawn(|| push_numbers(&api, &acknowledged, &stop));
        for _ in 0..rounds {
            let before = acknowledged.load(Ordering::Relaxed);
            wait_until("pushes are under way", || acknowledged.load(Ordering::Relaxed) >= before + 25);
            disturb(&mut pair);
        }
        stop.store(true, Ordering::Relaxed);
        pusher.join().unwrap()
    });
    pair.converge();
    let (anna, ben) = (received(&pair.anna.pull("numbers")), received(&pair.ben.pull("numbers")));
    assert!(anna.is_sorted_by(|a, b| a < b), "in order, and none twice");
    assert_eq!(anna, ben, "both devices have the same");
    let have: BTreeSet<_> = anna.into_iter().collect();
    let lost: Vec<_> = accepted.iter().filter(|n| !have.contains(n)).collect();
    assert_eq!(lost, Vec::<&u32>::new(), "acknowledged and lost");
}

#[test]
fn the_pusher_is_killed_during_pushes_and_loses_nothing_it_acknowledged() {
    pushes_survive(Pair::new(), 4, |pair| {
        pair.anna.kill9();
        pair.anna.restart();
    });
}

#[test]
fn the_receiver_is_killed_during_pushes_and_gets_each_once() {
    pushes_survive(Pair::new(), 4, |pair| {
        pair.ben.kill9();
        pair.ben.restart();
    });
}

#[test]
fn the_relay_is_killed_during_pushes_and_nothing_is_lost() {
    pushes_survive(Pair::new(), 3, |pair| {
        pair.relay.kill9();
        pair.relay.restart();
    });
}

#[test]
fn the_receiver_of_a_folder_is_killed_while_files_arrive() {
    let mut shared = Shared::with(|a| Sample { files: 600, large: 5 << 20 }.write(a));
    for share in [50, 200, 400] {
        wait_until("some files have arrived", || Tree::read(&shared.b).count() >= share);
        shared.pair.ben.kill9();
        shared.pair.ben.restart();
    }
    let tree = shared.same();
    assert!(tree.count() > 600, "and no conflict copies: {}", tree.count());
    assert_eq!(copies(&tree), 0);
    wait_until("nothing half-written is left behind", || {
        fs::read_dir(shared.b.join(".zerok/tmp")).map_or(0, Iterator::count) == 0
    });
    shared.pair.converge();
}

#[test]
fn the_sender_of_a_folder_is_killed_while_files_leave() {
    let mut shared = Shared::with(|a| Sample { files: 600, large: 5 << 20 }.write(a));
    for share in [1, 200, 400] {
        wait_until("some files have arrived", || Tree::read(&shared.b).count() >= share);
        shared.pair.anna.kill9();
        shared.pair.anna.restart();
    }
    let tree = shared.same();
    assert!(tree.count() > 600);
    assert_eq!(copies(&tree), 0);
    shared.pair.converge();
}

fn copies(tree: &Tree) -> usize {
    tree.names().filter(|name| name.to_string_lossy().contains("sync-conflict")).count()
}
