//! Two branches of one roster, from two relays: which one a relay ends with, and what becomes of those it knew.

use zerok_protocol::*;

use crate::client::{Client, Stream, TestRelay, config, hello};
use crate::devices::{Chain, Device};

/// A group of three, the first the most senior.
fn three() -> ([Device; 3], Chain) {
    let devices = [Device::new(1), Device::new(2), Device::new(3)];
    let chain = Chain::of(&devices.iter().collect::<Vec<_>>());
    (devices, chain)
}

fn whole(chain: &Chain, req: u32) -> RosterAppend {
    RosterAppend { req, statements: chain.appends.clone() }
}

/// Brings the whole branch; the answer.
async fn bring(stream: &mut Stream, chain: &Chain) -> Message {
    stream.send(whole(chain, 77)).await;
    stream.next().await
}

fn taken(chain: &Chain) -> Message {
    RosterOk { req: 77, head: chain.roster.head() }.into()
}

fn lost(answer: Message, against: &Chain) {
    let Message::Error(e) = answer else { panic!("{answer:?}") };
    assert_eq!((e.req, e.code, e.head), (Some(77), Code::RosterConflict, Some(against.roster.head())));
}

async fn statements(stream: &mut Stream) -> Vec<roster::Append> {
    stream.send(RosterGet { req: 5, from: 0 }).await;
    match stream.next().await {
        Message::RosterPage(page) => page.statements,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_seniors_branch_replaces_the_juniors_for_good() {
    let ([a, b, _], chain) = three();
    let (mut seniors, mut juniors) = (chain.clone(), chain);
    seniors.rotate(&a);
    juniors.rotate(&b);
    juniors.rotate(&b);
    let relay = TestRelay::start().await;
    let (ca, cb) = (Client::connect(&relay.address(), &a).await, Client::connect(&relay.address(), &b).await);
    let (mut sb, _) = cb.session(&juniors).await;
    // Its head is unknown here, but it is a member: it is welcomed and brings its branch after.
    let (mut sa, welcome) = ca.session(&seniors).await;
    assert_eq!(welcome.head, juniors.roster.head());
    assert_eq!(bring(&mut sa, &seniors).await, taken(&seniors));
    let news = Message::from(RosterNews { head: seniors.roster.head() });
    while sb.recv.next().await != news {}
    assert_eq!(statements(&mut sb).await, seniors.appends);
    // What lost stays lost, whoever brings it, and after a restart too.
    lost(bring(&mut sb, &juniors).await, &seniors);
    let dir = relay.dir.clone();
    relay.running.stop().await;
    let running = zerok_relay::start(config(&dir)).await.unwrap();
    let cb = Client::connect(running.address(), &b).await;
    let (mut sb, welcome) = cb.session(&juniors).await;
    assert_eq!(welcome.head, seniors.roster.head());
    lost(bring(&mut sb, &juniors).await, &seniors);
    assert_eq!(statements(&mut sb).await, seniors.appends);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_of_the_branchs_author_replaces_it_and_ends_its_sessions() {
    let ([a, b, _], chain) = three();
    let (mut seniors, mut juniors) = (chain.clone(), chain);
    seniors.rotate(&a);
    juniors.revoke(&b, &a);
    let relay = TestRelay::start().await;
    let (ca, cb) = (Client::connect(&relay.address(), &a).await, Client::connect(&relay.address(), &b).await);
    let (mut sa, _) = ca.session(&seniors).await;
    let (mut sb, _) = cb.session(&juniors).await;
    assert_eq!(bring(&mut sb, &juniors).await, taken(&juniors));
    let revocation = juniors.appends.last().unwrap().statement.clone();
    let e = sa.error().await;
    assert_eq!((e.code, e.statement), (Code::DeviceRevoked, Some(revocation)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_device_that_brings_its_own_branch_loses_and_is_told_why() {
    let ([a, b, _], chain) = three();
    let (mut seniors, mut juniors) = (chain.clone(), chain);
    seniors.revoke(&a, &b);
    juniors.revoke(&b, &a);
    let relay = TestRelay::start().await;
    let (ca, cb) = (Client::connect(&relay.address(), &a).await, Client::connect(&relay.address(), &b).await);
    let (mut sa, _) = ca.session(&seniors).await;
    let mut stream = cb.open().await;
    stream.send(hello(&juniors)).await;
    assert_eq!(stream.error().await.code, Code::UnknownGroup);
    lost(bring(&mut stream, &juniors).await, &seniors);
    stream.send(hello(&juniors)).await;
    let e = stream.error().await;
    let revocation = seniors.appends.last().unwrap().statement.clone();
    assert_eq!((e.code, e.statement), (Code::DeviceRevoked, Some(revocation)));
    assert_eq!(statements(&mut sa).await, seniors.appends);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_that_admits_its_bringer_is_taken_from_a_device_that_was_unknown() {
    let ([a, b, _], chain) = three();
    let d = Device::new(4);
    let (mut seniors, mut juniors) = (chain.clone(), chain);
    seniors.add(&a, &d);
    juniors.rotate(&b);
    let relay = TestRelay::start().await;
    let cb = Client::connect(&relay.address(), &b).await;
    cb.session(&juniors).await;
    let cd = Client::connect(&relay.address(), &d).await;
    let (mut sd, welcome) = cd.session(&seniors).await;
    assert_eq!(welcome.head, seniors.roster.head());
    assert_eq!(statements(&mut sd).await, seniors.appends);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_loses_the_race_for_the_head_gets_the_head_however_senior() {
    let ([a, b, _], chain) = three();
    let (mut late, mut first) = (chain.clone(), chain.clone());
    late.rotate(&a);
    first.rotate(&b);
    let relay = TestRelay::start().await;
    let (ca, cb) = (Client::connect(&relay.address(), &a).await, Client::connect(&relay.address(), &b).await);
    let (mut sa, _) = ca.session(&chain).await;
    let (mut sb, _) = cb.session(&chain).await;
    let last = |chain: &Chain| RosterAppend { req: 77, statements: vec![chain.appends[3].clone()] };
    sb.send(last(&first)).await;
    assert_eq!(sb.next().await, taken(&first));
    sa.send(last(&late)).await;
    lost(sa.next().await, &first);
    assert_eq!(statements(&mut sa).await, first.appends);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_that_was_built_upon_twice_is_final() {
    let ([a, b, _], chain) = three();
    let (mut seniors, mut juniors) = (chain.clone(), chain);
    seniors.revoke(&a, &b);
    juniors.revoke(&b, &a);
    juniors.rotate(&b);
    juniors.rotate(&b);
    let relay = TestRelay::start().await;
    let (ca, cb) = (Client::connect(&relay.address(), &a).await, Client::connect(&relay.address(), &b).await);
    cb.session(&juniors).await;
    let mut stream = ca.open().await;
    stream.send(hello(&seniors)).await;
    assert_eq!(stream.error().await.code, Code::UnknownGroup);
    lost(bring(&mut stream, &seniors).await, &juniors);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_with_a_bad_statement_changes_nothing() {
    let ([a, b, _], chain) = three();
    let (mut seniors, mut juniors) = (chain.clone(), chain);
    seniors.rotate(&a);
    seniors.rotate(&a);
    juniors.rotate(&b);
    seniors.appends[4].envelopes[0].ciphertext = b"other".to_vec().into();
    let relay = TestRelay::start().await;
    let (ca, cb) = (Client::connect(&relay.address(), &a).await, Client::connect(&relay.address(), &b).await);
    let (mut sb, _) = cb.session(&juniors).await;
    let (mut sa, _) = ca.session(&juniors).await;
    let Message::Error(e) = bring(&mut sa, &seniors).await else { panic!("taken") };
    assert_eq!(e.code, Code::InvalidMessage);
    assert_eq!(statements(&mut sb).await, juniors.appends);
}
