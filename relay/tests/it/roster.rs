//! Who is let in, and how rosters grow.

use zerok_protocol::*;

use crate::client::{Client, Stream, TestRelay, config, hello, push};
use crate::devices::{Chain, Device};

fn append(chain: &Chain, req: u32, from: usize) -> RosterAppend {
    RosterAppend { req, statements: chain.appends[from..].to_vec() }
}

async fn appended(stream: &mut Stream) -> RosterOk {
    match stream.next().await {
        Message::RosterOk(ok) => ok,
        other => panic!("not appended: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_who_knows_the_group_id_is_told_nothing() {
    let relay = TestRelay::start().await;
    let (a, c) = (Device::new(1), Device::new(3));
    let chain = Chain::new(&a);
    let member = Client::connect(&relay.address(), &a).await;
    member.session(&chain).await;
    let stranger = Client::connect(&relay.address(), &c).await;
    // A head that the relay does not have: the same answer as for a group that it does not know.
    let mut known = stranger.open().await;
    let head = Head { n: 5, hash: Hash([9; 32]) };
    known.send(Hello { head, ..hello(&chain) }).await;
    let mut unknown = stranger.open().await;
    unknown.send(Hello { group: GroupId([8; 32]), head, ..hello(&chain) }).await;
    assert_eq!(known.error().await, unknown.error().await);
    // One that it has: it was a member's knowledge, so the plain truth is told.
    let mut knowing = stranger.open().await;
    knowing.send(hello(&chain)).await;
    assert_eq!(knowing.error().await.code, Code::Unauthorized);
    assert!(knowing.recv.try_next().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_roster_of_others_is_not_taken_from_a_stranger() {
    let relay = TestRelay::start().await;
    let chain = Chain::new(&Device::new(1));
    let stranger = Client::connect(&relay.address(), &Device::new(3)).await;
    let mut stream = stranger.open().await;
    stream.send(hello(&chain)).await;
    assert_eq!(stream.error().await.code, Code::UnknownGroup);
    stream.send(append(&chain, 1, 0)).await;
    appended(&mut stream).await;
    stream.send(hello(&chain)).await;
    assert_eq!(stream.error().await.code, Code::UnknownGroup);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_roster_comes_in_several_messages_and_the_last_one_admits() {
    let relay = TestRelay::start().await;
    let devices: Vec<Device> = (1..=6).map(Device::new).collect();
    let chain = Chain::of(&devices.iter().collect::<Vec<_>>());
    let client = Client::connect(&relay.address(), &devices[5]).await;
    let mut stream = client.open().await;
    stream.send(hello(&chain)).await;
    assert_eq!(stream.error().await.code, Code::UnknownGroup);
    for n in 0..6u32 {
        let statements = vec![chain.appends[n as usize].clone()];
        stream.send(RosterAppend { req: n, statements }).await;
        assert_eq!(appended(&mut stream).await.head.n, u64::from(n));
    }
    stream.send(hello(&chain)).await;
    match stream.next().await {
        Message::Welcome(welcome) => assert_eq!(welcome.head, chain.roster.head()),
        other => panic!("{other:?}"),
    }
    // A repeat is answered with the head, a page gives all of it back.
    stream.send(append(&chain, 9, 3)).await;
    assert_eq!(appended(&mut stream).await, RosterOk { req: 9, head: chain.roster.head() });
    stream.send(RosterGet { req: 10, from: 2 }).await;
    match stream.next().await {
        Message::RosterPage(page) => assert_eq!(page.statements, chain.appends[2..]),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_roster_is_refused_and_changes_nothing() {
    let relay = TestRelay::start().await;
    let (a, b) = (Device::new(1), Device::new(2));
    let chain = Chain::of(&[&a, &b]);
    let client = Client::connect(&relay.address(), &a).await;
    let mut stream = client.open().await;
    stream.send(Hello { group: GroupId([7; 32]), ..hello(&chain) }).await;
    assert_eq!(stream.error().await.code, Code::UnknownGroup);
    stream.send(append(&chain, 1, 0)).await;
    let e = stream.error().await;
    assert_eq!((e.req, e.code), (Some(1), Code::InvalidMessage));
    let mut stream = client.open().await;
    stream.send(hello(&chain)).await;
    assert_eq!(stream.error().await.code, Code::UnknownGroup);
    let mut forged = chain.appends.clone();
    forged[1].envelopes[0].ciphertext = b"other".to_vec().into();
    stream.send(RosterAppend { req: 2, statements: forged }).await;
    assert_eq!(stream.error().await.code, Code::InvalidMessage);
    stream.send(hello(&chain)).await;
    assert_eq!(stream.error().await.code, Code::UnknownGroup);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_member_is_announced_and_admitted_at_once() {
    let relay = TestRelay::start().await;
    let (a, b) = (Device::new(1), Device::new(2));
    let mut chain = Chain::new(&a);
    let first = Client::connect(&relay.address(), &a).await;
    let (mut session, _) = first.session(&chain).await;
    let (mut second, _) = first.session(&chain).await;
    chain.add(&a, &b);
    session.send(append(&chain, 4, 1)).await;
    assert_eq!(appended(&mut session).await.head, chain.roster.head());
    loop {
        match second.recv.next().await {
            Message::RosterNews(news) => break assert_eq!(news.head, chain.roster.head()),
            Message::Presence(_) => {}
            other => panic!("{other:?}"),
        }
    }
    let joiner = Client::connect(&relay.address(), &b).await;
    let (_session, welcome) = joiner.session(&chain).await;
    assert_eq!(welcome.head, chain.roster.head());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_statement_on_the_same_head_gets_the_head() {
    let relay = TestRelay::start().await;
    let (a, b) = (Device::new(1), Device::new(2));
    let chain = Chain::of(&[&a, &b]);
    let (ca, cb) = (Client::connect(&relay.address(), &a).await, Client::connect(&relay.address(), &b).await);
    let ((mut sa, _), (mut sb, _)) = (ca.session(&chain).await, cb.session(&chain).await);
    let (mut by_a, mut by_b) = (chain.clone(), chain.clone());
    by_a.rotate(&a);
    by_b.rotate(&b);
    sa.send(append(&by_a, 1, 2)).await;
    appended(&mut sa).await;
    sb.send(append(&by_b, 1, 2)).await;
    let e = sb.error().await;
    assert_eq!((e.req, e.code, e.head), (Some(1), Code::RosterConflict, Some(by_a.roster.head())));
    // The old epoch is stale now, except for what is stored already.
    sb.send(push(&by_b, 5, &b"x"[..])).await;
    assert_eq!(sb.error().await.code, Code::StaleEpoch);
    sb.push(&by_a, 5, &b"x"[..]).await;
    sb.push(&chain, 5, &b"x"[..]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_device_is_shut_out_with_the_statement_everywhere() {
    let relay = TestRelay::start().await;
    let (a, b) = (Device::new(1), Device::new(2));
    let mut chain = Chain::of(&[&a, &b]);
    let old = chain.clone();
    let (ca, cb) = (Client::connect(&relay.address(), &a).await, Client::connect(&relay.address(), &b).await);
    let ((mut sa, _), (mut sb, _)) = (ca.session(&chain).await, cb.session(&chain).await);
    sb.subscribe(1, 0, CREDIT_DEFAULT).await;
    let (mut delivery, _) = cb.delivery().await;
    assert_eq!(delivery.next().await, CaughtUp { cursor: 0 }.into());
    chain.revoke(&a, &b);
    sa.send(append(&chain, 1, 2)).await;
    appended(&mut sa).await;
    let e = sb.error().await;
    assert_eq!((e.code, e.statement), (Code::DeviceRevoked, Some(chain.appends[2].statement.clone())));
    assert!(sb.recv.try_next().await.is_none());
    assert!(delivery.try_next().await.is_none());
    // Its other streams have lost their access too.
    let mut stream = cb.open().await;
    stream.send(ChunkHave { req: 1, group: chain.roster.group(), addresses: vec![] }).await;
    assert_eq!(stream.error().await.code, Code::Unauthorized);
    let mut again = cb.open().await;
    again.send(hello(&old)).await;
    let e = again.error().await;
    assert_eq!((e.code, e.statement), (Code::DeviceRevoked, Some(chain.appends[2].statement.clone())));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_is_answered_first_and_then_shut_out() {
    let relay = TestRelay::start().await;
    let (a, b) = (Device::new(1), Device::new(2));
    let mut chain = Chain::of(&[&a, &b]);
    let client = Client::connect(&relay.address(), &b).await;
    let (mut session, _) = client.session(&chain).await;
    chain.leave(&b);
    session.send(append(&chain, 1, 2)).await;
    appended(&mut session).await;
    assert_eq!(session.error().await.code, Code::DeviceRevoked);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_relay_takes_its_own_groups_and_no_others() {
    let own = zerok_relay::OwnGroups::default();
    let groups = own.clone();
    let admission = Some(zerok_relay::Admission::Own(groups));
    let relay = TestRelay::with(|c| c.server.admission = admission).await;
    let a = Device::new(1);
    let chain = Chain::new(&a);
    let client = Client::connect(&relay.address(), &a).await;
    let mut stream = client.open().await;
    stream.send(hello(&chain)).await;
    assert_eq!(stream.error().await.code, Code::Unauthorized);
    own.insert(chain.roster.group());
    client.session(&chain).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_takes_no_more_groups_than_it_may() {
    let relay = TestRelay::with(|c| c.storage.max_groups = 1).await;
    let (a, b) = (Device::new(1), Device::new(2));
    let client = Client::connect(&relay.address(), &a).await;
    client.session(&Chain::new(&a)).await;
    let chain = Chain::new(&b);
    let client = Client::connect(&relay.address(), &b).await;
    let mut stream = client.open().await;
    stream.send(hello(&chain)).await;
    stream.error().await;
    stream.send(append(&chain, 1, 0)).await;
    let e = stream.error().await;
    assert_eq!((e.req, e.code), (Some(1), Code::RelayOverloaded));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_database_is_filled_again_by_a_member_and_is_another_log() {
    let relay = TestRelay::start().await;
    let (a, b) = (Device::new(1), Device::new(2));
    let chain = Chain::of(&[&a, &b]);
    let client = Client::connect(&relay.address(), &a).await;
    let (_, before) = client.session(&chain).await;
    let dir = relay.dir.clone();
    let address = relay.address();
    relay.running.stop().await;
    for name in ["relay.db", "relay.db-wal", "relay.db-shm"] {
        let _ = std::fs::remove_file(dir.path().join("relay").join(name));
    }
    let mut again = config(&dir);
    again.server.bind = address.addrs[0];
    let running = zerok_relay::start(again).await.unwrap();
    assert_eq!(*running.address(), address);
    let client = Client::connect(&address, &b).await;
    let (_, after) = client.session(&chain).await;
    assert_ne!(before.log_id, after.log_id);
    assert_eq!(after.head, chain.roster.head());
}

#[tokio::test(flavor = "multi_thread")]
async fn members_who_bring_a_lost_roster_at_the_same_moment_are_all_admitted() {
    let devices: Vec<Device> = (1..=8).map(Device::new).collect();
    let chain = Chain::of(&devices.iter().collect::<Vec<_>>());
    for _ in 0..3 {
        let relay = TestRelay::start().await;
        let address = relay.address();
        let mut streams = Vec::new();
        for device in &devices {
            let client = Client::connect(&address, device).await;
            let mut stream = client.open().await;
            stream.send(hello(&chain)).await;
            assert_eq!(stream.error().await.code, Code::UnknownGroup);
            streams.push((client, stream));
        }
        for (_, stream) in &mut streams {
            stream.send(append(&chain, 1, 0)).await;
        }
        for (_, stream) in &mut streams {
            assert_eq!(appended(stream).await.head, chain.roster.head());
            stream.send(hello(&chain)).await;
            assert!(matches!(stream.next().await, Message::Welcome(_)));
        }
    }
}
