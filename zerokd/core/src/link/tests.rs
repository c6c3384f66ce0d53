use proptest::prelude::*;

use super::*;

fn live() -> Link {
    let mut link = Link::new();
    assert_eq!(link.on(Event::Start, 0), Action::Connect);
    assert_eq!(link.on(Event::Connected, 0), Action::Admit);
    assert_eq!(link.on(Event::Admitted, 0), Action::Serve);
    link
}

fn seconds(n: u64) -> Action {
    Action::Wait(Duration::from_secs(n))
}

#[test]
fn a_lost_link_waits_longer_each_time_and_starts_over_once_it_was_live() {
    let mut link = live();
    for wait in [1, 2, 4, 8, 16, 30, 30] {
        assert_eq!(link.on(Event::Lost, 0), seconds(wait));
        assert_eq!(link.on(Event::Due, 0), Action::Connect);
    }
    assert_eq!(link.on(Event::Connected, 0), Action::Admit);
    assert_eq!(link.on(Event::Admitted, 0), Action::Serve);
    assert_eq!(link.on(Event::Lost, 0), seconds(1));
}

#[test]
fn a_connection_that_is_not_admitted_counts_as_a_failure() {
    let mut link = Link::new();
    assert_eq!(link.on(Event::Start, 0), Action::Connect);
    for wait in [1, 2, 4] {
        assert_eq!(link.on(Event::Connected, 0), Action::Admit);
        assert_eq!(link.on(Event::Lost, 0), seconds(wait));
        assert_eq!(link.on(Event::Due, 0), Action::Connect);
    }
}

#[test]
fn a_nudge_ends_a_wait_and_disturbs_nothing_else() {
    let mut link = live();
    assert_eq!(link.on(Event::Nudge, 0), Action::Stay);
    let _ = link.on(Event::Lost, 0);
    assert_eq!(link.on(Event::Nudge, 0), Action::Connect);
    assert_eq!(link.on(Event::Due, 0), Action::Stay, "the timer that it overtook");
}

#[test]
fn a_busy_relay_is_given_the_time_it_asks_for_within_reason() {
    let mut link = live();
    assert_eq!(link.on(Event::Busy { retry_after: Duration::from_secs(20) }, 0), seconds(20));
    let mut link = live();
    assert_eq!(link.on(Event::Busy { retry_after: Duration::MAX }, 0), seconds(300));
    let mut link = live();
    assert_eq!(link.on(Event::Busy { retry_after: Duration::ZERO }, 0), seconds(1));
}

#[test]
fn a_refused_link_stays_stopped_until_it_is_started_again() {
    let mut link = live();
    assert_eq!(link.on(Event::Refused, 0), Action::Close);
    assert_eq!(link.state(), State::Stopped);
    assert_eq!(link.on(Event::Nudge, 0), Action::Stay);
    assert_eq!(link.on(Event::Due, 0), Action::Stay);
    assert_eq!(link.on(Event::Start, 0), Action::Connect);
}

#[test]
fn a_stopped_link_closes_once() {
    for mut link in [Link::new(), live()] {
        assert_eq!(link.on(Event::Stop, 0), Action::Close);
        assert_eq!(link.on(Event::Stop, 0), Action::Stay);
        assert_eq!(link.on(Event::Lost, 0), Action::Stay);
    }
}

fn any_event() -> impl Strategy<Value = Event> {
    prop::sample::select(vec![
        Event::Start,
        Event::Connected,
        Event::Admitted,
        Event::Lost,
        Event::Busy { retry_after: Duration::from_secs(7) },
        Event::Refused,
        Event::Due,
        Event::Nudge,
        Event::Stop,
    ])
}

proptest! {
    /// The answer and the state always agree, so a loop that does what it is told is where the machine thinks it is.
    #[test]
    fn each_answer_leads_to_its_state(events in prop::collection::vec((any_event(), any::<u64>()), 0..60)) {
        let mut link = Link::default();
        for (event, random) in events {
            let before = link.state();
            let expected = match link.on(event, random) {
                Action::Connect => State::Connecting,
                Action::Admit => State::Admitting,
                Action::Serve => State::Live,
                Action::Wait(_) => State::Waiting,
                Action::Close => State::Stopped,
                Action::Stay => before,
            };
            prop_assert_eq!(link.state(), expected);
        }
    }
}
