//! Pairing mailboxes: two sides that share a name leave each other sealed messages. In memory: they live ten minutes,
//! and a pairing that a restart interrupts is begun anew.

mod stream;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::watch;
use zerok_protocol::{DeviceId, MailboxId, Side};

pub(crate) use self::stream::serve;

/// Longest life of a mailbox.
const LIFE: Duration = Duration::from_secs(600);
/// Messages that may wait for one side.
const WAITING: usize = 16;
/// Devices that may take from the joiner's side of one mailbox.
const JOINERS: usize = 64;
/// Mailboxes that one device may have open.
const PER_DEVICE: usize = 16;

/// Why a mailbox does not do what is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MailboxError {
    /// It is not there: expired, closed, or never opened. Nobody learns which.
    Gone,
    /// Too many of them, here or of this device.
    TooMany,
    /// Too many messages wait.
    Full,
    /// It belongs to another device.
    NotYours,
}

pub(crate) struct Mailboxes {
    open: Mutex<HashMap<MailboxId, Arc<Mailbox>>>,
    max: AtomicU64,
}

pub(crate) struct Mailbox {
    opener: DeviceId,
    expires: Instant,
    notice: Option<Bytes>,
    waiting: Mutex<Waiting>,
    /// Changes when a message comes or the mailbox goes.
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct Waiting {
    opener: VecDeque<Bytes>,
    /// Kept until the mailbox goes: of two devices that join at once, neither takes what is sealed to the other.
    joiner: Vec<Bytes>,
    /// How many of them each device has taken.
    taken: HashMap<DeviceId, usize>,
    /// Nothing more is put; what waits for the joiner may still be taken.
    closed: bool,
    /// The opener's TAKEs so far: only the newest gets something.
    turn: u64,
}

impl Waiting {
    fn put(&mut self, to: Side, message: Bytes) -> Result<(), MailboxError> {
        let waiting = if to == Side::Opener { self.opener.len() } else { self.joiner.len() };
        if waiting >= WAITING {
            return Err(MailboxError::Full);
        }
        match to {
            Side::Opener => self.opener.push_back(message),
            Side::Joiner => self.joiner.push(message),
        }
        Ok(())
    }

    fn next(&mut self, side: Side, device: &DeviceId) -> Option<Bytes> {
        if side == Side::Opener {
            return self.opener.pop_front();
        }
        let next = self.joiner.get(self.taken.get(device).copied().unwrap_or(0))?.clone();
        if self.taken.len() >= JOINERS && !self.taken.contains_key(device) {
            return None;
        }
        *self.taken.entry(*device).or_default() += 1;
        Some(next)
    }
}

impl Mailboxes {
    pub(crate) fn new(max: u64) -> Self {
        Self { open: Mutex::default(), max: AtomicU64::new(max) }
    }

    /// Another limit from now on; those that are open stay.
    pub(crate) fn set_max(&self, max: u64) {
        self.max.store(max, Ordering::Relaxed);
    }

