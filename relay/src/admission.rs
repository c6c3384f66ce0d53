//! Who may have a session, and which statements a roster takes (PROTOCOL.md, "Admission to a group").

use std::sync::Arc;

use zerok_protocol::roster::Append;
use zerok_protocol::{Code, DeviceId, GroupId, Head, Hello, VERSION};

use crate::hub::{Group, removes};
use crate::known::Known;
use crate::refuse::Refusal;
use crate::relay::Relay;
use crate::store::{NewStatements, StoreError};

/// Bytes of statements that wait in memory for the one that makes their sender a member.
const STAGED: usize = 16 << 20;
/// Bytes of a page of statements when the one that shut a device out is looked for.
const SEARCH_PAGE: usize = 4 << 20;

/// Statements of a device that is no member yet by the roster so far: a long roster comes in several messages.
#[derive(Default)]
pub(crate) struct Staging {
    known: Option<Known>,
    new: Vec<Append>,
    bytes: usize,
}

/// Judges a HELLO.
pub(crate) async fn judge(relay: &Relay, device: DeviceId, hello: &Hello) -> Result<Arc<Group>, Refusal> {
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
    if !known.has(&hello.head) {
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
        if let Some(found) = page.into_iter().map(|a| a.statement).find(|s| removes(s, &device)) {
            return Ok(Refusal::revoked(Some(found)));
        }
    }
    Ok(Refusal::revoked(None))
}

/// Takes statements that continue the roster, or begin one. `stranger`: the sender has no session yet, so that what it
/// brings is stored only once it makes the sender a member. `answer` is called after the commit and before anybody
/// else hears of the new head.
pub(crate) async fn append(
    relay: &Relay,
    group_id: GroupId,
    device: DeviceId,
    stranger: Option<&mut Staging>,
    statements: Vec<Append>,
    answer: impl FnOnce(Head),
) -> Result<(), Refusal> {
    if !relay.admission.takes(&group_id) {
        return Err(Refusal::new(Code::Unauthorized, "this relay does not serve this group"));
    }
    let group = relay.hub.open(&*relay.storage, group_id).await?;
    let _appending = match &group {
        Some(group) => Some(group.appending.lock().await),
        None => None,
    };
    let base = group.as_ref().map(|group| (*group.known()).clone());
    let (base, mut earlier) = match &stranger {
        Some(staging) if staging.known.is_some() => (staging.known.clone(), staging.new.clone()),
        _ => (base, Vec::new()),
    };
    // Signatures by the hundred: not on a thread that serves others.
    let judged = tokio::task::spawn_blocking(move || Known::extend(base, group_id, statements));
    let (known, new) =
        judged.await.map_err(|_| Refusal::new(Code::Internal, "the statements broke the relay"))??;
    earlier.extend(new);
    let new = earlier;
    if let Some(staging) = stranger
        && !known.roster.is_member(&device)
    {
        answer(known.roster.head());
        return staging.keep(known, new);
    }
    store(relay, group_id, group.as_ref(), known, new, answer).await
}

impl Staging {
    fn keep(&mut self, known: Known, new: Vec<Append>) -> Result<(), Refusal> {
        let size = |a: &Append| {
            let beside: usize = a.envelopes.iter().map(|e| e.enc.len() + e.ciphertext.len() + 64).sum();
            let sealed: usize = a.sealed_previous.iter().map(|s| s.len() + 16).sum();
            a.statement.bytes.len() + 256 + beside + sealed
        };
        self.bytes = new.iter().map(size).sum();
        if self.bytes > STAGED {
            *self = Self::default();
            return Err(Refusal::new(
                Code::Unauthorized,
                "too many statements without one that admits the sender",
            ));
        }
        (self.known, self.new) = (Some(known), new);
        Ok(())
    }
}

async fn store(
    relay: &Relay,
    group_id: GroupId,
    group: Option<&Arc<Group>>,
    known: Known,
    new: Vec<Append>,
    answer: impl FnOnce(Head),
) -> Result<(), Refusal> {
    let head = known.roster.head();
    if new.is_empty() {
        answer(head);
        return Ok(());
    }
    let counted: Vec<DeviceId> = known.roster.counted().copied().collect();
    let members = known.roster.members().keys().map(|id| (*id, counted.contains(id))).collect();
    let first = (head.n + 1).saturating_sub(u64::try_from(new.len()).unwrap_or(u64::MAX));
    let stored =
        relay.storage.append(NewStatements { group: group_id, first, statements: new.clone(), members });
    match group {
        Some(group) => {
            stored.await?;
            answer(head);
            group.announce(known, &new);
        }
        None => {
            relay
                .hub
                .create::<Refusal>(&*relay.storage, group_id, known, async { Ok(stored.await?) })
                .await?;
            answer(head);
        }
    }
    Ok(())
}
