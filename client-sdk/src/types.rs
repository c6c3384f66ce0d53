//! The types of the local API. Ids are lowercase hex, bytes are base64, times are Unix milliseconds, cursors are
//! opaque. A reader must ignore fields that it does not know.

mod blob;
mod bytes;
mod daemon;
mod device;
mod event;
mod folder;
mod pair;
mod relay;

pub use blob::{Batch, Entry, Gap, NewEntry, Page, Pushed, PushedMany, Wait};
pub use bytes::Base64Bytes;
pub use daemon::{Done, Problem, Status, Version};
pub use device::{Device, DeviceList, DeviceName, Group, GroupList};
pub use event::{Event, EventBatch, EventPage, kind};
pub use folder::{Folder, FolderList, FolderProblem, FolderState, FolderStatus, Progress};
pub use pair::{Invitation, Joined, Way};
pub use relay::{LinkState, Relay, RelayList};
