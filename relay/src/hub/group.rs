//! One group in use: who is connected, what the roster says, and waking those who wait for blobs.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;
use zerok_protocol::roster::{Append, Change, Signed};
use zerok_protocol::{DeviceId, Head, LogId, Message, Presence, RosterNews, Signal};

use super::presence::Changed;
use super::tail::{Step, Tail};
use crate::known::Known;
use crate::outbox::Outbox;
use crate::refuse::Refusal;
use crate::store::Stored;

/// Why a device cannot have a session: it is no member.
pub(crate) struct Ended;

pub(crate) struct Group {
    pub(crate) log_id: LogId,
    /// Held while statements are judged and stored: one append at a time.
    pub(crate) appending: tokio::sync::Mutex<()>,
    members: Mutex<Members>,
    tail: Mutex<Tail>,
    newest: watch::Sender<u64>,
    next_session: AtomicU64,
    presence: Arc<Changed>,
}

struct Members {
    known: Arc<Known>,
    sessions: BTreeMap<u64, Session>,
    /// Who was online when the members were last told.
    told: BTreeSet<DeviceId>,
    /// They are about to be told.
    telling: bool,
}

struct Session {
    device: DeviceId,
    outbox: Arc<Outbox>,
    /// Nothing is announced to a session before its WELCOME.
    welcomed: bool,
}

impl Group {
    pub(super) fn new(
        log_id: LogId,
        known: Known,
        tail_bytes: Arc<AtomicUsize>,
        presence: Arc<Changed>,
    ) -> Self {
        let members = Members {
            known: Arc::new(known),
            sessions: BTreeMap::new(),
            told: BTreeSet::new(),
            telling: false,
        };
        Self {
            log_id,
            appending: tokio::sync::Mutex::new(()),
            members: Mutex::new(members),
            tail: Mutex::new(Tail::new(tail_bytes)),
            newest: watch::Sender::new(0),
            next_session: AtomicU64::new(0),
            presence,
        }
    }

    fn members(&self) -> std::sync::MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tail(&self) -> std::sync::MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The roster at the head.
    pub(crate) fn known(&self) -> Arc<Known> {
        self.members().known.clone()
    }

    /// Adds a session; it ends when the registration is dropped, and only that one.
    pub(crate) fn register(
        self: &Arc<Self>,
        device: DeviceId,
        outbox: Arc<Outbox>,
    ) -> Result<Registration, Ended> {
        let mut members = self.members();
        if !members.known.roster.is_member(&device) {
            return Err(Ended);
        }
        let session = self.next_session.fetch_add(1, Ordering::Relaxed);
        members.sessions.insert(session, Session { device, outbox, welcomed: false });
        Ok(Registration { group: self.clone(), session })
    }

    /// A signal to the members online, the sender's own sessions excepted.
    pub(crate) fn signal(&self, sender: DeviceId, signal: &Signal) {
        // One frame for all: a large signal to many sessions that do not read takes room once.
        let frame = Bytes::from(Message::from(Signal { sender: Some(sender), ..signal.clone() }).to_frame());
        for session in self.members().sessions.values() {
            let wanted = signal.recipient.is_none_or(|recipient| recipient == session.device);
            if wanted && session.welcomed && session.device != sender {
                session.outbox.offer_frame(&frame);
            }
        }
    }

    /// Takes a new head: tells the members' sessions and ends the others'.
    pub(crate) fn announce(&self, known: Known, new: &[Append]) {
        // Read before the lock, and once for all sessions: the storage's thread must never wait for this.
        let mut ends: HashMap<DeviceId, &Signed> = HashMap::new();
        for signed in new.iter().map(|append| &append.statement) {
            if let Some(device) = ended_by(signed) {
                ends.entry(device).or_insert(signed);
            }
        }
        let mut members = self.members();
        members.known = Arc::new(known);
        let roster = &members.known.roster;
        let news = Message::from(RosterNews { head: roster.head() });
        for session in members.sessions.values() {
            if !roster.is_member(&session.device) {
                let statement = ends.get(&session.device).map(|signed| (*signed).clone());
                session.outbox.end_with(&Refusal::revoked(statement).answer(None));
            } else if session.welcomed {
                session.outbox.send(&news);
            }
        }
    }