    fn all(&self) -> MutexGuard<'_, HashMap<MailboxId, Arc<Mailbox>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a mailbox; the same again by the same device is a repeat and changes nothing.
    pub(crate) fn open(
        &self,
        id: MailboxId,
        opener: DeviceId,
        life: Duration,
        notice: Option<Bytes>,
        now: Instant,
    ) -> Result<(), MailboxError> {
        let mut all = self.all();
        all.retain(|_, mailbox| mailbox.expires > now);
        if let Some(mailbox) = all.get(&id) {
            let usable = mailbox.opener == opener && !mailbox.waiting().closed;
            return if usable { Ok(()) } else { Err(MailboxError::Gone) };
        }
        let open = all.values().filter(|m| m.opener == opener && !m.waiting().closed).count();
        let max = usize::try_from(self.max.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
        if all.len() >= max || open >= PER_DEVICE {
            return Err(MailboxError::TooMany);
        }
        let mailbox = Mailbox {
            opener,
            expires: now + life.min(LIFE),
            notice,
            waiting: Mutex::default(),
            changed: watch::Sender::new(()),
        };
        all.insert(id, Arc::new(mailbox));
        Ok(())
    }

    /// The mailbox of that name, if it is open.
    pub(crate) fn get(&self, id: &MailboxId, now: Instant) -> Result<Arc<Mailbox>, MailboxError> {
        let mailbox = self.all().get(id).cloned().ok_or(MailboxError::Gone)?;
        if mailbox.expires > now { Ok(mailbox) } else { Err(MailboxError::Gone) }
    }

    /// Closes a mailbox of this device: who waits at it is told. A last message to the joiner can be taken until the
    /// mailbox expires.
    pub(crate) fn close(&self, id: &MailboxId, device: &DeviceId, now: Instant) -> Result<(), MailboxError> {
        let mailbox = self.get(id, now)?;
        if mailbox.opener != *device {
            return Err(MailboxError::NotYours);
        }
        // Never both locks in this order: `open` takes them the other way round.
        let useless = {
            let mut waiting = mailbox.waiting();
            waiting.closed = true;
            waiting.joiner.is_empty()
        };
        if useless {
            self.remove(id, &mailbox);
        }
        mailbox.changed.send_replace(());
        Ok(())
    }

    /// Removes this mailbox, and no later one of the same name.
    fn remove(&self, id: &MailboxId, mailbox: &Arc<Mailbox>) {
        let mut all = self.all();
        if all.get(id).is_some_and(|there| Arc::ptr_eq(there, mailbox)) {
            all.remove(id);
        }
    }

    /// Forgets what has expired.
    pub(crate) fn expire(&self, now: Instant) {
        self.all().retain(|_, mailbox| mailbox.expires > now);
    }
}

impl Mailbox {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the opener shows to whoever joins.
    pub(crate) fn notice(&self) -> Option<Bytes> {
        self.notice.clone()
    }

    /// Only the opener takes what is for the opener.
    pub(crate) fn may_take(&self, side: Side, device: &DeviceId) -> Result<(), MailboxError> {
        match side {
            Side::Opener if self.opener != *device => Err(MailboxError::NotYours),
            _ => Ok(()),
        }
    }

    pub(crate) fn put(&self, to: Side, message: Bytes) -> Result<(), MailboxError> {
        let mut waiting = self.waiting();
        if waiting.closed {
            return Err(MailboxError::Gone);
        }
        waiting.put(to, message)?;
        drop(waiting);
        self.changed.send_replace(());
        Ok(())
    }

    fn next_turn(&self, side: Side) -> u64 {
        let mut waiting = self.waiting();
        if side == Side::Opener {
            waiting.turn += 1;
        }
        waiting.turn
    }

