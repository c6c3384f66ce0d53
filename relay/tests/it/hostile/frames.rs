//! What is no frame, no message, or never a whole one.

use std::time::{Duration, Instant};

use tokio::time::{interval, timeout};
use zerok_protocol::*;

use super::{Scene, errors, frame, noise};
use crate::client::{PATIENCE, Stream, hello, push};
use crate::devices::{Chain, Device};
use crate::samples;

/// Bodies that are no message.
fn bodies() -> Vec<(&'static str, Vec<u8>)> {
    let deep = [b"\x92\x24\x82\xa6cursor\x07\xa1x".to_vec(), vec![0x91; 200_000]].concat();
    vec![
        ("an unknown type", b"\x92\x6f\x80".to_vec()),
        ("the last type of one byte", b"\x92\x7f\x80".to_vec()),
        ("an unknown type of two bytes", b"\x92\xcc\xfe\x80".to_vec()),
        ("a type of two bytes too many", b"\x92\xcd\x00\x10\x80".to_vec()),
        ("noise", noise(1, 500)),
        ("as much noise as fits", noise(2, MAX_FRAME)),
        ("text", b"GET / HTTP/1.1\r\nhost: relay\r\n\r\n".to_vec()),
        ("one byte", vec![0x92]),
        ("no body", b"\x92\x10".to_vec()),
        ("an empty body", b"\x92\x10\x80".to_vec()),
        ("a body that is cut off", cut(push(&Chain::new(&Device::new(1)), 1, vec![1; 100]))),
        ("four billion statements", b"\x92\x04\x82\xa3req\x01\xaastatements\xdd\xff\xff\xff\xff".to_vec()),
        ("four billion fields", b"\x92\x24\xdf\xff\xff\xff\xff".to_vec()),
        ("four gigabytes of bytes", b"\x92\x33\x81\xa7payload\xc6\xff\xff\xff\xff".to_vec()),
        ("four gigabytes of text", b"\x92\x03\x81\xa6reason\xdb\xff\xff\xff\xff".to_vec()),
        ("a number below zero", b"\x92\x24\x81\xa6cursor\xff".to_vec()),
        ("a number that is a text", b"\x92\x24\x81\xa6cursor\xa17".to_vec()),
        ("an id that is too short", b"\x92\x70\x84\xa3req\x01\xa5group\xc4\x02\x01\x02".to_vec()),
        ("a depth without end", deep),
    ]
}

