//! A member that sends more, larger or stranger requests than any device of ours would.

use bytes::Bytes;
use zerok_protocol::*;

use super::{Scene, errors};
use crate::client::{Stream, push};
use crate::devices::{Chain, Device};

const BOX: MailboxId = MailboxId([5; 16]);

fn signal() -> Signal {
    Signal { recipient: None, sender: None, payload: Bytes::from_static(b"s") }
}

async fn refusal(stream: &mut Stream, req: u32, code: Code) -> Error {
    let e = stream.error().await;
    assert_eq!((e.req, e.code), (Some(req), code), "{}", e.message);
    e
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_signals_is_paced_signal_by_signal() {
    let mut scene = Scene::with(|c| {
        c.limits.signals_per_minute = 1;
        c.limits.signals_per_minute_burst = 100;
    })
    .await;
    let (_client, mut session, chain) = scene.member(1).await;
    let before = scene.before().await;
    for _ in 0..2000 {
        session.send(signal()).await;
    }
    for _ in 0..1900 {
        let e = session.error().await;
        assert_eq!((e.req, e.code), (None, Code::RateLimited));
        assert!(e.retry_after_ms.is_some());
    }
    // Pushes have a limit of their own.
    session.push(&chain, 1, &b"goes on"[..]).await;
    let moved = [
        ("signals_total", 100.0),
        ("rate_limited_total{limit=\"signals_per_minute\"}", 1900.0),
        (&*errors(Code::RateLimited), 1900.0),
    ];
    scene.after(&before, &moved).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_beyond_the_rate_are_refused_one_by_one_whatever_they_ask_for() {
    let mut scene = Scene::with(|c| {
        c.limits.messages_per_minute = 1;
        c.limits.messages_per_minute_burst = 60;
    })
    .await;
    let (_client, mut session, chain) = scene.member(1).await;
    let mut served = 0;
    loop {
        session.send(Pull { req: 0, after_cursor: 0, limit: None }).await;
        match session.next().await {
            Message::PullResponse(_) => served += 1,
            Message::Error(e) => break assert_eq!(e.code, Code::RateLimited),
            other => panic!("{other:?}"),
        }
    }
    assert!((50..60).contains(&served), "{served}");
    let before = scene.before().await;
    for n in 0..100u32 {
        let req = n * 5;
        session.send(push(&chain, req, vec![0; 100])).await;
        session.send(Pull { req: req + 1, after_cursor: 0, limit: None }).await;
        session.subscribe(req + 2, 0, 1).await;
        session.send(RosterGet { req: req + 3, from: 0 }).await;
        session.send(RosterAppend { req: req + 4, statements: vec![] }).await;
    }
    for req in 0..500u32 {
        assert!(refusal(&mut session, req, Code::RateLimited).await.retry_after_ms.is_some());
    }
    let moved =
        [("rate_limited_total{limit=\"messages_per_minute\"}", 500.0), (&*errors(Code::RateLimited), 500.0)];
    scene.after(&before, &moved).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledgements_and_credit_beyond_all_measure_do_no_harm() {
    let mut scene = Scene::new().await;
    let (a, b) = (Device::new(1), Device::new(2));
    let chain = Chain::of(&[&a, &b]);
    let (ca, cb) = (scene.connect(1).await, scene.connect(2).await);
    let ((mut sa, _), (mut sb, _)) = (ca.session(&chain).await, cb.session(&chain).await);
    sb.subscribe(1, 0, u64::MAX).await;
    let (mut delivery, _) = cb.delivery().await;
    let first = sa.push(&chain, 1, &b"first"[..]).await.cursor;
    assert_eq!(delivery.blob().await.cursor, first);
    let before = scene.before().await;
    for n in 0..5_000u64 {
        sb.send(Ack { cursor: u64::MAX - n }).await;
        sb.send(Credit { req: 1, bytes: u64::MAX }).await;
        // Of subscriptions that are none.
        sb.send(Credit { req: u32::MAX, bytes: n }).await;
        sb.send(Ack { cursor: n }).await;
    }
    // What it says to have, it has up to what there was: what comes next is for it.
    let second = sa.push(&chain, 2, &b"second"[..]).await.cursor;
    assert_eq!(delivery.blob().await.cursor, second);
    sb.send(Ack { cursor: first }).await;
    let (again, welcome) = cb.session(&chain).await;
    assert_eq!(welcome.your_acked.map(|acked| acked <= second), Some(true));
    drop(again);
    scene.after(&before, &[(&errors(Code::InvalidMessage), 0.0), ("sessions", 0.0)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_has_few_subscriptions_and_each_its_number() {
    let mut scene = Scene::new().await;
    let (_client, mut session, chain) = scene.member(1).await;
    let before = scene.before().await;
    for req in 1..=4 {
        session.subscribe(req, 0, 0).await;
    }
    for n in 0..500u32 {
        session.subscribe(1 + n % 4, 0, u64::MAX).await;
        session.subscribe(10 + n, u64::MAX, 0).await;
        refusal(&mut session, 1 + n % 4, Code::InvalidMessage).await;
        refusal(&mut session, 10 + n, Code::InvalidMessage).await;
    }
    session.push(&chain, 1, &b"goes on"[..]).await;
    scene.after(&before, &[(&errors(Code::InvalidMessage), 1000.0)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_have_their_bounds_whatever_is_asked_for() {
    let mut scene = Scene::new().await;
    let (a, b) = (Device::new(1), Device::new(2));
    let chain = Chain::of(&[&a, &b]);
    let (ca, cb) = (scene.connect(1).await, scene.connect(2).await);
    let ((mut sa, _), (mut sb, _)) = (ca.session(&chain).await, cb.session(&chain).await);
    let mut last = 0;
    for n in 0..1100 {
        sa.send(push(&chain, n, n.to_be_bytes().to_vec())).await;
    }
    for _ in 0..1100 {
        last = last.max(sa.ack().await.cursor);
    }
    let before = scene.before().await;
    for (after_cursor, limit, blobs) in [
        (0, Some(0), 1),
        (0, Some(1), 1),
        (0, Some(u32::MAX), 1000),
        (0, None, 1000),
        (last, Some(u32::MAX), 0),
        (u64::MAX, None, 0),
        (i64::MAX.unsigned_abs(), Some(0), 0),
    ] {
        sb.send(Pull { req: 1, after_cursor, limit }).await;
        match sb.next().await {
            Message::PullResponse(page) => {
                assert_eq!((page.blobs.len(), page.has_more), (blobs, blobs > 0), "{after_cursor} {limit:?}");
                assert!(page.upto >= after_cursor);
            }
            other => panic!("{other:?}"),
        }
    }
    for from in [2, u64::MAX, i64::MAX.unsigned_abs()] {
        sb.send(RosterGet { req: 2, from }).await;
        match sb.next().await {
            Message::RosterPage(page) => {
                assert_eq!((page.statements.len(), page.head), (0, chain.roster.head()))
            }
            other => panic!("{other:?}"),
        }
    }
    for (req, after_cursor) in [(3, u64::MAX), (4, i64::MAX.unsigned_abs()), (5, 1 << 63)] {
        sb.subscribe(req, after_cursor, u64::MAX).await;
        let (mut delivery, _) = cb.delivery().await;
        assert_eq!(delivery.next().await, CaughtUp { cursor: last }.into());
    }
    scene.after(&before, &[("pulls_total", 7.0), ("sessions", 0.0)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pushes_at_and_beyond_every_bound() {
    let mut scene = Scene::new().await;
    let (_client, mut session, chain) = scene.member(1).await;
    let before = scene.before().await;
    session.push(&chain, 1, vec![1; MAX_BLOB]).await;
    for (req, size) in [(2, MAX_BLOB + 1), (3, MAX_BLOB + 40_000)] {
        session.send(push(&chain, req, vec![2; size])).await;
        refusal(&mut session, req, Code::BlobTooLarge).await;
    }
    for (req, ttl) in [(4, 0), (5, 1), (6, u64::MAX), (7, i64::MAX.unsigned_abs())] {
        session.send(Push { ttl_seconds: Some(ttl), ..push(&chain, req, &b"t"[..]) }).await;
        assert_eq!(session.ack().await.req, req);
    }
    session.push(&chain, 8, Bytes::new()).await;
    let stranger = Device::new(99).id();
    session.send(Push { recipient: Some(stranger), ..push(&chain, 9, &b"r"[..]) }).await;
    refusal(&mut session, 9, Code::InvalidMessage).await;
    let EpochId { number, tag } = chain.roster.epoch();
    for (req, epoch_id) in [(10, EpochId { number: number + 1, tag }), (11, EpochId { number, tag: !tag })] {
        session.send(Push { epoch_id, ..push(&chain, req, &b"e"[..]) }).await;
        refusal(&mut session, req, Code::StaleEpoch).await;
    }
    session.send(push(&chain, 8, &b"another"[..])).await;
    refusal(&mut session, 8, Code::BlobConflict).await;
    let moved = [
        (&*errors(Code::BlobTooLarge), 2.0),
        (&*errors(Code::InvalidMessage), 1.0),
        (&*errors(Code::StaleEpoch), 2.0),
        (&*errors(Code::BlobConflict), 1.0),
        // Six here, and one of the bystanders.
        ("pushes_total", 7.0),
    ];
    scene.after(&before, &moved).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chunk_requests_at_and_beyond_every_bound() {
    let mut scene = Scene::new().await;
    let (client, _session, chain) = scene.member(1).await;
    let before = scene.before().await;
    let group = chain.roster.group();
    let mut stream = client.open().await;
    let hashes = |n: u32| (0..n).map(|n| Hash::of(&n.to_be_bytes())).collect::<Vec<_>>();
    stream.send(ChunkHave { req: 1, group, addresses: hashes(8192) }).await;
    assert_eq!(stream.next().await, ChunkMissing { req: 1, addresses: hashes(8192) }.into());
    stream.send(ChunkHave { req: 2, group, addresses: vec![Hash([1; 32]); 8193] }).await;
    refusal(&mut stream, 2, Code::InvalidMessage).await;
    stream.send(ChunkHave { req: 3, group, addresses: hashes(32_000) }).await;
    refusal(&mut stream, 3, Code::InvalidMessage).await;
    stream.send(ChunkGet { req: 4, group, addresses: hashes(257), wait_ms: 0 }).await;
    refusal(&mut stream, 4, Code::InvalidMessage).await;
    let data = Bytes::from(vec![1; 1000]);
    stream.send(ChunkPut { req: 5, group, address: Hash([1; 32]), data: data.clone() }).await;
    assert_eq!(stream.next().await, ChunkPutAck { req: 5, outcome: ChunkOutcome::Mismatch }.into());
    let large = Bytes::from(vec![1; MAX_CHUNK + 1]);
    stream.send(ChunkPut { req: 6, group, address: Hash::of(&large), data: large }).await;
    refusal(&mut stream, 6, Code::InvalidMessage).await;
    let other = scene.bystanders.chain.roster.group();
    stream.send(ChunkPut { req: 7, group: other, address: Hash::of(&data), data }).await;
    refusal(&mut stream, 7, Code::Unauthorized).await;
    stream.send(ChunkHave { req: 8, group: other, addresses: vec![] }).await;
    refusal(&mut stream, 8, Code::Unauthorized).await;
    stream.send(ChunkGet { req: 9, group: other, addresses: hashes(1), wait_ms: 0 }).await;
    refusal(&mut stream, 9, Code::Unauthorized).await;
    // The same one over and over is one.
    stream.send(ChunkGet { req: 10, group, addresses: vec![Hash([1; 32]); 256], wait_ms: 0 }).await;
    assert_eq!(stream.next().await, Chunk { req: 10, address: Hash([1; 32]), data: None }.into());
    for n in 0..16 {
        stream.send(ChunkGet { req: 20 + n, group, addresses: hashes(256), wait_ms: u32::MAX }).await;
    }
    for n in 0..100 {
        stream.send(ChunkGet { req: 50 + n, group, addresses: hashes(256), wait_ms: u32::MAX }).await;
        assert!(refusal(&mut stream, 50 + n, Code::RelayOverloaded).await.retry_after_ms.is_some());
    }
    let moved = [
        (&*errors(Code::InvalidMessage), 4.0),
        (&*errors(Code::Unauthorized), 3.0),
        (&*errors(Code::RelayOverloaded), 100.0),
        ("chunk_bytes", 0.0),
    ];
    scene.after(&before, &moved).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mailbox_requests_at_and_beyond_every_bound() {
    let mut scene = Scene::with(|c| c.limits.max_mailboxes = 20).await;
    let (member, _session, _chain) = scene.member(1).await;
    let stranger = scene.connect(2).await;
    let before = scene.before().await;
    let (mut opener, mut joiner) = (member.open().await, stranger.open().await);
    let open = |req, mailbox, notice| MailboxOpen { req, mailbox, expiry_seconds: u32::MAX, notice };
    let leave = |req, to, size| MailboxPut { req, mailbox: BOX, to, message: vec![1; size].into() };
    joiner.send(open(1, BOX, None)).await;
    refusal(&mut joiner, 1, Code::Unauthorized).await;
    joiner.send(leave(2, Side::Opener, 1)).await;
    refusal(&mut joiner, 2, Code::MailboxGone).await;
    opener.send(open(3, BOX, Some(vec![1; MAX_MAILBOX_MESSAGE + 1].into()))).await;
    refusal(&mut opener, 3, Code::InvalidMessage).await;
    opener.send(open(4, BOX, Some(vec![1; MAX_MAILBOX_MESSAGE].into()))).await;
    assert_eq!(opener.next().await, MailboxOk { req: 4 }.into());
    joiner.send(leave(5, Side::Opener, MAX_MAILBOX_MESSAGE + 1)).await;
    refusal(&mut joiner, 5, Code::InvalidMessage).await;
    for to in [Side::Opener, Side::Joiner] {
        for req in 0..16 {
            joiner.send(leave(req, to, MAX_MAILBOX_MESSAGE)).await;
            assert_eq!(joiner.next().await, MailboxOk { req }.into());
        }
        joiner.send(leave(16, to, 1)).await;
        assert!(refusal(&mut joiner, 16, Code::RateLimited).await.retry_after_ms.is_some());
    }
    joiner.send(MailboxTake { req: 17, mailbox: BOX, side: Side::Opener, wait_ms: 0 }).await;
    refusal(&mut joiner, 17, Code::Unauthorized).await;
    joiner.send(MailboxClose { req: 18, mailbox: BOX }).await;
    refusal(&mut joiner, 18, Code::Unauthorized).await;
    for n in 1..16 {
        opener.send(open(20, MailboxId([n + 10; 16]), None)).await;
        assert_eq!(opener.next().await, MailboxOk { req: 20 }.into());
    }
    opener.send(open(21, MailboxId([99; 16]), None)).await;
    refusal(&mut opener, 21, Code::RelayOverloaded).await;
    // One for which nothing has come, asked more often than one may.
    let empty = MailboxId([11; 16]);
    for n in 0..8 {
        opener.send(MailboxTake { req: 30 + n, mailbox: empty, side: Side::Joiner, wait_ms: u32::MAX }).await;
    }
    opener.send(MailboxTake { req: 40, mailbox: empty, side: Side::Joiner, wait_ms: u32::MAX }).await;
    refusal(&mut opener, 40, Code::RelayOverloaded).await;
    let moved = [
        (&*errors(Code::Unauthorized), 3.0),
        (&*errors(Code::MailboxGone), 1.0),
        (&*errors(Code::InvalidMessage), 2.0),
        (&*errors(Code::RateLimited), 2.0),
        (&*errors(Code::RelayOverloaded), 2.0),
    ];
    scene.after(&before, &moved).await;
}
