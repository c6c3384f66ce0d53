//! HELLO and rosters that do not hold.

use bytes::Bytes;
use zerok_protocol::roster::{Append, Change, MAX_MEMBERS, MAX_STATEMENT, Statement, envelopes_hash};
use zerok_protocol::*;

use super::{Scene, errors};
use crate::client::{Client, Stream, hello, push};
use crate::devices::{Chain, Device};

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_begins_with_hello_once_and_for_one_group() {
    let mut scene = Scene::new().await;
    let (client, mut session, chain) = scene.member(1).await;
    let before = scene.before().await;
    // Twice, and for another group on the same stream: said to be wrong, and the session goes on.
    for again in [hello(&chain), hello(&Chain::new(&Device::new(2)))] {
        session.send(again).await;
        let e = session.error().await;
        assert_eq!((e.req, e.code), (None, Code::InvalidMessage));
    }
    session.push(&chain, 1, &b"goes on"[..]).await;
    // Another group before the first is settled.
    let mut unsettled = client.open().await;
    unsettled.send(hello(&Chain::new(&Device::new(1)))).await;
    assert!(matches!(unsettled.next().await, Message::Welcome(_)));
    let stranger = scene.connect(3).await;
    let mut unsettled = stranger.open().await;
    unsettled.send(Hello { group: GroupId([1; 32]), ..hello(&chain) }).await;
    assert_eq!(unsettled.error().await.code, Code::UnknownGroup);
    unsettled.send(Hello { group: GroupId([2; 32]), ..hello(&chain) }).await;
    assert_eq!(unsettled.error().await.code, Code::InvalidMessage);
    // Requests before WELCOME.
    unsettled.send(push(&chain, 1, &b"x"[..])).await;
    assert_eq!(unsettled.error().await.code, Code::InvalidMessage);
    unsettled.send(Pull { req: 1, after_cursor: 0, limit: None }).await;
    assert_eq!(unsettled.error().await.code, Code::InvalidMessage);
    let moved = [(&*errors(Code::InvalidMessage), 5.0), (&*errors(Code::UnknownGroup), 1.0), ("groups", 0.0)];
    scene.after(&before, &moved).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_no_member_has_no_session() {
    let mut scene = Scene::new().await;
    let (_client, _session, chain) = scene.member(1).await;
    let before = scene.before().await;
    let stranger = scene.connect(3).await;
    let elsewhere = Head { n: 7, hash: Hash([7; 32]) };
    for (hello, code, ends) in [
        (hello(&chain), Code::Unauthorized, true),
        (Hello { head: elsewhere, ..hello(&chain) }, Code::UnknownGroup, false),
        (Hello { group: GroupId([9; 32]), ..hello(&chain) }, Code::UnknownGroup, false),
        (Hello { versions: vec![], ..hello(&chain) }, Code::UnsupportedVersion, true),
        (Hello { versions: vec![0, 2, u16::MAX], ..hello(&chain) }, Code::UnsupportedVersion, true),
    ] {
        let mut stream = stranger.open().await;
        stream.send(hello).await;
        let e = stream.error().await;
        assert_eq!((e.req, e.code, e.head), (None, code, None));
        if ends {
            assert!(stream.recv.try_next().await.is_none());
        }
    }
    let moved = [
        (&*errors(Code::Unauthorized), 1.0),
        (&*errors(Code::UnknownGroup), 2.0),
        (&*errors(Code::UnsupportedVersion), 2.0),
        ("sessions_admitted_total", 0.0),
    ];
    scene.after(&before, &moved).await;
}

/// A signed statement after the head of `chain`, its fields changed before it is signed.
fn next(chain: &Chain, by: &Device, change: Change, bend: impl FnOnce(&mut Statement)) -> Append {
    let mut statement = Statement {
        v: 1,
        group: Some(chain.roster.group()),
        n: chain.roster.head().n + 1,
        prev: Some(chain.roster.head().hash),
        envelopes_hash: change.needs_envelopes().then(|| envelopes_hash(&[], &[])),
        change,
        by: by.id(),
    };
    bend(&mut statement);
    Append { statement: by.sign(&statement, None), envelopes: vec![], sealed_previous: vec![] }
}

/// What is wrong, the statements, and the answer.
type Case = (&'static str, Vec<Append>, Code);

/// Rosters of the group of `chain`, whose members are `a` and `b`.
fn rosters(chain: &Chain, a: &Device, b: &Device) -> Vec<Case> {
    let outsider = Device::new(77);
    let with = |change: &dyn Fn(&mut Vec<Append>)| {
        let mut appends = chain.appends.clone();
        change(&mut appends);
        appends
    };
    let and = |append: Append| with(&|all| all.push(append.clone()));
    let flip = |signature: &mut Signature| signature.0[10] ^= 1;
    let long = vec![1; MAX_STATEMENT + 1];
    vec![
        (
            "a bad signature on genesis",
            with(&|all| flip(&mut all[0].statement.signature)),
            Code::InvalidMessage,
        ),
        ("a bad signature", with(&|all| flip(&mut all[1].statement.signature)), Code::InvalidMessage),
        (
            "a signature of zeros",
            with(&|all| all[1].statement.signature = Signature([0; 64])),
            Code::InvalidMessage,
        ),
        ("a joiner who did not sign", with(&|all| all[1].statement.joiner = None), Code::InvalidMessage),
        (
            "another's joiner",
            with(&|all| all[1].statement.joiner = all[0].statement.joiner),
            Code::InvalidMessage,
        ),
        (
            "a joiner where none is",
            and({
                let mut rotate = next(chain, a, Change::Leave, |_| {});
                rotate.statement.joiner = chain.appends[1].statement.joiner;
                rotate
            }),
            Code::InvalidMessage,
        ),
        ("another group's genesis", Chain::of(&[b, a]).appends, Code::InvalidMessage),
        ("no genesis", with(&|all| drop(all.remove(0))), Code::InvalidMessage),
        ("nothing", vec![], Code::InvalidMessage),
        (
            "genesis twice over",
            and(next(chain, a, Change::Genesis { member: a.member() }, |_| {})),
            Code::InvalidMessage,
        ),
        (
            "a wrong prev",
            and(next(chain, a, Change::Leave, |s| s.prev = Some(Hash([3; 32])))),
            Code::RosterConflict,
        ),
        ("no prev", and(next(chain, a, Change::Leave, |s| s.prev = None)), Code::RosterConflict),
        ("a wrong number", and(next(chain, a, Change::Leave, |s| s.n += 1)), Code::RosterConflict),
        ("a number beyond all", and(next(chain, a, Change::Leave, |s| s.n = u64::MAX)), Code::RosterConflict),
        (
            "another group",
            and(next(chain, a, Change::Leave, |s| s.group = Some(GroupId([4; 32])))),
            Code::InvalidMessage,
        ),
        ("no group", and(next(chain, a, Change::Leave, |s| s.group = None)), Code::InvalidMessage),
        (
            "an author who is no member",
            and(next(chain, &outsider, Change::Leave, |_| {})),
            Code::Unauthorized,
        ),
        ("another version", and(next(chain, a, Change::Leave, |s| s.v = 2)), Code::InvalidMessage),
        ("an epoch without envelopes", and(next(chain, a, Change::Rotate, |_| {})), Code::InvalidMessage),
        (
            "envelopes of another",
            with(&|all| all[1].envelopes = all[0].envelopes.clone()),
            Code::InvalidMessage,
        ),
        (
            "a statement that is too long",
            with(&|all| all[1].statement.bytes = long.clone().into()),
            Code::InvalidMessage,
        ),
        (
            "bytes that are no statement",
            with(&|all| all[1].statement.bytes = Bytes::from_static(b"no")),
            Code::InvalidMessage,
        ),
        (
            "a revocation of nobody",
            and(next(chain, a, Change::Revoke { device: outsider.id() }, |_| {})),
            Code::InvalidMessage,
        ),
    ]
}

async fn bring(client: &Client, chain: &Chain, statements: Vec<Append>) -> (Stream, Error) {
    let mut stream = client.open().await;
    stream.send(hello(chain)).await;
    assert_eq!(stream.error().await.code, Code::UnknownGroup);
    stream.send(RosterAppend { req: 5, statements }).await;
    let e = stream.error().await;
    (stream, e)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_roster_that_does_not_hold_makes_no_group() {
    let mut scene = Scene::new().await;
    let (a, b) = (Device::new(1), Device::new(2));
    let chain = Chain::of(&[&a, &b]);
    let client = scene.connect(1).await;
    let before = scene.before().await;
    let (mut invalid, mut conflicts) = (0.0, 0.0);
    for (what, statements, code) in rosters(&chain, &a, &b) {
        let (mut stream, e) = bring(&client, &chain, statements).await;
        // Whoever may not know where the roster stands is not told.
        assert_eq!((e.req, e.code, e.head), (Some(5), code, None), "{what}: {}", e.message);
        stream.send(hello(&chain)).await;
        assert_eq!(stream.error().await.code, Code::UnknownGroup, "{what}");
        match code {
            Code::InvalidMessage => invalid += 1.0,
            Code::RosterConflict => conflicts += 1.0,
            _ => {}
        }
    }
    let moved = [
        (&*errors(Code::InvalidMessage), invalid),
        (&*errors(Code::RosterConflict), conflicts),
        (&*errors(Code::Unauthorized), 1.0),
        ("groups", 0.0),
        ("sessions", 0.0),
    ];
    scene.after(&before, &moved).await;
    // And the one that holds does, on the same connection.
    client.session(&chain).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_does_not_hold_leaves_the_session_and_the_roster_as_they_were() {
    let mut scene = Scene::new().await;
    let (a, b) = (Device::new(1), Device::new(2));
    let chain = Chain::of(&[&a, &b]);
    let client = scene.connect(1).await;
    let (mut session, _) = client.session(&chain).await;
    let before = scene.before().await;
    let mut refused = 0.0;
    for (what, statements, code) in rosters(&chain, &a, &b) {
        session.send(RosterAppend { req: 6, statements }).await;
        let e = match session.next().await {
            Message::Error(e) => e,
            // What is stored is a repeat, whatever stands beside it now.
            Message::RosterOk(ok) => {
                assert_eq!((ok.req, ok.head), (6, chain.roster.head()), "{what}");
                continue;
            }
            other => panic!("{what}: {other:?}"),
        };
        assert_eq!(e.req, Some(6), "{what}");
        let known = [code, Code::RosterConflict, Code::InvalidMessage];
        assert!(known.contains(&e.code), "{what}: {} {}", e.code, e.message);
        assert!(e.head.is_none_or(|head| head == chain.roster.head()), "{what}");
        refused += 1.0;
    }
    assert!(refused >= 15.0, "{refused}");
    session.push(&chain, 1, &b"goes on"[..]).await;
    session.send(RosterGet { req: 7, from: 0 }).await;
    match session.next().await {
        Message::RosterPage(page) => assert_eq!(page.statements, chain.appends),
        other => panic!("{other:?}"),
    }
    let after = scene.before().await;
    let all: f64 = [Code::InvalidMessage, Code::RosterConflict, Code::Unauthorized]
        .map(|code| after.get(&errors(code)) - before.get(&errors(code)))
        .iter()
        .sum();
    assert_eq!(all, refused);
    scene.after(&before, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_has_no_more_members_than_it_may() {
    let mut scene = Scene::new().await;
    let devices: Vec<Device> = (0..=255).map(Device::new).collect();
    let chain = Chain::of(&devices.iter().collect::<Vec<_>>());
    assert_eq!(chain.roster.members().len(), MAX_MEMBERS);
    let client = scene.connect(0).await;
    let (mut session, _) = client.session(&chain).await;
    let before = scene.before().await;
    let one_more = Device::numbered(1000);
    let mut add = next(&chain, &devices[0], Change::Add { member: one_more.member() }, |_| {});
    let statement = add.statement.statement().unwrap();
    add.statement = devices[0].sign(&statement, Some(&one_more));
    session.send(RosterAppend { req: 1, statements: vec![add] }).await;
    let e = session.error().await;
    assert_eq!((e.req, e.code), (Some(1), Code::InvalidMessage));
    assert!(e.message.contains("full"), "{}", e.message);
    scene.after(&before, &[(&errors(Code::InvalidMessage), 1.0)]).await;
}
