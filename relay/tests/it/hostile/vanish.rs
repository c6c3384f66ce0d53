//! A device that is gone without a word.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use zerok_protocol::*;

use super::Scene;
use crate::client::{Client, hello, push};
use crate::devices::{Chain, Device};
use crate::metrics::moved;

#[tokio::test(flavor = "multi_thread")]
async fn who_vanishes_in_the_middle_of_a_push_gives_its_place_back() {
    // The bystanders' sessions and one more.
    let mut scene = Scene::with(|c| c.limits.max_concurrent_sessions = 3).await;
    let before = scene.before().await;
    let address = scene.relay.address();
    let (vanished, when) = mpsc::channel();
    let (end, over) = mpsc::channel::<()>();
    // A runtime that nobody drives any more neither sends nor receives: as a device that lost its power.
    let device = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let held = runtime.block_on(async {
            let chain = Chain::new(&Device::new(1));
            let client = Client::connect(&address, &Device::new(1)).await;
            let (mut session, _) = client.session(&chain).await;
            session.push(&chain, 1, vec![1; 1000]).await;
            let whole = Message::from(push(&chain, 2, vec![2; 100_000])).to_frame();
            session.raw(&whole[..50_000]).await;
            // The first half is there when what was sent after it is answered.
            let mut second = client.open().await;
            second.raw(&[0; 4]).await;
            second.error().await;
            (client, session)
        });
        vanished.send(Instant::now()).unwrap();
        let _ = over.recv();
        drop(held);
    });
    let since = when.recv().unwrap();
    let another = scene.connect(2).await;
    let mut refused = another.open().await;
    let chain = Chain::new(&Device::new(2));
    // Places are members': its group is taken, and then there is none left for its session.
    refused.send(hello(&chain)).await;
    assert_eq!(refused.error().await.code, Code::UnknownGroup);
    refused.send(RosterAppend { req: 1, statements: chain.appends.clone() }).await;
    assert!(matches!(refused.next().await, Message::RosterOk(_)));
    refused.send(hello(&chain)).await;
    assert_eq!(refused.error().await.code, Code::RelayOverloaded);
    scene.bystanders.work().await;
    moved(scene.http(), &before, &[("sessions", 0.0), ("connections", 1.0), ("pushes_total", 2.0)]).await;
    assert!(since.elapsed() < Duration::from_secs(14), "{:?}", since.elapsed());
    // Its place is another's.
    another.session(&Chain::new(&Device::new(2))).await;
    scene.bystanders.work().await;
    drop(end);
    device.join().unwrap();
}
