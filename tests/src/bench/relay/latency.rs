//! PUSH on one connection until DELIVER on another.

use std::time::Instant;

use anyhow::{Result, bail};
use zerok_protocol::{Ack, Credit, Message};

use super::scene::{self, Scene, in_time};
use super::{RelayOptions, pusher};
use crate::bench::floor;
use crate::bench::report::{Report, ms, percentile};

const SIZE: usize = 1024;
/// What the relay's own work may take, in milliseconds.
const OWN: f64 = 0.3;
/// Floor and relay take turns, so that a slow moment of the machine meets both.
const ROUNDS: usize = 5;

pub(super) async fn run(report: &mut Report, options: &RelayOptions) -> Result<()> {
    let scene = Scene::new()?;
    let (devices, chain) = scene::group(0..2)?;
    let clients = scene.connect(&devices).await?;
    let [from, to] = &clients[..] else { bail!("two clients") };
    let mut pushing = from.session(&chain).await?;
    let mut session = to.session(&chain).await?;
    let mut delivery = to.subscribe(&mut session, 1, 0, 4 << 20).await?;
    let (mut delivered, mut answered) = (Vec::new(), Vec::new());
    let (mut fsyncs, mut echoes) = (Vec::new(), Vec::new());
    let each = options.count(1000);
    for n in 0..ROUNDS * each {
        if n % each == 0 {
            fsyncs.push(floor::fsync(scene.sandbox.path(), 200)?);
            echoes.push(floor::echo(400).await?);
        }
        let n = u64::try_from(n)?;
        let frame = pusher::blob(&chain.roster, n, pusher::payload(n, SIZE)).to_frame();
        let started = Instant::now();
        let deliver = async {
            pushing.send.write_all(&frame).await?;
            loop {
                if let Message::Deliver(deliver) = delivery.next().await? {
                    return anyhow::Ok((started.elapsed(), deliver.blob));
                }
            }
        };
        let ack = async {
            match pushing.frames.next().await? {
                Message::PushAck(_) => Ok(started.elapsed()),
                other => bail!("PUSH was answered {other:?}"),
            }
        };
        let ((took, blob), ack) = in_time("a blob", async { tokio::try_join!(deliver, ack) }).await?;
        delivered.push(took);
        answered.push(ack);
        if n % 64 == 0 {
            let mut frames = Message::from(Ack { cursor: blob.cursor }).to_frame();
            Message::from(Credit { req: 1, bytes: 64 * 1024 }).put(&mut frames);
            session.send.write_all(&frames).await?;
        }
    }
    let (fsync, echo) = (percentile(&mut fsyncs, 0.5), percentile(&mut echoes, 0.5));
    let best = ms(fsync + echo * 2);
    report.row(
        format!("{SIZE} B, PUSH → DELIVER on another connection, p50"),
        ms(percentile(&mut delivered, 0.5)),
        "ms",
    );
    report.floor(best, format!("a fsync of {:.3} + 2 round trips of {:.3}", ms(fsync), ms(echo)));
    report.aim(format!("≤ {:.3} ms (the floor + {OWN} ms)", best + OWN));
    report.row("the same, p99", ms(percentile(&mut delivered, 0.99)), "ms");
    report.row("PUSH → PUSH_ACK, p50", ms(percentile(&mut answered, 0.5)), "ms");
    report.floor(ms(fsync + echo), "a fsync + a round trip");
    Ok(())
}
