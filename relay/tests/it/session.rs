//! Sessions: what goes wrong on them is answered, and what is live on them reaches who is there.

use bytes::Bytes;
use zerok_protocol::*;

use crate::client::{Client, Stream, TestRelay, hello, push};
use crate::devices::{Chain, Device};

async fn session() -> (TestRelay, Client, Stream, Chain) {
    let relay = TestRelay::start().await;
    let a = Device::new(1);
    let chain = Chain::new(&a);
    let client = Client::connect(&relay.address(), &a).await;
    let (stream, _) = client.session(&chain).await;
    (relay, client, stream, chain)
}

async fn still_works(stream: &mut Stream, chain: &Chain, n: u32) {
    stream.push(chain, n, &b"still here"[..]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_ends_agree_on_the_post_quantum_exchange() {
    let (_relay, client, _stream, _) = session().await;
    let data = client.conn.handshake_data().unwrap();
    let data = data.downcast::<noq::crypto::rustls::HandshakeData>().unwrap();
    assert_eq!(data.negotiated_key_exchange_group, Some(rustls::NamedGroup::X25519MLKEM768));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_message_is_answered_and_the_session_goes_on() {
    let (_relay, _client, mut stream, chain) = session().await;
    let bodies: [&[u8]; 4] = [&[0x92, 0x6f, 0x80], b"garbage", &[0x92, 0x10, 0x80], &[0xc1; 3]];
    for body in bodies {
        let mut frame = Vec::new();
        put_frame(&mut frame, |out| out.extend_from_slice(body));
        stream.raw(&frame).await;
        assert_eq!(stream.error().await.code, Code::InvalidMessage);
    }
    stream.send(hello(&chain)).await;
    assert_eq!(stream.error().await.code, Code::InvalidMessage);
    stream.send(MailboxOk { req: 1 }).await;
    assert_eq!(stream.error().await.code, Code::InvalidMessage);
    still_works(&mut stream, &chain, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_is_too_long_or_empty_ends_its_stream_and_no_other() {
    let (_relay, client, mut stream, chain) = session().await;
    for header in [u32::MAX, 0] {
        let (mut bad, _) = client.session(&chain).await;
        bad.raw(&header.to_be_bytes()).await;
        assert_eq!(bad.error().await.code, Code::InvalidMessage);
        assert!(bad.recv.try_next().await.is_none());
    }
    let (mut cut, _) = client.session(&chain).await;
    cut.raw(&[0, 0, 1, 0, 1, 2, 3]).await;
    cut.send.finish().unwrap();
    assert_eq!(cut.error().await.code, Code::InvalidMessage);
    still_works(&mut stream, &chain, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_begins_with_something_else_is_refused() {
    let (_relay, client, _stream, chain) = session().await;
    let mut stream = client.open().await;
    stream.send(push(&chain, 1, &b"x"[..])).await;
    assert_eq!(stream.error().await.code, Code::InvalidMessage);
    assert!(stream.recv.try_next().await.is_none());
    let mut stream = client.open().await;
    stream.send(Hello { versions: vec![2, 3], ..hello(&chain) }).await;
    assert_eq!(stream.error().await.code, Code::UnsupportedVersion);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_nothing_in_time_is_not_waited_for() {
    let relay = TestRelay::with(|c| c.limits.hello_timeout_secs = 1).await;
    let a = Device::new(1);
    let silent = Client::connect(&relay.address(), &a).await;
    let client = Client::connect(&relay.address(), &a).await;
    let mut begun = client.open().await;
    begun.raw(&[0]).await;
    let mut unadmitted = client.open().await;
    unadmitted.send(hello(&Chain::new(&a))).await;
    assert_eq!(unadmitted.error().await.code, Code::UnknownGroup);
    assert_eq!(begun.error().await.code, Code::InvalidMessage);
    assert_eq!(unadmitted.error().await.code, Code::InvalidMessage);
    assert!(unadmitted.recv.try_next().await.is_none());
    silent.conn.closed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_no_more_sessions_than_allowed() {
    let relay = TestRelay::with(|c| c.limits.max_concurrent_sessions = 1).await;
    let a = Device::new(1);
    let chain = Chain::new(&a);
    let client = Client::connect(&relay.address(), &a).await;
    let (mut first, _) = client.session(&chain).await;
    let mut second = client.open().await;
    second.send(hello(&chain)).await;
    assert_eq!(second.error().await.code, Code::RelayOverloaded);
    first.send(Bye { reason: "done".into() }).await;
    assert!(first.recv.try_next().await.is_none_or(|m| matches!(m, Message::Presence(_))));
    // The place is free again as soon as the relay has noticed.
    loop {
        let mut third = client.open().await;
        third.send(hello(&chain)).await;
        match third.next().await {
            Message::Welcome(_) => break,
            Message::Error(e) => assert_eq!(e.code, Code::RelayOverloaded),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pushes_and_signals_are_paced_and_told_when_to_try_again() {
    let relay = TestRelay::with(|c| {
        c.limits.messages_per_minute = 60;
        c.limits.messages_per_minute_burst = 5;
        c.limits.signals_per_minute = 60;
        c.limits.signals_per_minute_burst = 1;
    })
    .await;
    let a = Device::new(1);
    let chain = Chain::new(&a);
    let client = Client::connect(&relay.address(), &a).await;
    // The roster and two HELLOs took three.
    let (mut stream, welcome) = client.session(&chain).await;
    assert_eq!(welcome.limits.messages_per_minute, 60);
    stream.push(&chain, 1, &b"1"[..]).await;
    stream.push(&chain, 2, &b"2"[..]).await;
    stream.send(push(&chain, 3, &b"3"[..])).await;
    let e = stream.error().await;
    assert_eq!((e.req, e.code), (Some(3), Code::RateLimited));
    assert!((1..=1000).contains(&e.retry_after_ms.unwrap()));
    let signal = Signal { recipient: None, sender: None, payload: Bytes::from_static(b"s") };
    stream.send(signal.clone()).await;
    stream.send(signal).await;
    assert_eq!(stream.error().await.code, Code::RateLimited);
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_reach_the_others_online_and_name_their_sender() {
    let relay = TestRelay::start().await;
    let devices = [Device::new(1), Device::new(2), Device::new(3)];
    let chain = Chain::of(&[&devices[0], &devices[1], &devices[2]]);
    let mut clients = Vec::new();
    for device in &devices {
        let client = Client::connect(&relay.address(), device).await;
        let (stream, _) = client.session(&chain).await;
        clients.push((client, stream));
    }
    let signal = |recipient: Option<&Device>, payload: &'static [u8]| Signal {
        recipient: recipient.map(Device::id),
        // A device cannot speak for another.
        sender: Some(devices[2].id()),
        payload: Bytes::from_static(payload),
    };
    let told = |signal: &Signal| Message::from(Signal { sender: Some(devices[0].id()), ..signal.clone() });
    let (one, all) = (signal(Some(&devices[2]), b"to one"), signal(None, b"to all"));
    clients[0].1.send(one.clone()).await;
    clients[0].1.send(all.clone()).await;
    assert_eq!(clients[1].1.next().await, told(&all));
    assert_eq!(clients[2].1.next().await, told(&one));
    assert_eq!(clients[2].1.next().await, told(&all));
    let long = Bytes::from(vec![0; MAX_SIGNAL + 1]);
    clients[0].1.send(Signal { recipient: None, sender: None, payload: long }).await;
    assert_eq!(clients[0].1.error().await.code, Code::InvalidMessage);
}

#[tokio::test(flavor = "multi_thread")]
async fn presence_says_who_is_there_and_follows_who_goes() {
    let relay = TestRelay::start().await;
    let (a, b) = (Device::new(1), Device::new(2));
    let chain = Chain::of(&[&a, &b]);
    let ca = Client::connect(&relay.address(), &a).await;
    let (mut sa, _) = ca.session(&chain).await;
    let presence = |devices: &[&Device]| {
        let mut online: Vec<DeviceId> = devices.iter().map(|d| d.id()).collect();
        online.sort_unstable();
        Message::from(Presence { online })
    };
    assert_eq!(sa.recv.next().await, presence(&[&a]));
    let cb = Client::connect(&relay.address(), &b).await;
    let (mut sb, _) = cb.session(&chain).await;
    assert_eq!(sb.recv.next().await, presence(&[&a, &b]));
    assert_eq!(sa.recv.next().await, presence(&[&a, &b]));
    // A second session is told for itself; it and its end change nothing for the others.
    let (mut second, _) = cb.session(&chain).await;
    assert_eq!(second.recv.next().await, presence(&[&a, &b]));
    drop(second);
    cb.conn.close(0u32.into(), b"gone");
    assert_eq!(sa.recv.next().await, presence(&[&a]));
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_tells_every_session_and_answers_what_was_begun() {
    let (relay, _client, mut stream, chain) = session().await;
    for n in 0..50 {
        stream.send(push(&chain, n, vec![1; 1000])).await;
    }
    stream.ack().await;
    let (stopped, ()) = tokio::join!(async { relay.running.stop().await }, async {
        loop {
            match stream.next().await {
                Message::PushAck(_) => {}
                Message::Error(e) => {
                    assert_eq!(e.code, Code::RelayShuttingDown);
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
    });
    let () = stopped;
}
