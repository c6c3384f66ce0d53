//! Who is let in.

use zerok_protocol::*;

use crate::client::{Client, TestRelay, hello};
use crate::devices::{Chain, Device};

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_who_knows_the_group_id_is_told_nothing() {
    let relay = TestRelay::start().await;
    let (a, c) = (Device::new(1), Device::new(3));
    let chain = Chain::new(&a);
    let member = Client::connect(&relay.address(), &a).await;
    member.session(&chain).await;
    let stranger = Client::connect(&relay.address(), &c).await;
    // A head that the relay does not have: the same answer as for a group that it does not know.
    let mut known = stranger.open().await;
    let head = Head { n: 5, hash: Hash([9; 32]) };
    known.send(Hello { head, ..hello(&chain) }).await;
    let mut unknown = stranger.open().await;
    unknown.send(Hello { group: GroupId([8; 32]), head, ..hello(&chain) }).await;
    assert_eq!(known.error().await, unknown.error().await);
}
