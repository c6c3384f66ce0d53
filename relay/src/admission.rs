//! Who may have a session, and which statements a roster takes (PROTOCOL.md, "Admission to a group").

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use zerok_protocol::roster::{Append, RosterError};
use zerok_protocol::{Code, DeviceId, GroupId, Head, Hello, MAX_BLOB, VERSION};

use crate::clock;
use crate::hub::{Group, ended_by, ends};
use crate::known::{self, Known};
use crate::policy::Admission;
use crate::refuse::Refusal;
use crate::relay::Relay;
use crate::store::{NewStatements, NotInvited, StoreError};

/// Bytes of statements that wait in memory for the one that makes their sender a member.
const STAGED: usize = 16 << 20;
/// Bytes of a page of statements when the one that shut a device out is looked for.
const SEARCH_PAGE: usize = 4 << 20;

/// Statements that hold, and what they continue.
#[derive(Clone)]
struct Proposal {
    /// The roster with them.
    known: Known,
    /// The head of the stored roster that it was judged on; none if the group was not there.
    on: Option<Head>,
    new: Vec<Append>,
}

/// Statements of a device that is no member yet by the roster so far: a long roster comes in several messages.
#[derive(Default)]
pub(crate) struct Staging {
    proposal: Option<Proposal>,
    /// What it takes of its connection's share.
    held: Option<OwnedSemaphorePermit>,
}

/// Judges a HELLO. `brought`: the device has sent its roster on this stream, so that its head tells nothing new.
pub(crate) async fn judge(
    relay: &Relay,
    device: DeviceId,
    hello: &Hello,
    brought: bool,
) -> Result<Arc<Group>, Refusal> {
    if !hello.versions.contains(&VERSION) {
        return Err(Refusal::new(Code::UnsupportedVersion, format!("this relay speaks version {VERSION}")));
    }
    if !relay.admission.takes(&hello.group) {
        return Err(Refusal::new(Code::Unauthorized, "this relay does not serve this group"));
    }
    let unknown = || Refusal::new(Code::UnknownGroup, "unknown group or head: send the roster");
    let group = relay.hub.open(&*relay.storage, hello.group).await?.ok_or_else(unknown)?;
    let known = group.known();
    if known.roster.is_member(&device) {
        return Ok(group);
    }
    if !brought && !known.has(&hello.head) {
        return Err(unknown());
    }
    Err(shut_out(relay, hello.group, &known, device).await?)
}

/// Why a device that is no member has no session.
pub(crate) async fn shut_out(
    relay: &Relay,
    group: GroupId,
    known: &Known,
    device: DeviceId,
) -> Result<Refusal, StoreError> {
    if !known.roster.is_gone(&device) {
        return Ok(Refusal::new(Code::Unauthorized, "not a member of this group"));
    }
    let mut from = 0;
    while from <= known.roster.head().n {
        let page = relay.storage.statements(group, from, SEARCH_PAGE).await?;
        if page.is_empty() {
            break;
        }
        from += u64::try_from(page.len()).unwrap_or(u64::MAX);
        if let Some(found) = page.into_iter().map(|a| a.statement).find(|s| ends(s, &device)) {
            return Ok(Refusal::revoked(Some(found)));
        }
    }
    Ok(Refusal::revoked(None))
}

/// A sender that has no session yet: what it brings is stored only once it makes the sender a member.
pub(crate) struct Stranger<'a> {
    pub(crate) staging: &'a mut Staging,
    /// What its connection may have staged on all its streams, in bytes.
    pub(crate) share: Arc<Semaphore>,
    /// From its HELLO.
    pub(crate) token: Option<String>,
}

/// Takes statements that continue the roster, or begin one. `answer` is called after the commit and before anybody
/// else hears of the new head.
pub(crate) async fn append(
    relay: &Relay,
    group: GroupId,
    device: DeviceId,
    mut stranger: Option<Stranger<'_>>,
    statements: Vec<Append>,
    answer: impl FnOnce(Head),
) -> Result<(), Refusal> {
    if !relay.admission.takes(&group) {
        return Err(Refusal::new(Code::Unauthorized, "this relay does not serve this group"));
    }
    let mut answer = Some(answer);
    loop {
        let tried = attempt(relay, group, device, stranger.as_mut(), statements.clone(), &mut answer).await;
        match tried {
            // Another member brought the group in the same moment: judged again, on what is stored now.
            Err(Untaken::Moved) => {}
            Err(Untaken::Refused(refusal)) => return Err(refusal),
            Ok(()) => return Ok(()),
        }
    }
}