    /// Takes a committed blob; [`Group::wake`] must follow.
    pub(super) fn take_in(&self, stored: Stored) {
        let keep = !self.members().sessions.is_empty();
        self.tail().add(stored, keep);
    }

    pub(super) fn wake(&self) {
        let newest = self.tail().newest();
        self.newest.send_replace(newest);
    }

    /// The storage says that this cursor was assigned.
    pub(crate) fn raise(&self, cursor: u64) {
        self.tail().raise(cursor);
        self.wake();
    }

    pub(crate) fn newest(&self) -> u64 {
        self.tail().newest()
    }

    /// Changes whenever there is more to deliver.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    pub(crate) fn step(&self, at: u64, device: &DeviceId, credit: u64, max_bytes: usize) -> Step {
        self.tail().step(at, device, credit, max_bytes)
    }
}

impl Members {
    fn online(&self) -> BTreeSet<DeviceId> {
        self.sessions.values().filter(|s| s.welcomed).map(|s| s.device).collect()
    }

    /// Will the members be told who is online? `news`: says that they have to be, from now on.
    fn telling(&mut self, online: &BTreeSet<DeviceId>, news: impl FnOnce()) -> bool {
        if !self.telling && self.told != *online {
            self.telling = true;
            news();
        }
        self.telling
    }
}

fn presence(online: &BTreeSet<DeviceId>) -> Message {
    Presence { online: online.iter().copied().collect() }.into()
}

impl Group {
    /// Tells every session who is online.
    pub(super) fn tell_presence(&self) {
        let mut members = self.members();
        members.telling = false;
        let online = members.online();
        let frame = Bytes::from(presence(&online).to_frame());
        for session in members.sessions.values().filter(|s| s.welcomed) {
            session.outbox.offer_frame(&frame);
        }
        members.told = online;
    }
}

/// Does this statement end the device's membership?
pub(crate) fn ends(signed: &Signed, device: &DeviceId) -> bool {
    ended_by(signed).is_some_and(|ended| ended == *device)
}

/// Whose membership this statement ends.
pub(crate) fn ended_by(signed: &Signed) -> Option<DeviceId> {
    let statement = signed.statement().ok()?;
    match statement.change {
        Change::Revoke { device } => Some(device),
        Change::Leave => Some(statement.by),
        _ => None,
    }
}

/// A session's place in its group; dropping it gives up that place and no other.
pub(crate) struct Registration {
    group: Arc<Group>,
    session: u64,
}

impl Registration {
    pub(crate) fn group(&self) -> &Arc<Group> {
        &self.group
    }

    /// Sends WELCOME, made for the head of this moment, and lets announcements through from here on.
    pub(crate) fn welcome(&self, make: impl FnOnce(Head) -> Message) {
        let mut members = self.group.members();
        let message = make(members.known.roster.head());
        let Some(session) = members.sessions.get_mut(&self.session) else { return };
        session.outbox.send(&message);
        session.welcomed = true;
        let outbox = session.outbox.clone();
        let online = members.online();
        if !members.telling(&online, || self.group.presence.add(Arc::downgrade(&self.group))) {
            // A second session changes nothing for the others.
            outbox.offer(&presence(&online));
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut members = self.group.members();
        members.sessions.remove(&self.session);
        let nobody_left = members.sessions.is_empty();
        let online = members.online();
        members.telling(&online, || self.group.presence.add(Arc::downgrade(&self.group)));
        drop(members);
        if nobody_left {
            self.group.tail().clear();
        }
    }
}
