//! `daemon.*`

use jsonrpsee::core::async_trait;
use zerok_client::ApiError;
use zerok_client::api::DaemonServer;
use zerok_client::types::{DeviceName, Done, Problem, Status, Version};

use super::Api;
use crate::names;
use crate::store::groups;

#[async_trait]
impl DaemonServer for Api {
    async fn daemon_status(&self) -> Result<Status, ApiError> {
        let name = self.context.store.read_blocking(names::own)?;
        let groups = self.groups()?;
        Ok(Status {
            version: env!("CARGO_PKG_VERSION").into(),
            device: DeviceName { id: self.context.keys.id().to_hex(), name },
            uptime_seconds: self.started.elapsed().as_secs(),
            relays: self.relays()?,
            folders: self.folders.statuses().await?,
            problems: self.problems()?,
            groups,
        })
    }

    async fn daemon_version(&self) -> Result<Version, ApiError> {
        Ok(Version { version: env!("CARGO_PKG_VERSION").into(), api: 1 })
    }

    async fn daemon_shutdown(&self) -> Result<Done, ApiError> {
        self.context.cancel.cancel();
        Ok(Done {})
    }
}

impl Api {
    fn problems(&self) -> Result<Vec<Problem>, ApiError> {
        let mut problems: Vec<Problem> = self
            .context
            .problems
            .list()
            .into_iter()
            .map(|problem| Problem { code: problem.code.into(), text: problem.text, hint: problem.hint })
            .collect();
        problems.extend(self.relay_problems());
        for group in self.context.groups.all() {
            for (reason, count) in self.context.store.read_blocking(|c| groups::quarantined(c, group.row))? {
                problems.push(quarantine(&reason, count));
            }
        }
        Ok(problems)
    }
}

fn quarantine(reason: &str, count: u64) -> Problem {
    let (what, hint) = match reason {
        "no_key" => {
            ("wait for a key that this device does not have yet", "it comes with the group's next statement")
        }
        "not_member" => ("are by a device that is no member here", "zerokctl device list shows the members"),
        "altered" => ("were altered on the way", "a relay handed on what nobody pushed: do not trust it"),
        "contradicts" => (
            "contradict what their author signed before",
            "a device was cloned or restored: look at zerokctl device list",
        ),
        _ => (
            "hold no valid entries",
            "their author runs a broken or hostile program: look at zerokctl device list",
        ),
    };
    let text = format!("{count} blobs {what}; they are kept and not applied");
    Problem { code: format!("quarantine_{reason}"), text, hint: hint.into() }
}