    /// The next message for a side (for the joiner's: that this device has not had yet); none if none came until `deadline`. Of several TAKEs by the opener the newest gets it:
    /// the others are of connections that it has lost, and would take the message to nowhere.
    pub(crate) async fn take(
        &self,
        side: Side,
        device: &DeviceId,
        deadline: Instant,
    ) -> Result<Option<Bytes>, MailboxError> {
        let mut changed = self.changed.subscribe();
        let turn = self.next_turn(side);
        loop {
            {
                let mut waiting = self.waiting();
                if side == Side::Opener && waiting.turn != turn {
                    return Ok(None);
                }
                if self.expires <= Instant::now() {
                    return Err(MailboxError::Gone);
                }
                if let Some(message) = waiting.next(side, device) {
                    return Ok(Some(message));
                }
                if waiting.closed {
                    return Err(MailboxError::Gone);
                }
            }
            if tokio::time::timeout_at(deadline.min(self.expires).into(), changed.changed()).await.is_err()
                && self.expires > Instant::now()
            {
                return Ok(None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: DeviceId = DeviceId([1; 32]);
    const B: DeviceId = DeviceId([2; 32]);
    const BOX: MailboxId = MailboxId([3; 16]);

    #[test]
    fn a_mailbox_expires_and_its_end_looks_like_its_absence() {
        let now = Instant::now();
        let all = Mailboxes::new(10);
        all.open(BOX, A, Duration::from_secs(5), None, now).unwrap();
        assert!(all.get(&BOX, now).is_ok());
        assert_eq!(all.get(&BOX, now + Duration::from_secs(5)).err(), Some(MailboxError::Gone));
        assert_eq!(all.get(&MailboxId([9; 16]), now).err(), Some(MailboxError::Gone));
    }

    #[tokio::test]
    async fn the_openers_newest_take_gets_the_message() {
        let now = Instant::now();
        let all = Mailboxes::new(10);
        all.open(BOX, A, LIFE, None, now).unwrap();
        let mailbox = all.get(&BOX, now).unwrap();
        let lost = mailbox.take(Side::Opener, &A, now + LIFE);
        let mut lost = std::pin::pin!(lost);
        assert!(tokio::time::timeout(Duration::ZERO, lost.as_mut()).await.is_err());
        let newest = mailbox.take(Side::Opener, &A, now + LIFE);
        let mut newest = std::pin::pin!(newest);
        assert!(tokio::time::timeout(Duration::ZERO, newest.as_mut()).await.is_err());
        mailbox.put(Side::Opener, Bytes::from_static(b"request")).unwrap();
        assert_eq!(lost.await, Ok(None));
        assert_eq!(newest.await, Ok(Some(Bytes::from_static(b"request"))));
    }

    #[tokio::test]
    async fn what_waits_for_the_joiner_outlives_the_close() {
        let now = Instant::now();
        let all = Mailboxes::new(10);
        all.open(BOX, A, LIFE, None, now).unwrap();
        let grant = Bytes::from_static(b"grant");
        all.get(&BOX, now).unwrap().put(Side::Joiner, grant.clone()).unwrap();
        all.close(&BOX, &A, now).unwrap();
        let mailbox = all.get(&BOX, now).unwrap();
        assert_eq!(mailbox.put(Side::Opener, grant.clone()), Err(MailboxError::Gone));
        assert_eq!(all.open(BOX, A, LIFE, None, now), Err(MailboxError::Gone));
        for device in [&A, &B] {
            assert_eq!(mailbox.take(Side::Joiner, device, now + LIFE).await, Ok(Some(grant.clone())));
            assert_eq!(mailbox.take(Side::Joiner, device, now + LIFE).await, Err(MailboxError::Gone));
        }
    }

    #[test]
    fn opening_and_closing_at_once_never_wait_for_each_other() {
        let all = Arc::new(Mailboxes::new(100));
        let (done, ended) = std::sync::mpsc::channel();
        for n in 0..2 {
            let (all, done) = (all.clone(), done.clone());
            std::thread::spawn(move || {
                for _ in 0..20_000 {
                    let (id, now) = (MailboxId([n; 16]), Instant::now());
                    all.open(id, A, LIFE, None, now).unwrap();
                    all.close(&id, &A, now).unwrap();
                }
                done.send(()).unwrap();
            });
        }
        for _ in 0..2 {
            ended.recv_timeout(Duration::from_secs(60)).expect("they wait for each other");
        }
    }

    #[test]
    fn no_device_has_more_than_its_share_and_the_relay_no_more_than_its_limit() {
        let now = Instant::now();
        let all = Mailboxes::new(20);
        let open = |n: u8, device| all.open(MailboxId([n; 16]), device, LIFE, None, now);
        for n in 0..16 {
            open(n, A).unwrap();
        }
        assert_eq!(open(16, A), Err(MailboxError::TooMany));
        assert_eq!(open(3, A), Ok(()));
        assert_eq!(open(3, B), Err(MailboxError::Gone));
        for n in 20..24 {
            open(n, B).unwrap();
        }
        assert_eq!(open(24, B), Err(MailboxError::TooMany));
    }
}
