//! The state machine of one relay link. Each event is answered with exactly one [`Action`], and doing it is all that the
//! link's loop does: it cannot be in another state than the machine thinks.

use std::time::Duration;

use crate::backoff::Backoff;

/// The longest that a relay's `retry_after` is believed.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

/// Where a link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Not started.
    Idle,
    /// A connection is being made.
    Connecting,
    /// The connection is up, the groups' sessions are being opened.
    Admitting,
    /// In use.
    Live,
    /// Waiting for the next attempt.
    Waiting,
    /// Ended, by order or because trying again is of no use.
    Stopped,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The daemon wants the link; also after it was stopped.
    Start,
    /// The connection is up.
    Connected,
    /// The relay admitted this device.
    Admitted,
    /// The attempt failed, or the connection was lost.
    Lost,
    /// The relay asked to come back later.
    Busy {
        /// Not before this time has passed.
        retry_after: Duration,
    },
    /// The relay refused for good (not a member, no common version).
    Refused,
    /// The time of [`Action::Wait`] is over.
    Due,
    /// The network changed, the machine woke, or a person asked: no reason to wait any longer.
    Nudge,
    /// The daemon stops, or the relay was removed.
    Stop,
}

/// The one thing to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make a connection; whatever there was of one is dropped.
    Connect,
    /// Open the sessions.
    Admit,
    /// Serve the sessions.
    Serve,
    /// Drop the connection, wait so long, then report [`Event::Due`].
    Wait(Duration),
    /// Drop the connection and end.
    Close,
    /// Go on with what is being done.
    Stay,
}

/// One relay link.
#[derive(Clone, Debug)]
pub struct Link {
    state: State,
    backoff: Backoff,
}

impl Default for Link {
    fn default() -> Self {
        Self::new()
    }
}

impl Link {
    /// A link that was not started.
    #[must_use]
    pub fn new() -> Self {
        Self { state: State::Idle, backoff: Backoff::default() }
    }

    /// Where it is.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Takes an event and says what to do; `random` spreads the waits. An event that the state does not expect (a timer
    /// that fired late, news of a connection already dropped) changes nothing.
    #[must_use = "the answer is what the link has to do"]
    pub fn on(&mut self, event: Event, random: u64) -> Action {
        use State::{Admitting, Connecting, Idle, Live, Stopped, Waiting};
        match (self.state, event) {
            (Stopped, Event::Stop) => Action::Stay,
            (_, Event::Stop) => self.to(Stopped, Action::Close),
            (Idle | Stopped, Event::Start) => {
                self.backoff.reset();
                self.to(Connecting, Action::Connect)
            }
            (Waiting, Event::Due | Event::Nudge) => self.to(Connecting, Action::Connect),
            (Connecting, Event::Connected) => self.to(Admitting, Action::Admit),
            (Admitting, Event::Admitted) => {
                self.backoff.reset();
                self.to(Live, Action::Serve)
            }
            (Connecting | Admitting | Live, Event::Lost) => {
                let wait = self.backoff.next(random);
                self.to(Waiting, Action::Wait(wait))
            }
            (Connecting | Admitting | Live, Event::Busy { retry_after }) => {
                let wait = self.backoff.next(random).max(retry_after.min(MAX_RETRY_AFTER));
                self.to(Waiting, Action::Wait(wait))
            }
            (Connecting | Admitting | Live, Event::Refused) => self.to(Stopped, Action::Close),
            _ => Action::Stay,
        }
    }

    fn to(&mut self, state: State, action: Action) -> Action {
        self.state = state;
        action
    }
}

#[cfg(test)]
mod tests;
