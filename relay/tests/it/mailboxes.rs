//! Pairing mailboxes from outside.

use bytes::Bytes;
use zerok_protocol::*;

use crate::client::{Client, Stream, TestRelay};
use crate::devices::{Chain, Device};

const BOX: MailboxId = MailboxId([5; 16]);

fn open(req: u32) -> MailboxOpen {
    MailboxOpen { req, mailbox: BOX, expiry_seconds: 600, notice: Some(Bytes::from_static(b"cost and salt")) }
}

fn take(req: u32, side: Side, wait_ms: u32) -> MailboxTake {
    MailboxTake { req, mailbox: BOX, side, wait_ms }
}

fn leave(req: u32, to: Side, message: &'static [u8]) -> MailboxPut {
    MailboxPut { req, mailbox: BOX, to, message: Bytes::from_static(message) }
}

async fn ok(stream: &mut Stream, req: u32) {
    assert_eq!(stream.next().await, MailboxOk { req }.into());
}

async fn gone(stream: &mut Stream, req: u32) {
    let e = stream.error().await;
    assert_eq!((e.req, e.code), (Some(req), Code::MailboxGone));
}

async fn message(stream: &mut Stream, req: u32, message: Option<&'static [u8]>) {
    let message = message.map(Bytes::from_static);
    assert_eq!(stream.next().await, MailboxMessage { req, message }.into());
}

struct Pairing {
    _relay: TestRelay,
    _member: (Client, Stream),
    opener: Stream,
    joiner: Stream,
    _stranger: Client,
}

async fn pairing() -> Pairing {
    let relay = TestRelay::start().await;
    let a = Device::new(1);
    let member = Client::connect(&relay.address(), &a).await;
    let (session, _) = member.session(&Chain::new(&a)).await;
    let stranger = Client::connect(&relay.address(), &Device::new(2)).await;
    let (opener, joiner) = (member.open().await, stranger.open().await);
    Pairing { _relay: relay, _member: (member, session), opener, joiner, _stranger: stranger }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_devices_exchange_messages_before_any_group_knows_the_second() {
    let mut p = pairing().await;
    p.opener.send(open(1)).await;
    ok(&mut p.opener, 1).await;
    p.opener.send(take(2, Side::Opener, 30_000)).await;
    p.joiner.send(take(1, Side::Joiner, 0)).await;
    message(&mut p.joiner, 1, Some(b"cost and salt")).await;
    p.joiner.send(leave(2, Side::Opener, b"hello")).await;
    ok(&mut p.joiner, 2).await;
    message(&mut p.opener, 2, Some(b"hello")).await;
    p.joiner.send(take(3, Side::Joiner, 30_000)).await;
    p.opener.send(leave(3, Side::Joiner, b"welcome")).await;
    ok(&mut p.opener, 3).await;
    message(&mut p.joiner, 3, Some(b"welcome")).await;
    // Taken is gone; nothing comes within no time.
    p.joiner.send(take(4, Side::Joiner, 0)).await;
    message(&mut p.joiner, 4, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_mailbox_is_gone_for_those_who_wait_and_those_who_come() {
    let mut p = pairing().await;
    p.joiner.send(take(1, Side::Joiner, 1000)).await;
    gone(&mut p.joiner, 1).await;
    p.opener.send(open(1)).await;
    ok(&mut p.opener, 1).await;
    p.joiner.send(take(2, Side::Joiner, 0)).await;
    message(&mut p.joiner, 2, Some(b"cost and salt")).await;
    p.joiner.send(take(3, Side::Joiner, 30_000)).await;
    p.opener.send(MailboxClose { req: 2, mailbox: BOX }).await;
    ok(&mut p.opener, 2).await;
    gone(&mut p.joiner, 3).await;
    p.joiner.send(leave(4, Side::Opener, b"late")).await;
    gone(&mut p.joiner, 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_can_neither_open_a_mailbox_nor_take_what_is_for_its_opener() {
    let mut p = pairing().await;
    p.joiner.send(open(1)).await;
    assert_eq!(p.joiner.error().await.code, Code::Unauthorized);
    p.opener.send(open(1)).await;
    ok(&mut p.opener, 1).await;
    p.joiner.send(take(2, Side::Opener, 0)).await;
    assert_eq!(p.joiner.error().await.code, Code::Unauthorized);
    p.joiner.send(MailboxClose { req: 3, mailbox: BOX }).await;
    assert_eq!(p.joiner.error().await.code, Code::Unauthorized);
    let big = Bytes::from(vec![0; MAX_MAILBOX_MESSAGE + 1]);
    p.joiner.send(MailboxPut { req: 4, mailbox: BOX, to: Side::Opener, message: big }).await;
    assert_eq!(p.joiner.error().await.code, Code::InvalidMessage);
}
