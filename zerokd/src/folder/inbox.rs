//! What reaches a folder's thread from outside: that it shall look, stop, or that work done elsewhere is ready.

use std::sync::{Condvar, Mutex};
use std::time::Instant;

use super::elsewhere::Done;

/// See the module. Work elsewhere is bounded by who starts it, so that nothing piles up here.
#[derive(Default)]
pub(crate) struct Inbox {
    state: Mutex<State>,
    woken: Condvar,
}

#[derive(Default)]
struct State {
    woken: bool,
    stop: bool,
    rescan: bool,
    done: Vec<Done>,
}

/// What came in.
#[derive(Default)]
pub(crate) struct Mail {
    /// The folder shall stop.
    pub(crate) stop: bool,
    /// The whole folder shall be looked through.
    pub(crate) rescan: bool,
    /// Work done elsewhere.
    pub(crate) done: Vec<Done>,
}

impl Inbox {
    fn tell(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.lock().expect("nobody panics while holding it");
        change(&mut state);
        state.woken = true;
        self.woken.notify_one();
    }

    /// There may be something to look at.
    pub(crate) fn wake(&self) {
        self.tell(|_| {});
    }

    /// The folder shall stop.
    pub(crate) fn stop(&self) {
        self.tell(|state| state.stop = true);
    }

    /// The whole folder shall be looked through.
    pub(crate) fn rescan(&self) {
        self.tell(|state| state.rescan = true);
    }

    /// Work done elsewhere is ready.
    pub(crate) fn done(&self, done: Done) {
        self.tell(|state| state.done.push(done));
    }

    /// Was the folder told to stop?
    pub(crate) fn is_stopped(&self) -> bool {
        self.state.lock().expect("nobody panics while holding it").stop
    }

    /// Takes what came in.
    pub(crate) fn take(&self) -> Mail {
        let mut state = self.state.lock().expect("nobody panics while holding it");
        state.woken = false;
        Mail {
            stop: state.stop,
            rescan: std::mem::take(&mut state.rescan),
            done: std::mem::take(&mut state.done),
        }
    }

    /// Waits until the folder is told to stop, or until `until`.
    pub(crate) fn wait_stopped(&self, until: Instant) {
        let mut state = self.state.lock().expect("nobody panics while holding it");
        while !state.stop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self.woken.wait_timeout(state, left).expect("nobody panics while holding it").0;
        }
    }

    /// Waits until something comes in, or until `until`.
    pub(crate) fn wait(&self, until: Option<Instant>) {
        let mut state = self.state.lock().expect("nobody panics while holding it");
        while !state.woken {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            state = match left {
                Some(left) if left.is_zero() => return,
                Some(left) => self.woken.wait_timeout(state, left).expect("nobody panics while holding it").0,
                None => self.woken.wait(state).expect("nobody panics while holding it"),
            };
        }
    }
}
