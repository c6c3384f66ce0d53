//! Subscriptions that miss nothing: each remembers the cursor it has given out, compares it with where the next
//! notification starts, and re-reads stored pages after a gap, a lost connection or a daemon's restart.
//!
//! The WebSocket client below drops notifications when its reader is slow. Here that shows as a gap; then pages are
//! pulled at the reader's own pace until it has caught up, and only then are notifications awaited again.

mod entries;
mod events;
mod pause;

pub use entries::{Entries, StartAt};
pub use events::Events;
