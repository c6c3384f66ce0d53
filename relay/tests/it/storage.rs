//! The database as an operator sees it: backup, restore, check, damage, full disks, old versions.

mod backup;
mod check;
mod damage;
mod full;
mod versions;

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::Value;
use tempfile::TempDir;

use crate::binary::{command, run};
use crate::client::{Client, PATIENCE, TestRelay, config};
use crate::devices::{Chain, Device};
use crate::http::request;
use zerok_relay::{Config, Running};

/// A relay's directory, outside of any relay.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn config(&self) -> Config {
        Config { data: self.data(), ..config(&self.0) }
    }

    fn data(&self) -> std::path::PathBuf {
        self.0.path().join("data")
    }

    async fn start(&self) -> Running {
        zerok_relay::start(self.config()).await.unwrap()
    }

    /// Runs a subcommand of the binary on it.
    fn run(&self, args: &[&str]) -> Output {
        run(command(self.0.path()).args(args))
    }

    fn file(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    /// The database, while no relay has it.
    fn database(&self) -> Connection {
        Connection::open(self.data().join("relay.db")).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn room_goes_back_to_the_disk_when_much_has_expired_unless_that_is_off() {
    let mut sizes = Vec::new();
    for vacuum in [true, false] {
        let place = Place::new();
        let mut config = place.config();
        (config.storage.max_ttl_secs, config.storage.default_ttl_secs) = (1, 1);
        (config.cleanup.interval_secs, config.cleanup.vacuum) = (1, vacuum);
        config.http.bind = Some("127.0.0.1:0".parse().unwrap());
        let relay = zerok_relay::start(config).await.unwrap();
        let a = Device::new(1);
        let chain = Chain::new(&a);
        let client = Client::connect(relay.address(), &a).await;
        let (mut session, _) = client.session(&chain).await;
        for n in 0..20 {
            session.push(&chain, n, vec![0; 1 << 20]).await;
        }
        let relay = TestRelay { running: relay, dir: std::sync::Arc::new(tempfile::tempdir().unwrap()) };
        let gone = async {
            while !request(&relay, "GET /health").await.1.contains("\"blobs\":0") {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, gone).await.expect("nothing expires");
        let size = || place.data().join("relay.db").metadata().unwrap().len();
        let shorter = async {
            while vacuum && size() > 8 << 20 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, shorter).await.expect("the file stays as long as it was");
        relay.running.stop().await;
        sizes.push(size());
    }
    assert!(sizes[0] < 8 << 20 && sizes[1] > 20 << 20, "{sizes:?}");
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

fn mode(path: impl AsRef<Path>) -> u32 {
    std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(path).unwrap().permissions()) & 0o777
}
