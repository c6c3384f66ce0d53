//! What people see: times, sizes, and files as they arrive.

use std::time::Duration;

use tokio::task::JoinHandle;
use zerok_client::Client;
use zerok_client::types::kind;

pub(super) fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e5).round() / 100.0
}

pub(super) fn ms(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{:.1} ms", millis(time))
    } else {
        format!("{:.2} s", time.as_secs_f64())
    }
}

pub(super) fn bytes(count: u64) -> String {
    match count {
        0..1024 => format!("{count} bytes"),
        1024..1_048_576 => format!("{}.{} KiB", count >> 10, ((count & 1023) * 10) >> 10),
        _ => format!("{}.{} MiB", count >> 20, (((count >> 10) & 1023) * 10) >> 10),
    }
}

/// Prints a daemon's folder events as they happen.
pub(super) struct Items {
    task: Option<JoinHandle<()>>,
}

impl Items {
    pub(super) async fn follow(client: &Client, talk: bool) -> Self {
        if !talk {
            return Self { task: None };
        }
        let mut events = client.events(None);
        let ready = events.begin().await.is_ok();
        let task = tokio::spawn(async move {
            while let (true, Ok(batch)) = (ready, events.next().await) {
                for event in batch.events {
                    print(&event.kind, &event.data);
                }
            }
        });
        Self { task: Some(task) }
    }

    pub(super) fn stop(&self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

fn print(what: &str, data: &serde_json::Value) {
    let text =
        |field: &str| data.get(field).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
    match what {
        kind::FOLDER_ITEM => {
            let size = data.get("bytes").and_then(serde_json::Value::as_u64).unwrap_or(0);
            println!("  {:<9} {} ({})", text("change"), text("path"), bytes(size));
        }
        kind::FOLDER_CONFLICT => println!("  conflict  {} is kept beside {}", text("copy"), text("path")),
        kind::FOLDER_PROBLEM => println!("  problem   {}: {}", text("path"), text("text")),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_for_people() {
        assert_eq!(bytes(512), "512 bytes");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(5 << 20), "5.0 MiB");
        assert_eq!(ms(Duration::from_micros(1234)), "1.2 ms");
        assert_eq!(ms(Duration::from_millis(2500)), "2.50 s");
    }
}
