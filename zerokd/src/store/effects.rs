//! What a transaction changed that others wait for. Jobs note it while they run (they all run on the writer thread);
//! it is published after the commit.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::watch;
use zerok_protocol::Hash;

/// An own bundle that was cut.
#[derive(Clone)]
pub(crate) struct CutBundle {
    /// The group's row.
    pub grp: i64,
    /// Its number in the own chain.
    pub seq: u64,
    /// Its hash.
    pub hash: Hash,
    /// Its exact bytes.
    pub bytes: Bytes,
}

/// What one group of jobs changed.
#[derive(Default)]
pub(super) struct Effects {
    released: bool,
    released_ours: bool,
    outgoing: bool,
    relays: bool,
    cut: Vec<CutBundle>,
}

thread_local! {
    static NOTED: RefCell<Effects> = RefCell::default();
}

/// Entries were put into a channel's merged log.
pub(crate) fn released(channel: &str) {
    NOTED.with_borrow_mut(|noted| {
        noted.released = true;
        noted.released_ours |= channel.starts_with('$');
    });
}

/// The list of relays changed.
pub(crate) fn relays() {
    NOTED.with_borrow_mut(|noted| noted.relays = true);
}

/// There is something to send.
pub(crate) fn outgoing() {
    NOTED.with_borrow_mut(|noted| noted.outgoing = true);
}

/// Did a job of this group say so?
pub(crate) fn has_outgoing() -> bool {
    NOTED.with_borrow(|noted| noted.outgoing)
}

/// A bundle was cut.
pub(crate) fn cut(bundle: CutBundle) {
    NOTED.with_borrow_mut(|noted| {
        noted.outgoing = true;
        noted.cut.push(bundle);
    });
}

pub(super) fn clear() {
    NOTED.take();
}

pub(super) fn take() -> Effects {
    NOTED.take()
}

/// Bytes of recent bundles that are kept, so that a link need not read back what was just written.
const RECENT: usize = 4 << 20;

/// Recent own bundles, and whether a link is ready to take the next one.
#[derive(Default)]
pub(crate) struct Outgoing {
    ready: AtomicUsize,
    recent: Mutex<(usize, VecDeque<CutBundle>)>,
}

impl Outgoing {
    /// A link says that it would send a bundle at once: from now on a push's own transaction cuts it. Otherwise what
    /// waits is cut as one when a link asks.
    /// Each session calls it when its own answer changes.
    pub(crate) fn set_ready(&self, ready: bool) {
        if ready {
            self.ready.fetch_add(1, Ordering::AcqRel);
        } else {
            self.ready.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Would a link send a bundle at once?
    pub(crate) fn ready(&self) -> bool {
        self.ready.load(Ordering::Acquire) > 0
    }

    /// The bundle, if it is still in memory.
    pub(crate) fn get(&self, grp: i64, seq: u64) -> Option<CutBundle> {
        let recent = self.recent.lock().expect("nobody panics while holding it");
        recent.1.iter().rev().find(|b| b.grp == grp && b.seq == seq).cloned()
    }

    fn keep(&self, cut: Vec<CutBundle>) {
        let mut recent = self.recent.lock().expect("nobody panics while holding it");
        for bundle in cut {
            recent.0 += bundle.bytes.len();
            recent.1.push_back(bundle);
        }
        while recent.0 > RECENT {
            let Some(oldest) = recent.1.pop_front() else { break };
            recent.0 -= oldest.bytes.len();
        }
    }
}

/// Where effects are published.
#[derive(Default)]
pub(super) struct Signals {
    pub released: watch::Sender<u64>,
    pub released_ours: watch::Sender<u64>,
    pub outgoing: watch::Sender<u64>,
    pub relays: watch::Sender<u64>,
    pub recent: Outgoing,
}

impl Signals {
    pub(super) fn publish(&self, effects: Effects) {
        if !effects.cut.is_empty() {
            self.recent.keep(effects.cut);
        }
        if effects.outgoing {
            self.outgoing.send_modify(|tick| *tick += 1);
        }
        if effects.relays {
            self.relays.send_modify(|tick| *tick += 1);
        }
        if effects.released_ours {
            self.released_ours.send_modify(|tick| *tick += 1);
        }
        if effects.released {
            self.released.send_modify(|tick| *tick += 1);
        }
    }
}
