//! What somebody would try who means harm: a stranger, a device with a group of its own, a member who was shut out.

use bytes::Bytes;
use zerok_protocol::roster::Append;
use zerok_protocol::*;

use crate::client::{Client, Stream, TestRelay, config, hello, push};
use crate::devices::{Chain, Device};

async fn bring(stream: &mut Stream, statements: &[Append]) -> Message {
    stream.send(RosterAppend { req: 7, statements: statements.to_vec() }).await;
    stream.next().await
}

/// A stream on which the chain's head was said to be unknown.
async fn unadmitted(client: &Client, chain: &Chain) -> Stream {
    let mut stream = client.open().await;
    stream.send(Hello { head: Head { n: 99, hash: Hash([9; 32]) }, ..hello(chain) }).await;
    assert_eq!(stream.error().await.code, Code::UnknownGroup);
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_judged_on_a_branch_that_was_replaced_meanwhile_are_judged_again() {
    let (a, b, d) = (Device::new(1), Device::new(2), Device::new(4));
    let base = Chain::of(&[&a, &b]);
    let (mut seniors, mut juniors) = (base.clone(), base);
    juniors.rotate(&b);
    seniors.rotate(&a);
    let relay = TestRelay::start().await;
    let cb = Client::connect(&relay.address(), &b).await;
    cb.session(&juniors).await;
    // A stranger brings what continues the juniors' branch, and does not admit it yet.
    juniors.rotate(&b);
    let cd = Client::connect(&relay.address(), &d).await;
    let mut stranger = unadmitted(&cd, &juniors).await;
    assert!(matches!(bring(&mut stranger, &juniors.appends).await, Message::RosterOk(_)));
    // Then the senior replaces that branch by one of the same length.
    let ca = Client::connect(&relay.address(), &a).await;
    let (mut sa, _) = ca.session(&seniors).await;
    assert!(matches!(bring(&mut sa, &seniors.appends).await, Message::RosterOk(_)));
    juniors.add(&b, &d);
    match bring(&mut stranger, &juniors.appends[4..]).await {
        Message::Error(e) => assert_eq!(e.code, Code::RosterConflict),
        other => panic!("{other:?}"),
    }
    // What is stored holds: the group is there after a restart.
    let dir = relay.dir.clone();
    relay.running.stop().await;
    let running = zerok_relay::start(config(&dir)).await.unwrap();
    let ca = Client::connect(running.address(), &a).await;
    let (_, welcome) = ca.session(&seniors).await;
    assert_eq!(welcome.head, seniors.roster.head());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_knows_only_a_groups_id_does_not_learn_whether_it_is_here() {
    let relay = TestRelay::start().await;
    let (a, b, stranger) = (Device::new(1), Device::new(2), Device::new(9));
    let (here, elsewhere) = (Chain::of(&[&a, &b]), Chain::of(&[&b, &a]));
    let ca = Client::connect(&relay.address(), &a).await;
    ca.session(&here).await;
    let client = Client::connect(&relay.address(), &stranger).await;
    let own = Chain::of(&[&stranger, &a]);
    let mut answers = Vec::new();
    for group in [&here, &elsewhere] {
        let mut stream = unadmitted(&client, group).await;
        for statements in [&own.appends[..], &own.appends[1..], &[]] {
            match bring(&mut stream, statements).await {
                Message::Error(e) => answers.push((e.code, e.message, e.head)),
                other => panic!("{other:?}"),
            }
        }
    }
    let (of_here, of_elsewhere) = answers.split_at(3);
    assert_eq!(of_here, of_elsewhere);
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_who_are_not_admitted_take_no_ones_place() {
    let relay = TestRelay::with(|c| c.limits.max_concurrent_sessions = 2).await;
    let stranger = Client::connect(&relay.address(), &Device::new(9)).await;
    let unknown = Chain::new(&Device::new(8));
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(unadmitted(&stranger, &unknown).await);
    }
    let a = Device::new(1);
    let ca = Client::connect(&relay.address(), &a).await;
    let chain = Chain::new(&a);
    let (_one, _) = ca.session(&chain).await;
    let (_two, _) = ca.session(&chain).await;
    let mut third = ca.open().await;
    third.send(hello(&chain)).await;
    assert_eq!(third.error().await.code, Code::RelayOverloaded);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_roster_does_not_grow_for_ever_but_shuts_out_whom_it_must() {
    let relay = TestRelay::start().await;
    let (a, b) = (Device::new(1), Device::new(2));
    let mut chain = Chain::of(&[&a, &b]);
    let ca = Client::connect(&relay.address(), &a).await;
    let (mut session, _) = ca.session(&chain).await;
    let ballast = Bytes::from(vec![7; 1_000_000]);
    let refused = loop {
        let before = chain.clone();
        chain.rotate_with(&a, vec![ballast.clone()]);
        match bring(&mut session, &chain.appends[before.appends.len()..]).await {
            Message::RosterOk(_) => assert!(chain.appends.len() < 100, "no end"),
            Message::Error(e) => {
                chain = before;
                break e;
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refused.code, Code::GroupQuotaExceeded);
    let kept = chain.appends.len();
    assert!(kept > 60, "{kept}");
    chain.revoke(&a, &b);
    assert!(matches!(bring(&mut session, &chain.appends[kept..]).await, Message::RosterOk(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_of_a_byte_count_as_the_rows_that_they_are() {
    let relay = TestRelay::with(|c| {
        c.storage.max_blob_size = 100;
        c.storage.max_group_storage = 10 * 512;
    })
    .await;
    let (a, b) = (Device::new(1), Device::new(2));
    let chain = Chain::of(&[&a, &b]);
    let (ca, cb) = (Client::connect(&relay.address(), &a).await, Client::connect(&relay.address(), &b).await);
    let ((mut sa, _), (mut sb, _)) = (ca.session(&chain).await, cb.session(&chain).await);
    let first = sa.push(&chain, 1, &b"1"[..]).await.cursor;
    for n in 2..=10 {
        sa.push(&chain, n, &b"1"[..]).await;
    }
    sa.send(push(&chain, 11, &b"1"[..])).await;
    assert_eq!(sa.error().await.code, Code::GroupQuotaExceeded);
    // What the other has gives its row.
    sb.send(Ack { cursor: first }).await;
    loop {
        sa.send(push(&chain, 11, &b"1"[..])).await;
        match sa.next().await {
            Message::PushAck(_) => break,
            Message::Error(e) => assert_eq!(e.code, Code::GroupQuotaExceeded),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn credit_in_drops_delivers_all_the_same() {
    let relay = TestRelay::start().await;
    let (a, b) = (Device::new(1), Device::new(2));
    let chain = Chain::of(&[&a, &b]);
    let (ca, cb) = (Client::connect(&relay.address(), &a).await, Client::connect(&relay.address(), &b).await);
    let (mut sa, _) = ca.session(&chain).await;
    for n in 1..=3 {
        sa.push(&chain, n, vec![1; 1000]).await;
    }
    // No session has seen them come: they are read from the database.
    let (mut sb, _) = cb.session(&chain).await;
    sb.subscribe(1, 0, 1).await;
    let (mut delivery, _) = cb.delivery().await;
    let mut blobs = 0;
    for drop in 1..=300 {
        sb.send(Credit { req: 1, bytes: 10 }).await;
        if drop % 100 == 0 {
            delivery.blob().await;
            blobs += 1;
        }
    }
    assert_eq!(blobs, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_streams_do_not_let_more_gets_wait() {
    let relay = TestRelay::start().await;
    let a = Device::new(1);
    let chain = Chain::new(&a);
    let ca = Client::connect(&relay.address(), &a).await;
    let (_session, _) = ca.session(&chain).await;
    let get =
        |req| ChunkGet { req, group: chain.roster.group(), addresses: vec![Hash([1; 32])], wait_ms: 30_000 };
    let mut streams = Vec::new();
    for _ in 0..8 {
        let mut stream = ca.open().await;
        for req in 1..=16 {
            stream.send(get(req)).await;
        }
        // Answered behind them all.
        stream.send(ChunkHave { req: 17, group: chain.roster.group(), addresses: vec![] }).await;
        assert!(matches!(stream.next().await, Message::ChunkMissing(_)));
        streams.push(stream);
    }
    let mut one_more = ca.open().await;
    one_more.send(get(1)).await;
    assert_eq!(one_more.error().await.code, Code::RelayOverloaded);
}
