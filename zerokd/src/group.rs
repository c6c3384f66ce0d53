//! The groups of this device: their rosters and keys in memory, as they are in the database.
//!
//! A change is written first and published after the commit. A kill between the two leaves the database ahead of
//! memory, and the next start reads the database.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, RwLock};

use tokio::sync::watch;
use zerok_core::{ConstantSecret, DeviceKeys, EpochKeys, EpochSecret, GroupKeys, OpenError, Vector};
use zerok_protocol::roster::{Append, Roster, RosterError};
use zerok_protocol::{ChainId, DeviceId, EpochId, GroupId};

use crate::clock;
use crate::store::log::{GroupRow, own_chain};
use crate::store::relays::RelayRow;
use crate::store::{Store, StoreError, groups};

/// Why there is no group to use, or it could not be changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GroupError {
    /// The device is in no group.
    #[error("this device is in no group yet")]
    NotPaired,
    /// It is in no group with this id.
    #[error("no group with that id on this device")]
    Unknown,
    /// It is in several, and none was named.
    #[error("this device is in several groups: name one")]
    Ambiguous,
    /// It is in that group already.
    #[error("this device is in that group already")]
    Already,
    /// A statement does not hold.
    #[error("the group's roster: {0}")]
    Roster(#[from] RosterError),
    /// The own envelope does not open.
    #[error("the group's keys: {0}")]
    Envelope(#[from] OpenError),
    /// This device is not a member of what it was shown.
    #[error("the roster does not name this device")]
    NotMember,
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What can change in a group.
#[derive(Clone)]
pub(crate) struct Standing {
    /// Who is a member.
    pub roster: Arc<Roster>,
    /// The keys of every epoch that this device holds.
    pub epochs: Arc<BTreeMap<EpochId, (EpochSecret, EpochKeys)>>,
    /// An own statement that no relay has answered yet.
    pub pending: Option<Arc<Append>>,
}

/// One group.
pub(crate) struct Group {
    /// Its row.
    pub row: GroupRow,
    /// Its id.
    pub id: GroupId,
    /// This device's chain in it.
    pub chain: ChainId,
    /// Its constant secret.
    pub constant: ConstantSecret,
    /// What is derived from the constant secret.
    pub keys: GroupKeys,
    standing: watch::Sender<Standing>,
    peers: Mutex<BTreeMap<DeviceId, (Vector, u64)>>,
    online: Mutex<BTreeMap<RelayRow, BTreeSet<DeviceId>>>,
    sent: watch::Sender<u64>,
    /// Held while the roster changes: sessions at several relays bring the same statements.
    changing: tokio::sync::Mutex<()>,
}

impl Group {
    /// A relay acknowledged own bundles up to `seq`.
    pub(crate) fn acknowledged(&self, seq: u64) {
        self.sent.send_if_modified(|sent| {
            let more = seq > *sent;
            *sent = seq.max(*sent);
            more
        });
    }

    /// The last own bundle that some relay acknowledged since the start.
    pub(crate) fn sent(&self) -> watch::Receiver<u64> {
        self.sent.subscribe()
    }

    /// Who has a session at a relay, as it says; a hint.
    pub(crate) fn set_online(&self, relay: RelayRow, online: BTreeSet<DeviceId>) {
        self.online.lock().expect("nobody panics while holding it").insert(relay, online);
    }

    /// Is the device online at some relay?
    pub(crate) fn is_online(&self, device: &DeviceId) -> bool {
        self.online
            .lock()
            .expect("nobody panics while holding it")
            .values()
            .any(|online| online.contains(device))
    }

    /// Roster, epochs and pending statement now.
    pub(crate) fn standing(&self) -> Standing {
        self.standing.borrow().clone()
    }

    /// Follows them.
    pub(crate) fn watch(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// The newest epoch and its keys.
    pub(crate) fn current(&self) -> (EpochId, EpochKeys) {
        let standing = self.standing.borrow();
        let epoch = standing.roster.epoch();
        match standing.epochs.get(&epoch).or_else(|| standing.epochs.values().next_back()) {
            Some((_, keys)) => (epoch, keys.clone()),
            None => unreachable!("a group is made together with its first epoch's secret"),
        }
    }

    /// The keys of an epoch.
    pub(crate) fn epoch(&self, epoch: EpochId) -> Option<EpochKeys> {
        self.standing.borrow().epochs.get(&epoch).map(|(_, keys)| keys.clone())
    }

    /// What the other members said they hold, and when this device heard it.
    pub(crate) fn peers(&self) -> BTreeMap<DeviceId, (Vector, u64)> {
        self.peers.lock().expect("nobody panics while holding it").clone()
    }

    /// A member said what it holds; true if that is news.
    pub(crate) fn heard(&self, device: DeviceId, vector: Vector) -> bool {
        let mut peers = self.peers.lock().expect("nobody panics while holding it");
        let news = peers.get(&device).is_none_or(|(known, _)| *known != vector);
        peers.insert(device, (vector, clock::now_ms()));
        news
    }
}

/// All groups of this device; cheap to clone.
#[derive(Clone)]
pub(crate) struct Groups {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    keys: Arc<DeviceKeys>,
    map: RwLock<BTreeMap<GroupId, Arc<Group>>>,
    changed: watch::Sender<u64>,
}

impl Groups {
    /// Reads them from the database.
    pub(crate) fn load(store: &Store, keys: Arc<DeviceKeys>) -> Result<Self, GroupError> {
        let (stored, chains, peers) = store.read_blocking(|connection| {
            let stored = groups::all(connection)?;
            let chains = stored
                .iter()
                .map(|g| Ok(own_chain(connection, g.row)?.chain))
                .collect::<Result<Vec<_>, StoreError>>()?;
            let peers =
                stored.iter().map(|g| groups::peers(connection, g.row)).collect::<Result<Vec<_>, _>>()?;
            Ok::<_, StoreError>((stored, chains, peers))
        })?;
        let mut map = BTreeMap::new();
        for ((stored, chain), peers) in stored.into_iter().zip(chains).zip(peers) {
            let roster = Roster::open(stored.statements.iter().map(|a| &a.statement))?;
            let group = assemble(
                stored.row,
                stored.id,
                chain,
                stored.constant,
                roster,
                stored.epochs,
                stored.pending,
            );
            *group.peers.lock().expect("new") = peers.into_iter().map(|(d, v, at)| (d, (v, at))).collect();
            map.insert(stored.id, Arc::new(group));
        }
        let inner =
            Inner { store: store.clone(), keys, map: RwLock::new(map), changed: watch::Sender::new(0) };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// All groups.
    pub(crate) fn all(&self) -> Vec<Arc<Group>> {
        self.inner.map.read().expect("nobody panics while holding it").values().cloned().collect()
    }

    /// Ticks when a group is added.
    pub(crate) fn changed(&self) -> watch::Receiver<u64> {
        self.inner.changed.subscribe()
    }

    /// The group with this id, or the only one.
    pub(crate) fn find(&self, id: Option<&GroupId>) -> Result<Arc<Group>, GroupError> {
        let map = self.inner.map.read().expect("nobody panics while holding it");
        match (id, map.len()) {
            (_, 0) => Err(GroupError::NotPaired),
            (Some(id), _) => map.get(id).cloned().ok_or(GroupError::Unknown),
            (None, 1) => map.values().next().cloned().ok_or(GroupError::NotPaired),
            (None, _) => Err(GroupError::Ambiguous),
        }
    }

    /// The group with this row.
    pub(crate) fn by_row(&self, row: GroupRow) -> Option<Arc<Group>> {
        self.inner
            .map
            .read()
            .expect("nobody panics while holding it")
            .values()
            .find(|g| g.row == row)
            .cloned()
    }

    /// Makes a group whose only member is this device.
    pub(crate) async fn create(&self) -> Result<Arc<Group>, GroupError> {
        let epoch = EpochSecret::from(clock::random::<32>());
        let constant = ConstantSecret::from(clock::random::<32>());
        let genesis = zerok_core::genesis(&self.inner.keys, &epoch, &constant);
        let roster = Roster::genesis_with(&genesis)?;
        let epochs = vec![(roster.epoch(), epoch)];
        self.adopt(roster, constant, vec![genesis], epochs).await
    }

    /// Becomes a member: the roster was fetched, its head names this device.
    pub(crate) async fn join(&self, id: &GroupId, statements: Vec<Append>) -> Result<Arc<Group>, GroupError> {
        let mut chain = statements.iter();
        let mut roster = Roster::genesis_with(chain.next().ok_or(RosterError::Malformed)?)?;
        for append in chain {
            roster.append_with(append)?;
        }
        if roster.group() != *id {
            return Err(GroupError::Unknown);
        }
        if !roster.is_member(&self.inner.keys.id()) {
            return Err(GroupError::NotMember);
        }
        let mut opened = None;
        let mut epochs = BTreeMap::new();
        let mut seen = Roster::genesis(&statements[0].statement)?;
        for (i, append) in statements.iter().enumerate() {
            if i > 0 {
                seen.append(&append.statement)?;
            }
            if let Some(secrets) = self.open(append)? {
                epochs.insert(seen.epoch(), secrets.0);
                opened = Some(secrets.1);
            }
        }
        let constant = opened.ok_or(GroupError::NotMember)?;
        self.adopt(roster, constant, statements, epochs.into_iter().collect()).await
    }

    async fn adopt(
        &self,
        roster: Roster,
        constant: ConstantSecret,
        statements: Vec<Append>,
        epochs: Vec<(EpochId, EpochSecret)>,
    ) -> Result<Arc<Group>, GroupError> {
        let id = roster.group();
        if self.find(Some(&id)).is_ok() {
            return Err(GroupError::Already);
        }
        let chain = ChainId(clock::random());
        let device = self.inner.keys.id();
        let (constant_row, epochs_row) = (constant.clone(), epochs.clone());
        let row = self
            .inner
            .store
            .write(move |connection| {
                let now = clock::now_ms();
                groups::create(
                    connection,
                    &id,
                    &constant_row,
                    &statements,
                    &epochs_row,
                    (&device, &chain),
                    now,
                )
            })
            .await
            .map_err(|e: StoreError| GroupError::from(e))?;
        let group = Arc::new(assemble(row, id, chain, constant, roster, epochs, None));
        self.inner.map.write().expect("nobody panics while holding it").insert(id, group.clone());
        self.inner.changed.send_modify(|tick| *tick += 1);
        Ok(group)
    }

    /// Opens this device's envelope beside a statement, if there is one.
    fn open(&self, append: &Append) -> Result<Option<(EpochSecret, ConstantSecret)>, GroupError> {
        let statement = append.statement.statement()?;
        let own = append.envelopes.iter().find(|e| e.device == self.inner.keys.id());
        Ok(own
            .map(|envelope| zerok_core::open_envelope(&self.inner.keys, &statement, envelope))
            .transpose()?)
    }

    /// Takes statements that continue the roster; the ones it has are passed over.
    pub(crate) async fn take_statements(
        &self,
        group: &Arc<Group>,
        statements: Vec<Append>,
    ) -> Result<(), GroupError> {
        let _changing = group.changing.lock().await;
        let standing = group.standing();
        let mut roster = (*standing.roster).clone();
        let mut epochs = (*standing.epochs).clone();
        let mut news = Vec::new();
        for append in statements {
            let n = append.statement.statement()?.n;
            if n <= roster.head().n {
                continue;
            }
            roster.append_with(&append)?;
            let opened = self.open(&append)?;
            let epoch = opened.map(|(secret, _)| (roster.epoch(), secret));
            if let Some((id, secret)) = &epoch {
                epochs.entry(*id).or_insert_with(|| (secret.clone(), EpochKeys::derive(secret)));
            }
            news.push((n, append, epoch));
        }
        if news.is_empty() {
            return Ok(());
        }
        let row = group.row;
        self.inner
            .store
            .write(move |connection| {
                for (n, append, epoch) in &news {
                    groups::put_statement(connection, row, *n, append)?;
                    if let Some((id, secret)) = epoch {
                        groups::put_epoch(connection, row, *id, secret)?;
                    }
                }
                Ok::<_, StoreError>(())
            })
            .await?;
        group.standing.send_replace(Standing {
            roster: Arc::new(roster),
            epochs: Arc::new(epochs),
            pending: None,
        });
        Ok(())
    }

    /// Stores an own statement, to be sent to the relays until one answers. `with` runs in the same transaction.
    pub(crate) async fn issue(
        &self,
        group: &Arc<Group>,
        append: Append,
        with: impl FnOnce(&rusqlite::Connection) -> Result<bool, StoreError> + Send + 'static,
    ) -> Result<bool, GroupError> {
        let _changing = group.changing.lock().await;
        let (row, stored) = (group.row, append.clone());
        let issued = self
            .inner
            .store
            .write(move |connection| {
                if !with(connection)? {
                    return Ok::<_, StoreError>(false);
                }
                groups::put_pending(connection, row, &stored)?;
                Ok(true)
            })
            .await?;
        if issued {
            group.standing.send_modify(|standing| standing.pending = Some(Arc::new(append)));
        }
        Ok(issued)
    }
}

fn assemble(
    row: GroupRow,
    id: GroupId,
    chain: ChainId,
    constant: ConstantSecret,
    roster: Roster,
    epochs: Vec<(EpochId, EpochSecret)>,
    pending: Option<Append>,
) -> Group {
    let epochs = epochs.into_iter().map(|(id, secret)| {
        let keys = EpochKeys::derive(&secret);
        (id, (secret, keys))
    });
    let standing = Standing {
        roster: Arc::new(roster),
        epochs: Arc::new(epochs.collect()),
        pending: pending.map(Arc::new),
    };
    let keys = GroupKeys::derive(&constant);
    Group {
        row,
        id,
        chain,
        constant,
        keys,
        standing: watch::Sender::new(standing),
        peers: Mutex::default(),
        online: Mutex::default(),
        sent: watch::Sender::new(0),
        changing: tokio::sync::Mutex::default(),
    }
}