/// Why statements were not taken.
enum Untaken {
    /// The stored roster is no longer the one that they were judged on.
    Moved,
    Refused(Refusal),
}

impl<E: Into<Refusal>> From<E> for Untaken {
    fn from(e: E) -> Self {
        Untaken::Refused(e.into())
    }
}

async fn attempt(
    relay: &Relay,
    id: GroupId,
    device: DeviceId,
    stranger: Option<&mut Stranger<'_>>,
    mut statements: Vec<Append>,
    answer: &mut Option<impl FnOnce(Head)>,
) -> Result<(), Untaken> {
    // A member's next statement is judged at once; whole rosters and branches are not, and wait before the group's lock,
    // where they hold nothing up.
    let _judging = match stranger.is_some() || statements.len() > 1 {
        true => relay.judging.acquire().await.ok(),
        false => None,
    };
    let group = relay.hub.open(&*relay.storage, id).await?;
    let token = stranger.as_ref().map(|stranger| stranger.token.is_some());
    if let (None, Some(false), Admission::Token) = (&group, token, &relay.admission) {
        // It would be refused after its signatures were verified.
        return Err(StoreError::NotInvited(NotInvited::NoToken).into());
    }
    let _appending = match &group {
        Some(group) => Some(group.appending.lock().await),
        None => None,
    };
    // The head, not the length: another branch of the same length may stand there now.
    let stored = group.as_ref().map(|group| group.known().roster.head());
    let earlier = stranger.as_ref().and_then(|stranger| stranger.staging.proposal.clone());
    let proposal = match earlier {
        Some(earlier) if earlier.on == stored => Proposal::more(earlier, id, statements).await,
        earlier => {
            let mut all = earlier.map(|earlier| earlier.new).unwrap_or_default();
            all.append(&mut statements);
            propose(relay, id, group.as_deref(), all).await
        }
    };
    let proposal = match proposal {
        Err(refusal) if stranger.is_some() && !belongs(group.as_deref(), &device) => {
            return Err(refusal.without_head().into());
        }
        other => other?,
    };
    let mut tell = |head| answer.take().into_iter().for_each(|answer| answer(head));
    let token = match stranger {
        Some(stranger) if !proposal.known.roster.is_member(&device) => {
            let head = proposal.known.roster.head();
            stranger.staging.keep(proposal, &stranger.share)?;
            tell(head);
            return Ok(());
        }
        Some(stranger) => stranger.token.clone(),
        None => None,
    };
    store(relay, id, group.as_ref(), proposal, token, tell).await
}

/// Is or was the device a member? Others are not told where the roster stands.
fn belongs(group: Option<&Group>, device: &DeviceId) -> bool {
    group.is_some_and(|group| {
        let known = group.known();
        known.roster.is_member(device) || known.roster.is_gone(device)
    })
}

/// Judges statements on the group's roster. A branch that begins with statements known here is merged by the fork rule;
/// what begins elsewhere than at the head has lost a race for it, and is told the head.
async fn propose(
    relay: &Relay,
    id: GroupId,
    group: Option<&Group>,
    statements: Vec<Append>,
) -> Result<Proposal, Refusal> {
    let Some(known) = group.map(Group::known) else {
        return Proposal::extend(None, None, Vec::new(), id, statements).await;
    };
    let on = Some(known.roster.head());
    let Some(at) = known.parting(&statements) else {
        return Proposal::extend(Some((*known).clone()), on, Vec::new(), id, statements).await;
    };
    let stored = relay.storage.group(id).await?.ok_or(StoreError::UnknownGroup)?.statements;
    let judging = tokio::task::spawn_blocking(move || {
        let base = Known::give_way(stored, at, &statements, clock::unix_millis());
        base.map(|base| (base, statements))
    });
    let (base, statements) = judging.await.map_err(|_| broken())??;
    let base = base.ok_or_else(|| RosterError::Conflict(known.roster.head()))?;
    Proposal::extend(Some(base), on, Vec::new(), id, statements).await
}