/// All of the message's body but its last byte.
fn cut(message: impl Into<Message>) -> Vec<u8> {
    let whole = message.into().to_frame();
    whole[HEADER_LEN..whole.len() - 1].to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_is_no_message_is_answered_and_the_session_goes_on() {
    let mut scene = Scene::new().await;
    let (_client, mut session, chain) = scene.member(1).await;
    let before = scene.before().await;
    for (what, body) in bodies() {
        session.raw(&frame(&body)).await;
        let e = session.error().await;
        assert_eq!((e.req, e.code), (None, Code::InvalidMessage), "{what}");
    }
    session.push(&chain, 1, &b"goes on"[..]).await;
    let count = f64::from(u32::try_from(bodies().len()).unwrap());
    scene.after(&before, &[(&errors(Code::InvalidMessage), count)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn as_the_first_frame_of_a_stream_it_ends_the_stream() {
    let mut scene = Scene::new().await;
    let client = scene.connect(1).await;
    let before = scene.before().await;
    let mut count = 0.0;
    for (what, body) in bodies() {
        let mut stream = client.open().await;
        // The relay may have refused it before all of it was sent.
        let _ = stream.send.write_all(&frame(&body)).await;
        assert_eq!(stream.error().await.code, Code::InvalidMessage, "{what}");
        assert!(stream.recv.try_next().await.is_none(), "{what}");
        count += 1.0;
    }
    // Everything that is a message, and none that a stream begins with.
    for message in samples::every_message() {
        use Message::*;
        if matches!(
            message,
            Hello(_)
                | ChunkPut(_)
                | ChunkGet(_)
                | ChunkHave(_)
                | MailboxOpen(_)
                | MailboxPut(_)
                | MailboxTake(_)
                | MailboxClose(_)
        ) {
            continue;
        }
        let kind = message.kind();
        let mut stream = client.open().await;
        stream.raw(&message.to_frame()).await;
        assert_eq!(stream.error().await.code, Code::InvalidMessage, "{kind:#04x}");
        assert!(stream.recv.try_next().await.is_none(), "{kind:#04x}");
        count += 1.0;
    }
    scene.after(&before, &[(&errors(Code::InvalidMessage), count), ("sessions", 0.0)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_message_there_is_may_come_on_every_stream() {
    let mut scene = Scene::new().await;
    let (client, mut session, chain) = scene.member(1).await;
    for message in samples::every_message() {
        if !matches!(message, Message::Bye(_)) {
            session.raw(&message.to_frame()).await;
        }
    }
    // Answers may come in any order; the last is that of the push.
    session.send(push(&chain, 99, &b"goes on"[..])).await;
    while !matches!(session.next().await, Message::PushAck(PushAck { req: 99, .. })) {}
    let group = chain.roster.group();
    for first in [
        Message::from(ChunkHave { req: 1, group, addresses: vec![] }),
        Message::from(MailboxTake { req: 1, mailbox: MailboxId([1; 16]), side: Side::Joiner, wait_ms: 0 }),
    ] {
        let mut stream = client.open().await;
        stream.raw(&first.to_frame()).await;
        for message in samples::every_message() {
            stream.raw(&message.to_frame()).await;
        }
        stream.raw(&first.to_frame()).await;
        stream.send.finish().unwrap();
        // All is answered, and the end is an orderly one.
        let mut answers = 0;
        while stream.recv.try_next().await.is_some() {
            answers += 1;
        }
        assert!(answers >= samples::every_message().len(), "{answers}");
    }
    let before = scene.before().await;
    scene.after(&before, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_length_that_cannot_be_ends_the_stream_and_so_does_an_end_within_a_frame() {
    let mut scene = Scene::new().await;
    let (client, mut session, chain) = scene.member(1).await;
    let before = scene.before().await;
    let over = u32::try_from(MAX_FRAME).unwrap() + 1;
    let mut count = 0.0;
    for header in [0, over, 1 << 31, u32::MAX] {
        let admitted = client.session(&chain).await.0;
        let chunks =
            begun(client.open().await, ChunkHave { req: 1, group: chain.roster.group(), addresses: vec![] })
                .await;
        let take = MailboxTake { req: 1, mailbox: MailboxId([1; 16]), side: Side::Joiner, wait_ms: 0 };
        let mailbox = begun(client.open().await, take).await;
        for mut stream in [admitted, chunks, mailbox, client.open().await] {
            stream.raw(&header.to_be_bytes()).await;
            assert_eq!(stream.error().await.code, Code::InvalidMessage, "{header}");
            assert!(stream.recv.try_next().await.is_none(), "{header}");
            count += 1.0;
        }
    }
    for cut in [&[0u8][..], &[0, 0, 1], &[0, 0, 1, 0], &[0, 0, 1, 0, 0x92, 0x10]] {
        for mut stream in [client.session(&chain).await.0, client.open().await] {
            stream.raw(cut).await;
            stream.send.finish().unwrap();
            assert_eq!(stream.error().await.code, Code::InvalidMessage);
            assert!(stream.recv.try_next().await.is_none());
            count += 1.0;
        }
    }
    session.push(&chain, 1, &b"goes on"[..]).await;
    scene.after(&before, &[(&errors(Code::InvalidMessage), count), ("sessions", 0.0)]).await;
}

/// A stream whose first message was answered.
async fn begun(mut stream: Stream, first: impl Into<Message>) -> Stream {
    stream.send(first).await;
    stream.next().await;
    stream
}

/// Sends one byte after the other of a frame that never ends, until the relay has had enough.
async fn trickle(stream: &mut Stream) -> Duration {
    let start = Instant::now();
    let mut pace = interval(Duration::from_millis(20));
    let length = u32::try_from(MAX_FRAME).unwrap().to_be_bytes();
    let mut endless = length.into_iter().chain(std::iter::repeat(0x92));
    let sending = async {
        loop {
            pace.tick().await;
            if stream.send.write_all(&[endless.next().unwrap()]).await.is_err() {
                return;
            }
        }
    };
    timeout(PATIENCE, sending).await.expect("the relay never has enough");
    start.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_without_end_is_waited_for_until_hello_is_due_and_no_longer() {
    let mut scene = Scene::with(|c| c.limits.hello_timeout_secs = 1).await;
    let before = scene.before().await;
    let client = scene.connect(1).await;
    let mut first = client.open().await;
    // Unknown messages and statements that nobody waits for do not make the time any longer.
    let mut unsettled = client.open().await;
    unsettled.send(hello(&Chain::new(&Device::new(1)))).await;
    assert_eq!(unsettled.error().await.code, Code::UnknownGroup);
    let mut third = client.open().await;
    third.send(hello(&Chain::new(&Device::new(1)))).await;
    assert_eq!(third.error().await.code, Code::UnknownGroup);
    let talking = async {
        let mut pace = interval(Duration::from_millis(50));
        while third.send.write_all(&frame(b"\x92\x6f\x80")).await.is_ok() {
            pace.tick().await;
        }
    };
    let (one, two, ()) = tokio::join!(trickle(&mut first), trickle(&mut unsettled), talking);
    assert!(one.max(two) < Duration::from_secs(4), "{one:?} {two:?}");
    for stream in [&mut first, &mut unsettled] {
        assert_eq!(stream.error().await.code, Code::InvalidMessage);
        assert!(stream.recv.try_next().await.is_none());
    }
    scene.after(&before, &[(&errors(Code::UnknownGroup), 2.0), ("sessions", 0.0)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_frame_on_a_session_costs_nobody_else_and_is_served_when_it_is_whole() {
    let mut scene = Scene::with(|c| c.limits.hello_timeout_secs = 1).await;
    let (client, mut slow, chain) = scene.member(1).await;
    let (mut other, _) = client.session(&chain).await;
    let whole = Message::from(push(&chain, 1, &b"a byte at a time"[..])).to_frame();
    let (last, rest) = whole.split_last().unwrap();
    for (n, byte) in rest.iter().enumerate() {
        slow.raw(&[*byte]).await;
        if n % 50 == 0 {
            other.push(&chain, 1000 + u32::try_from(n).unwrap(), &b"in between"[..]).await;
            scene.bystanders.work().await;
        }
    }
    // Longer than a stream without a session may take for anything.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    slow.raw(&[*last]).await;
    assert_eq!(slow.ack().await.req, 1);
    let before = scene.before().await;
    scene.after(&before, &[]).await;
}
