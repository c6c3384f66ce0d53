//! What one client, or many, cannot make the daemon hold.

use jsonrpsee::core::client::ClientT;
use jsonrpsee::rpc_params;
use zerok_client::{Client, Error};

use super::*;

#[tokio::test]
async fn a_connection_too_many_is_told_so_and_the_others_go_on() {
    let served = Served::start(Limits { connections: 2, ..Limits::default() }).await;
    let first = Client::connect_to(served.path()).await.unwrap();
    let second = Client::connect_to(served.path()).await.unwrap();
    for client in [&first, &second] {
        let _: String = within(client.request("ping", rpc_params![])).await.unwrap();
    }

    assert!(matches!(within(Client::connect_to(served.path())).await, Err(Error::Busy)));
    let answer = post(&served.path(), "host: localhost\r\n", "{}").await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains(r#""code":-32009"#), "{answer}");

    drop(first);
    within(async { while Client::connect_to(served.path()).await.is_err() {} }).await;
    let _: String = within(second.request("ping", rpc_params![])).await.unwrap();
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let limits = Limits { first_request: Duration::from_millis(20), ..Limits::default() };
    let served = Served::start(limits).await;
    let mut stream = UnixStream::connect(served.path()).await.unwrap();
    assert_eq!(within(stream.read(&mut [0; 1])).await.unwrap(), 0);
}

#[tokio::test]
async fn a_connection_that_has_spoken_may_be_silent() {
    let limits = Limits { first_request: Duration::from_millis(20), ..Limits::default() };
    let served = Served::start(limits).await;
    let mut stream = UnixStream::connect(served.path()).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut answer = [0; 12];
    within(stream.read_exact(&mut answer)).await.unwrap();
    let closed = async {
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await
    };
    assert!(tokio::time::timeout(Duration::from_millis(200), closed).await.is_err());
}

#[tokio::test]
async fn a_client_that_writes_and_does_not_read_is_stopped() {
    const CALLS: usize = 1000;
    let served = Served::start(Limits::default()).await;
    let mut stream = websocket(&served.path()).await;
    let calls: Vec<u8> = (0..CALLS).flat_map(|id| frame(&call(id, "big"))).collect();
    assert!(calls.len() > 4 << 20, "more than any socket buffer");
    let (mut read, mut write) = stream.split();
    let mut writing = std::pin::pin!(write.write_all(&calls));

    // Unread answers must not even be made.
    assert!(tokio::time::timeout(Duration::from_secs(1), writing.as_mut()).await.is_err());
    assert!(served.begun() < 300, "{} calls begun", served.begun());

    // Reading sets it going again, and every call is answered.
    let reading = async {
        let mut left = CALLS * (64 * 1024);
        let mut buffer = vec![0; 1 << 20];
        while left > 0 {
            let n = read.read(&mut buffer).await.unwrap();
            assert!(n > 0, "closed with {left} bytes to come");
            left = left.saturating_sub(buffer[..n].iter().filter(|b| **b == b'x').count());
        }
    };
    let (written, ()) = within(async { tokio::join!(writing, reading) }).await;
    written.unwrap();
    assert_eq!(served.begun(), CALLS);
}

#[tokio::test]
async fn one_connection_has_only_so_many_calls_under_way() {
    let served = Served::start(Limits { calls_per_connection: 4, ..Limits::default() }).await;
    let mut stream = websocket(&served.path()).await;
    let calls: Vec<u8> = (0..1000).flat_map(|id| frame(&call(id, "hang"))).collect();
    assert!(tokio::time::timeout(Duration::from_millis(500), stream.write_all(&calls)).await.is_err());
    assert_eq!(served.begun(), 4);
    // Another connection is not held up.
    let client = Client::connect_to(served.path()).await.unwrap();
    let _: String = within(client.request("ping", rpc_params![])).await.unwrap();
}

/// A call of 5 KiB, so that few of them fill the socket's buffers.
fn call(id: usize, method: &str) -> String {
    let padding = "-".repeat(5 * 1024);
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":["{padding}"]}}"#)
}

/// A text frame as a client sends it (RFC 6455 §5.2), masked with zeros.
fn frame(text: &str) -> Vec<u8> {
    let [high, low] = u16::try_from(text.len()).unwrap().to_be_bytes();
    [&[0x81, 0x80 | 126, high, low, 0, 0, 0, 0], text.as_bytes()].concat()
}

/// A connection upgraded to a WebSocket by hand.
async fn websocket(path: &Path) -> UnixStream {
    let mut stream = UnixStream::connect(path).await.unwrap();
    let upgrade = "GET / HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                   sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    stream.write_all(upgrade.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(within(stream.read_u8()).await.unwrap());
    }
    assert!(answer.starts_with(b"HTTP/1.1 101 "));
    stream
}