fn broken() -> Refusal {
    Refusal::new(Code::Internal, "the statements broke the relay")
}

impl Proposal {
    async fn extend(
        base: Option<Known>,
        on: Option<Head>,
        mut new: Vec<Append>,
        id: GroupId,
        statements: Vec<Append>,
    ) -> Result<Self, Refusal> {
        // Signatures by the hundred: not on a thread that serves others.
        let judging = tokio::task::spawn_blocking(move || Known::extend(base, id, statements));
        let (known, more) = judging.await.map_err(|_| broken())??;
        new.extend(more);
        Ok(Self { known, on, new })
    }

    async fn more(self, id: GroupId, statements: Vec<Append>) -> Result<Self, Refusal> {
        Self::extend(Some(self.known), self.on, self.new, id, statements).await
    }

    fn bytes(&self) -> usize {
        self.new.iter().map(known::size).sum()
    }

    /// Who shuts devices out is heard even when the roster is full: that comes to an end by itself.
    fn is_too_long(&self) -> bool {
        self.known.is_too_long() && !self.new.iter().all(|append| ended_by(&append.statement).is_some())
    }
}

impl Staging {
    fn keep(&mut self, proposal: Proposal, share: &Arc<Semaphore>) -> Result<(), Refusal> {
        let Self { held, .. } = std::mem::take(self);
        let bytes = proposal.bytes();
        if bytes > STAGED {
            let text = "too many statements without one that admits the sender";
            return Err(Refusal::new(Code::Unauthorized, text));
        }
        let more = bytes.saturating_sub(held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits));
        let more = share.clone().try_acquire_many_owned(u32::try_from(more).unwrap_or(u32::MAX));
        let Ok(mut all) = more else {
            let refusal = Refusal::new(Code::RelayOverloaded, "too many rosters brought at once");
            return Err(refusal.retry_after(Duration::from_secs(1)));
        };
        if let Some(held) = held {
            all.merge(held);
        }
        *self = Self { proposal: Some(proposal), held: Some(all) };
        Ok(())
    }
}

async fn store(
    relay: &Relay,
    group_id: GroupId,
    group: Option<&Arc<Group>>,
    proposal: Proposal,
    token: Option<String>,
    answer: impl FnOnce(Head),
) -> Result<(), Untaken> {
    if proposal.new.iter().any(|append| known::size(append) > MAX_BLOB) {
        // It would fit no page, and nobody would ever get beyond it.
        return Err(Refusal::invalid("a statement with what stands beside it is at most 1 MiB").into());
    }
    if proposal.is_too_long() {
        let text = "the group's roster is as long as this relay keeps one";
        return Err(Refusal::new(Code::GroupQuotaExceeded, text).into());
    }
    let Proposal { known, on, new } = proposal;
    let head = known.roster.head();
    if new.is_empty() {
        answer(head);
        return Ok(());
    }
    let counted: Vec<DeviceId> = known.roster.counted().copied().collect();
    let members = known.roster.members().keys().map(|id| (*id, counted.contains(id))).collect();
    let first = known.length().saturating_sub(u64::try_from(new.len()).unwrap_or(u64::MAX));
    let maker = relay.admission.maker(token);
    let expected = on.map_or(0, |head| head.n + 1);
    let statements =
        NewStatements { group: group_id, expected, first, statements: new.clone(), maker, members };
    let stored = relay.storage.append(statements);
    let outcome = match group {
        Some(group) => stored.await.map(|()| {
            answer(head);
            group.announce(known, &new);
        }),
        None => relay.hub.create(&*relay.storage, group_id, known, stored).await.map(|_| answer(head)),
    };
    outcome.map_err(|e| match e {
        StoreError::RosterMoved => Untaken::Moved,
        e => Untaken::Refused(e.into()),
    })
}
