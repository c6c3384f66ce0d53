//! The usual scene: a relay and two paired devices.

use crate::daemon::Daemon;
use crate::relay::Relay;
use crate::sandbox::Sandbox;
use crate::wait::wait_until;

/// A relay and two devices of one group. The fields end in this order, the sandbox last.
#[derive(Debug)]
pub struct Pair {
    /// The device that made the group.
    pub anna: Daemon,
    /// The device that joined.
    pub ben: Daemon,
    /// Their relay.
    pub relay: Relay,
    /// Where everything is.
    pub sandbox: Sandbox,
}

impl Pair {
    /// Starts and pairs them.
    ///
    /// # Panics
    /// They do not come together.
    #[must_use]
    pub fn new() -> Self {
        Self::with_environment(&[], &[])
    }

    /// The same with environment variables for the relay and for the daemons.
    ///
    /// # Panics
    /// They do not come together.
    #[must_use]
    pub fn with_environment(relay: &[(&str, &str)], daemons: &[(&str, &str)]) -> Self {
        let sandbox = Sandbox::new();
        let relay = Relay::start_with(&sandbox, "relay", relay);
        let anna = Daemon::start_with(&sandbox, "anna", daemons);
        let ben = Daemon::start_with(&sandbox, "ben", daemons);
        let pair = Self { anna, ben, relay, sandbox };
        let _ = pair.anna.json(&["relay", "add", pair.relay.address()]);
        let invite = pair.invite();
        let _ = pair.ben.json(&["pair", "--join", &invite]);
        pair
    }

    /// A fresh invite of the first device.
    ///
    /// # Panics
    /// It makes none.
    #[must_use]
    pub fn invite(&self) -> String {
        let answer = self.anna.json(&["pair", "--create"]);
        answer["invite"].as_str().unwrap_or_else(|| panic!("no invite: {answer}")).to_owned()
    }

    /// Waits until both version vectors are the same and nothing is left to send.
    ///
    /// # Panics
    /// They do not converge.
    #[track_caller]
    pub fn converge(&self) {
        wait_until("both devices hold the same", || {
            self.anna.outbox() == 0 && self.ben.outbox() == 0 && self.anna.digest() == self.ben.digest()
        });
    }
}

impl Default for Pair {
    fn default() -> Self {
        Self::new()
    }
}
