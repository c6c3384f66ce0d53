//! The local API's server side: one file per namespace, one for errors. Every change is handed to the store or a task
//! in one step that a client's going away cannot cut.

mod blob;
mod cursor;
mod daemon;
mod device;
mod error;
mod event;
mod folder;
mod group;
mod pair;
mod relay;

use std::sync::Arc;
use std::time::Instant;

use jsonrpsee::Methods;
use zerok_client::api::{
    BlobsServer, DaemonServer, DevicesServer, EventLogServer, FoldersServer, GroupsServer, PairingServer,
    RelaysServer,
};
use zerok_client::{ApiError, ErrorKind};
use zerok_protocol::GroupId;

use crate::context::Context;
use crate::embedded_relay::EmbeddedRelay;
use crate::folder::Folders;
use crate::group::Group;
use crate::ipc::SubscriptionSlots;

/// What the methods need.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) context: Context,
    pub(crate) folders: Folders,
    pub(crate) embedded: EmbeddedRelay,
    pub(crate) slots: SubscriptionSlots,
    /// Names the merged logs of this database.
    pub(crate) generation: Arc<str>,
    pub(crate) started: Instant,
}

impl Api {
    /// All methods.
    pub(crate) fn methods(self) -> Methods {
        let mut methods = Methods::new();
        for part in [
            Methods::from(DaemonServer::into_rpc(self.clone())),
            Methods::from(DevicesServer::into_rpc(self.clone())),
            Methods::from(GroupsServer::into_rpc(self.clone())),
            Methods::from(PairingServer::into_rpc(self.clone())),
            Methods::from(RelaysServer::into_rpc(self.clone())),
            Methods::from(BlobsServer::into_rpc(self.clone())),
            Methods::from(FoldersServer::into_rpc(self.clone())),
            Methods::from(EventLogServer::into_rpc(self)),
        ] {
            methods.merge(part).expect("each method is in one namespace only");
        }
        methods
    }

    /// The groups that a list is about: the one that is named, or all, which may be none.
    pub(crate) fn groups_of(&self, named: Option<&str>) -> Result<Vec<Arc<Group>>, ApiError> {
        match named {
            Some(_) => Ok(vec![self.group(named)?]),
            None => Ok(self.context.groups.all()),
        }
    }

    /// The group that a call names by id or name, or the only one.
    pub(crate) fn group(&self, named: Option<&str>) -> Result<Arc<Group>, ApiError> {
        let Some(named) = named else { return Ok(self.context.groups.find(None)?) };
        if let Ok(id) = named.parse::<GroupId>() {
            return Ok(self.context.groups.find(Some(&id))?);
        }
        let mut fitting = Vec::new();
        for group in self.context.groups.all() {
            if self.group_name(&group)? == named {
                fitting.push(group);
            }
        }
        match <[_; 1]>::try_from(fitting) {
            Ok([group]) => Ok(group),
            Err(none) if none.is_empty() => Err(crate::group::GroupError::Unknown.into()),
            Err(_) => Err(crate::group::GroupError::Ambiguous.into()),
        }
    }
}

/// The answer when all places for subscriptions are taken.
fn too_many_subscriptions() -> ApiError {
    ApiError::new(ErrorKind::Quota, "too many subscriptions at once")
        .hint("end some, or use the waiting pull")
}
