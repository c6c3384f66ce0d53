//! All the buckets of a relay.

use std::net::IpAddr;
use std::time::Duration;

use zerok_protocol::DeviceId;

use super::address::Address;
use super::pace::Pace;
use super::{Buckets, Rate};
use crate::config::Limits;

/// Messages about mailboxes from one address, whoever sends them.
const MAILBOX_PER_MINUTE: u32 = 240;
const MAILBOX_BURST: u32 = 60;

/// A refusal: which limit, by its name in the configuration and the metrics, and when to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limited {
    pub(crate) limit: &'static str,
    pub(crate) wait: Duration,
}

/// Rates of devices, of addresses and of everybody.
pub(crate) struct Rates {
    connections: Buckets<DeviceId>,
    handshakes: Buckets<Address>,
    /// As `handshakes`, for what comes from addresses that may be forged.
    unproven: Buckets<Address>,
    messages: Buckets<DeviceId>,
    signals: Buckets<DeviceId>,
    mailbox: Buckets<Address>,
    everybody: Buckets<()>,
    pace: Pace,
}

impl Rates {
    pub(crate) fn new(limits: &Limits) -> Self {
        let by_config = ByConfig::from(limits);
        Self {
            connections: Buckets::new(by_config.connections),
            handshakes: Buckets::new(by_config.handshakes),
            unproven: Buckets::new(by_config.handshakes),
            messages: Buckets::new(by_config.messages),
            signals: Buckets::new(by_config.signals),
            mailbox: Buckets::new(Rate::per_minute(MAILBOX_PER_MINUTE, MAILBOX_BURST)),
            everybody: Buckets::new(by_config.everybody),
            pace: Pace::new(limits.bytes_per_second_per_device, limits.bytes_per_second_per_device_burst),
        }
    }

    /// Other rates from now on.
    pub(crate) fn set(&self, limits: &Limits) {
        let by_config = ByConfig::from(limits);
        self.connections.set(by_config.connections);
        self.handshakes.set(by_config.handshakes);
        self.unproven.set(by_config.handshakes);
        self.messages.set(by_config.messages);
        self.signals.set(by_config.signals);
        self.everybody.set(by_config.everybody);
        self.pace.set(limits.bytes_per_second_per_device, limits.bytes_per_second_per_device_burst);
    }

    /// Forgets who has rested.
    pub(crate) fn sweep(&self) {
        self.connections.sweep();
        self.handshakes.sweep();
        self.unproven.sweep();
        self.messages.sweep();
        self.signals.sweep();
        self.mailbox.sweep();
        self.everybody.sweep();
        self.pace.sweep();
    }

    /// A handshake from an address. Forged ones (`proven` is false for what may be) use up nobody's share.
    pub(crate) fn handshake(&self, ip: Option<IpAddr>, proven: bool) -> Result<(), Limited> {
        let buckets = if proven { &self.handshakes } else { &self.unproven };
        match ip.and_then(Address::limited) {
            Some(address) => buckets.take(&address).map_err(named("connections_per_ip")),
            None => Ok(()),
        }
    }

    pub(crate) fn connection(&self, device: &DeviceId) -> Result<(), Limited> {
        self.connections.take(device).map_err(named("connections_per_device"))
    }

    /// The device's own share is asked first: who has used it up takes nothing from everybody's.
    pub(crate) fn message(&self, device: &DeviceId) -> Result<(), Limited> {
        self.messages.take(device).map_err(named("messages_per_minute"))?;
        self.everybody.take(&()).map_err(named("global_requests_per_second"))
    }

    pub(crate) fn signal(&self, device: &DeviceId) -> Result<(), Limited> {
        self.signals.take(device).map_err(named("signals_per_minute"))
    }

    /// By address, too: anybody may come to a mailbox under any number of device ids.
    pub(crate) fn mailbox(&self, ip: Option<IpAddr>, device: &DeviceId) -> Result<(), Limited> {
        if let Some(address) = ip.and_then(Address::limited) {
            self.mailbox.take(&address).map_err(named("mailbox_per_ip"))?;
        }
        self.message(device)
    }

    /// Is there a rate of bytes at all?
    pub(crate) fn is_paced(&self) -> bool {
        self.pace.is_on()
    }

    /// Waits until the device may move so many bytes; true if it had to.
    pub(crate) async fn bytes(&self, device: &DeviceId, bytes: usize) -> bool {
        self.pace.wait(device, bytes).await
    }
}

fn named(limit: &'static str) -> impl FnOnce(Duration) -> Limited {
    move |wait| Limited { limit, wait }
}

/// The rates that the configuration has.
struct ByConfig {
    connections: Rate,
    handshakes: Rate,
    messages: Rate,
    signals: Rate,
    everybody: Rate,
}

impl From<&Limits> for ByConfig {
    fn from(l: &Limits) -> Self {
        Self {
            connections: Rate::per_minute(l.connections_per_device, l.connections_per_device_burst),
            handshakes: Rate::per_minute(l.connections_per_ip, l.connections_per_ip_burst),
            messages: Rate::per_minute(l.messages_per_minute, l.messages_per_minute_burst),
            signals: Rate::per_minute(l.signals_per_minute, l.signals_per_minute_burst),
            everybody: Rate::per_second(l.global_requests_per_second, l.global_requests_per_second_burst),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: DeviceId = DeviceId([1; 32]);
    const B: DeviceId = DeviceId([2; 32]);

    fn rates(change: impl FnOnce(&mut Limits)) -> Rates {
        let mut limits = Limits::default();
        change(&mut limits);
        Rates::new(&limits)
    }

    #[test]
    fn forged_addresses_use_up_nobodys_share() {
        let rates = rates(|l| l.connections_per_ip_burst = 2);
        let victim = Some("192.0.2.1".parse().unwrap());
        while rates.handshake(victim, false).is_ok() {}
        assert_eq!(rates.handshake(victim, true), Ok(()));
        assert_eq!(rates.handshake(victim, true), Ok(()));
        assert_eq!(rates.handshake(victim, true).unwrap_err().limit, "connections_per_ip");
    }

    #[test]
    fn loopback_makes_as_many_handshakes_as_it_likes() {
        let rates = rates(|l| l.connections_per_ip_burst = 1);
        for _ in 0..1000 {
            assert_eq!(rates.handshake(Some("::1".parse().unwrap()), true), Ok(()));
        }
    }

    #[test]
    fn a_device_over_its_share_takes_nothing_from_everybodys() {
        let rates = rates(|l| {
            l.messages_per_minute = 1;
            l.messages_per_minute_burst = 2;
            l.global_requests_per_second = 1;
            l.global_requests_per_second_burst = 3;
        });
        assert_eq!((rates.message(&A), rates.message(&A)), (Ok(()), Ok(())));
        assert_eq!(rates.message(&A).unwrap_err().limit, "messages_per_minute");
        assert_eq!(rates.message(&B), Ok(()));
        assert_eq!(rates.message(&B).unwrap_err().limit, "global_requests_per_second");
    }

    #[test]
    fn mailboxes_are_limited_by_address_whatever_the_device() {
        let rates = rates(|_| {});
        let ip = Some("192.0.2.1".parse().unwrap());
        for n in 0..60 {
            assert_eq!(rates.mailbox(ip, &DeviceId([n; 32])), Ok(()));
        }
        assert_eq!(rates.mailbox(ip, &DeviceId([99; 32])).unwrap_err().limit, "mailbox_per_ip");
        assert_eq!(rates.mailbox(Some("127.0.0.1".parse().unwrap()), &A), Ok(()));
    }
}
