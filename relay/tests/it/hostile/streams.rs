//! Streams by the thousand, and those that a device must not open.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;
use zerok_protocol::*;

use super::{Scene, errors, frame};
use crate::client::{PATIENCE, hello};

/// How long one waits for what does not happen.
const NEVER: Duration = Duration::from_millis(300);

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_has_as_many_streams_as_it_may_and_no_more() {
    let mut scene = Scene::with(|c| c.limits.max_streams_per_connection = 16).await;
    let (client, _session, chain) = scene.member(1).await;
    let mut held = Vec::new();
    for _ in 0..15 {
        held.push(client.open().await);
    }
    assert!(timeout(NEVER, client.conn.open_bi()).await.is_err());
    scene.bystanders.work().await;
    // Places that were given back are there for the next; QUIC tells of them a few at a time.
    for mut done in held.drain(..5) {
        done.send(hello(&chain)).await;
        assert!(matches!(done.next().await, Message::Welcome(_)));
        done.send(Bye { reason: String::new() }).await;
        done.send.finish().unwrap();
        while done.recv.try_next().await.is_some() {}
    }
    assert!(timeout(PATIENCE, client.conn.open_bi()).await.unwrap().is_ok());
    let before = scene.before().await;
    scene.after(&before, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_streams_are_answered_one_by_one_and_cost_nobody_else() {
    const STREAMS: u32 = 10_000;
    let mut scene = Scene::new().await;
    let client = scene.connect(1).await;
    // The relay has counted the connection when it answers on it.
    let mut first = client.open().await;
    first.raw(&[0; 4]).await;
    first.error().await;
    let before = scene.before().await;
    let conn = client.conn.clone();
    let attack = tokio::spawn(async move {
        let mut open = tokio::task::JoinSet::new();
        for _ in 0..STREAMS {
            let (mut send, mut recv) = conn.open_bi().await.unwrap();
            send.write_all(&frame(b"\x92\x6f\x80")).await.unwrap();
            send.finish().unwrap();
            open.spawn(async move { recv.read_to_end(1 << 16).await.unwrap().len() });
        }
        while let Some(answer) = open.join_next().await {
            assert!(answer.unwrap() > HEADER_LEN);
        }
    });
    let mut rounds = 0;
    while !attack.is_finished() {
        scene.bystanders.work().await;
        rounds += 1;
    }
    attack.await.unwrap();
    assert!(rounds > 3, "{rounds}");
    scene.after(&before, &[(&errors(Code::InvalidMessage), f64::from(STREAMS)), ("connections", 0.0)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_open_no_streams_in_one_direction_and_send_no_datagrams() {
    let mut scene = Scene::new().await;
    let (client, mut session, chain) = scene.member(1).await;
    assert!(timeout(NEVER, client.conn.open_uni()).await.is_err());
    assert_eq!(client.conn.max_datagram_size(), None);
    assert!(client.conn.send_datagram(Bytes::from_static(b"x")).is_err());
    session.push(&chain, 1, &b"goes on"[..]).await;
    let before = scene.before().await;
    scene.after(&before, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_reset_or_stopped_is_forgotten() {
    let mut scene = Scene::new().await;
    let (client, mut session, chain) = scene.member(1).await;
    let before = scene.before().await;
    for n in 0..200u32 {
        let (mut lost, _) = client.session(&chain).await;
        lost.subscribe(1, 0, u64::MAX).await;
        let (mut delivery, _) = client.delivery().await;
        match n % 3 {
            0 => lost.send.reset(n.into()).unwrap(),
            1 => lost.recv.recv.stop(n.into()).unwrap(),
            _ => delivery.recv.stop(n.into()).unwrap(),
        }
        lost.send.finish().ok();
    }
    session.push(&chain, 1, &b"goes on"[..]).await;
    scene.after(&before, &[("sessions", 0.0), ("sessions_admitted_total", 200.0)]).await;
}
