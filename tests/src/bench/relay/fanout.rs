//! One blob to five hundred subscribers, without and with one of them stalled.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::task::JoinSet;
use zerok_protocol::{Ack, Blob, Credit, DeviceId, Message};

use super::board::Board;
use super::scene::{self, Scene, in_time};
use super::{RelayOptions, pusher};
use crate::bench::peer::Peer;
use crate::bench::report::{Report, ms, percentile};
use crate::raw::{Chain, Client, Device, Frames, Session};

/// Subscribing devices, each with two connections: a group has 256 members at most.
const DEVICES: u64 = 250;
const SUBSCRIBERS: usize = 500;
const SIZE: usize = 1024;
/// Blobs that a subscriber acknowledges together.
const ACKED: usize = 8;

pub(super) async fn run(report: &mut Report, options: &RelayOptions) -> Result<()> {
    let mut scene = Scene::new()?;
    let (devices, chain) = scene::group(0..DEVICES + 2)?;
    let [subscribing @ .., pusher, idler] = &devices[..] else { bail!("devices") };
    let board = Arc::new(Board::default());
    let pushing = scene.connect(std::slice::from_ref(pusher)).await?;
    let [pushing] = &pushing[..] else { bail!("one client") };
    let mut session = pushing.session(&chain).await?;
    let mut subscribers = JoinSet::new();
    for devices in [subscribing, subscribing] {
        for subscriber in scene.each(devices, |client| Subscriber::start(client, &chain)).await? {
            subscribers.spawn(subscriber.run(board.clone()));
        }
    }
    scene.rest().await?;
    let (rounds, blobs) = if options.quick { (1, 30) } else { (4, 60) };
    let mut next = 0;
    let (mut without, mut with) = (Vec::new(), Vec::new());
    // Turn by turn, so that a slow moment of the machine meets both.
    for _ in 0..rounds {
        without.extend(round(&board, &mut session, &chain, &mut next, blobs).await?);
        let stalled = Stalled::start(&scene, idler, &chain, &mut session, &mut next).await?;
        with.extend(round(&board, &mut session, &chain, &mut next, blobs).await?);
        stalled.client.close().await;
    }
    if let Some(ended) = subscribers.try_join_next() {
        ended??;
        bail!("a subscriber ended");
    }
    drop(subscribers);
    scene.relay.kill9();
    let mut bare = floor(rounds * blobs).await?;
    let whole = percentile(&mut without, 0.99);
    report.row(
        format!("{SIZE} B to {SUBSCRIBERS} subscribers, p50 of all arrivals"),
        ms(percentile(&mut without, 0.5)),
        "ms",
    );
    report.floor(ms(percentile(&mut bare, 0.5)), "bare QUIC, as many connections");
    report.row("the same, p99", ms(whole), "ms").aim("≤ 100 ms");
    report.floor(ms(percentile(&mut bare, 0.99)), "bare QUIC");
    report.row("the same beside a stalled subscriber, p99", ms(percentile(&mut with, 0.99)), "ms");
    report.floor(ms(whole), "without it").aim("ratio < 1.10");
    Ok(())
}

/// The same by bare QUIC, from a process that stores nothing.
async fn floor(blobs: usize) -> Result<Vec<Duration>> {
    let peer = Peer::start().await?;
    let board = Arc::new(Board::default());
    let mut listeners = JoinSet::<Result<()>>::new();
    for _ in 0..SUBSCRIBERS {
        let ((endpoint, mut recv), board) = (peer.listen().await?, board.clone());
        listeners.spawn(async move {
            let mut buffer = vec![0; SIZE];
            while recv.read_exact(&mut buffer).await.is_ok() {
                board.note();
            }
            endpoint.close().await;
            Ok(())
        });
    }
    let mut shout = peer.shout().await?;
    for n in 0..u64::try_from(blobs)? {
        board.begin(SUBSCRIBERS);
        let all = async {
            shout.write_all(&pusher::payload(n, SIZE)).await?;
            board.all_have_it().await;
            Ok(())
        };
        in_time("1 KiB to all", all).await?;
    }
    peer.end().await;
    Ok(board.take())
}

/// Blobs one after the other, each when all have the one before.
async fn round(
    board: &Board,
    session: &mut Session,
    chain: &Chain,
    next: &mut u64,
    blobs: usize,
) -> Result<Vec<Duration>> {
    for _ in 0..blobs {
        let frame = pusher::blob(&chain.roster, *next, pusher::payload(*next, SIZE)).to_frame();
        *next += 1;
        board.begin(SUBSCRIBERS);
        let all = async {
            session.send.write_all(&frame).await?;
            acknowledged(session).await?;
            board.all_have_it().await;
            Ok(())
        };
        in_time("a blob to all", all).await?;
    }
    Ok(board.take())
}

async fn acknowledged(session: &mut Session) -> Result<()> {
    match session.frames.next().await? {
        Message::PushAck(_) => Ok(()),
        other => bail!("PUSH was answered {other:?}"),
    }
}

struct Subscriber {
    _client: Client,
    session: Session,
    delivery: Frames,
}

impl Subscriber {
    async fn start(client: Client, chain: &Chain) -> Result<Self> {
        let mut session = client.session(chain).await?;
        let cursor = session.welcome.max_cursor;
        let delivery = client.subscribe(&mut session, 1, cursor, 4 << 20).await?;
        Ok(Self { _client: client, session, delivery })
    }

    async fn run(mut self, board: Arc<Board>) -> Result<()> {
        let mut received = 0;
        loop {
            tokio::select! {
                message = self.delivery.next() => if let Message::Deliver(deliver) = message? {
                    board.note();
                    received += 1;
                    if received % ACKED == 0 {
                        self.acknowledge(&deliver.blob).await?;
                    }
                },
                message = self.session.frames.next() => bail!("a session said {:?}", message?),
            }
        }
    }

    async fn acknowledge(&mut self, blob: &Blob) -> Result<()> {
        let mut frames = Message::from(Ack { cursor: blob.cursor }).to_frame();
        let bytes = u64::try_from(blob.payload.len() * ACKED)?;
        Message::from(Credit { req: 1, bytes }).put(&mut frames);
        Ok(self.session.send.write_all(&frames).await?)
    }
}

/// A subscriber that gave much credit and reads nothing, with more on its way than its windows take; and that gave
/// none to a second subscription.
struct Stalled {
    client: Client,
    _session: Session,
    _deliveries: [Frames; 2],
}

impl Stalled {
    async fn start(
        scene: &Scene,
        device: &Device,
        chain: &Chain,
        pushing: &mut Session,
        next: &mut u64,
    ) -> Result<Self> {
        let client = Client::connect(&scene.address, device).await?;
        let mut session = client.session(chain).await?;
        let cursor = session.welcome.max_cursor;
        let unread = client.subscribe(&mut session, 1, cursor, 1 << 40).await?;
        let without_credit = client.subscribe(&mut session, 2, cursor, 0).await?;
        for _ in 0..4 {
            in_time("filling its windows", to_one(pushing, chain, device.id(), next)).await?;
        }
        Ok(Self { client, _session: session, _deliveries: [unread, without_credit] })
    }
}

async fn to_one(session: &mut Session, chain: &Chain, recipient: DeviceId, next: &mut u64) -> Result<()> {
    let message = pusher::blob(&chain.roster, *next, pusher::payload(*next, 1 << 20));
    *next += 1;
    let Message::Push(mut push) = message else { bail!("no PUSH") };
    push.recipient = Some(recipient);
    session.send.write_all(&Message::from(push).to_frame()).await?;
    acknowledged(session).await
}
