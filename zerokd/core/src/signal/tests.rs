use proptest::prelude::*;
use zerok_protocol::{GroupId, MAX_SIGNAL};

use super::*;
use crate::secret::{DeviceKeys, EpochKeys, EpochSecret};
use crate::vector::Position;

const GROUP: GroupId = GroupId([1; 32]);
const EPOCH: EpochId = EpochId { number: 2, tag: 3 };

fn device() -> DeviceKeys {
    DeviceKeys::from_seed(&[1; 32].into())
}

fn epoch_keys() -> EpochKeys {
    EpochKeys::derive(&EpochSecret::from([7; 32]))
}

fn sealed(signal: &Signal) -> Vec<u8> {
    seal_signal(&device(), &epoch_keys(), GROUP, EPOCH, [5; 24], 99, signal).to_vec()
}

fn open(payload: &[u8]) -> Result<(DeviceId, u64, Signal), SignalError> {
    open_signal(payload, |epoch| (epoch == EPOCH).then(epoch_keys), GROUP)
}

fn range(from: u64, to: u64) -> Want {
    Want { device: DeviceId([1; 32]), chain: ChainId([2; 16]), from, to }
}

fn vector(positions: u64) -> Vector {
    let mut vector = Vector::default();
    for seq in 1..=positions {
        let id = Hash::of(&seq.to_be_bytes()).0;
        let position = Position { seq: seq + (1 << 60), hash: Hash(id) };
        vector.set(DeviceId(id), ChainId([3; 16]), position);
    }
    vector
}

#[test]
fn every_signal_comes_back_with_its_sender_and_time() {
    let chains = vec![range(1, 4)];
    let all = [
        Signal::Vector(vector(3)),
        Signal::Vector(Vector::default()),
        Signal::Want { chains: chains.clone() },
        Signal::WantChunks { addresses: vec![Hash([1; 32])] },
        Signal::Have { chains: chains.clone(), lacking: chains.clone() },
        Signal::Pruned { chains: chains.clone() },
        Signal::Offer { chains },
        Signal::Receipt { device: DeviceId([1; 32]), chain: ChainId([2; 16]), seq: 3, hash: Hash([4; 32]) },
    ];
    for signal in all {
        assert_eq!(open(&sealed(&signal)), Ok((device().id(), 99, signal)));
    }
}

#[test]
fn every_changed_bit_is_refused() {
    let good = sealed(&Signal::Vector(vector(1)));
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(open_signal(&bad, |_| Some(epoch_keys()), GROUP).is_err(), "bit {bit}");
    }
}

#[test]
fn a_signal_stays_in_its_group_and_epoch() {
    let good = sealed(&Signal::Vector(vector(1)));
    let other = GroupId([9; 32]);
    assert_eq!(open_signal(&good, |_| Some(epoch_keys()), other), Err(SignalError::Sealed));
    assert_eq!(open_signal(&good, |_| None, GROUP), Err(SignalError::Epoch(EPOCH)));
}

/// A member can seal what it likes, but not in another's name, and not an old signal of another as a new one.
#[test]
fn a_member_cannot_pass_a_signal_on_as_something_else() {
    #[derive(Serialize)]
    struct Body {
        group: GroupId,
        device: DeviceId,
        epoch: EpochId,
        sent_at: u64,
        signal: Signal,
    }
    let forge = |group, epoch, device_id, signal: Signal| {
        let body = crate::codec::encode(&Body { group, device: device_id, epoch, sent_at: 1, signal });
        let signature = device().sign(b"0k-sync v1 signal\0", &body);
        let text = [&signature.as_bytes()[..], &body].concat();
        let clear = [&[1][..], &crate::epoch::epoch_bytes(EPOCH), &[5; 24]].concat();
        let aad = [&[1][..], GROUP.as_bytes(), &crate::epoch::epoch_bytes(EPOCH)].concat();
        open(&crate::sealing::seal_padded(&epoch_keys().signal, &[5; 24], &aad, &clear, &text))
    };
    let vector = || Signal::Vector(Vector::default());
    let own = device().id();
    assert!(forge(GROUP, EPOCH, own, vector()).is_ok());
    assert_eq!(forge(GROUP, EPOCH, DeviceId([8; 32]), vector()), Err(SignalError::Signature));
    assert_eq!(forge(GroupId([9; 32]), EPOCH, own, vector()), Err(SignalError::Signature));
    assert_eq!(forge(GROUP, EpochId { number: 9, tag: 3 }, own, vector()), Err(SignalError::Signature));
}

#[test]
fn ranges_and_counts_that_no_device_sends_are_refused() {
    for bad in [
        Signal::Want { chains: vec![range(0, 4)] },
        Signal::Want { chains: vec![range(5, 4)] },
        Signal::Offer { chains: vec![range(1, u64::MAX)] },
        Signal::Pruned { chains: vec![range(1, 1); 513] },
        Signal::Have { chains: vec![], lacking: vec![range(2, 1)] },
        Signal::WantChunks { addresses: vec![Hash([0; 32]); 1025] },
        Signal::Receipt { device: DeviceId([1; 32]), chain: ChainId([2; 16]), seq: 0, hash: Hash([4; 32]) },
    ] {
        assert_eq!(open(&sealed(&bad)), Err(SignalError::Malformed), "{bad:?}");
    }
}

#[test]
fn what_a_caller_is_told_to_bound_fits_a_signal() {
    let chains = vec![range(1 << 60, 1 << 61); 256];
    let parts = vector(1000).parts();
    assert_eq!(parts.len(), 3);
    let mut whole = Vector::default();
    parts.iter().for_each(|part| whole.merge(part));
    assert_eq!(whole, vector(1000));
    let mut full = vec![Signal::Want { chains }, Signal::WantChunks { addresses: vec![Hash([1; 32]); 1024] }];
    full.extend(parts.into_iter().map(Signal::Vector));
    for signal in full {
        let payload = sealed(&signal);
        assert!(payload.len() <= MAX_SIGNAL, "{}", payload.len());
        assert!(open(&payload).is_ok());
    }
    assert_eq!(Vector::default().parts().len(), 1);
}

#[test]
fn a_signal_that_is_too_large_or_newer_is_named() {
    assert_eq!(open(&vec![1; MAX_SIGNAL + 1]), Err(SignalError::TooLarge(MAX_SIGNAL + 1)));
    assert_eq!(open(&[2; 100]), Err(SignalError::Version(2)));
    assert_eq!(open(&[]), Err(SignalError::Malformed));
}

proptest! {
    #[test]
    fn open_takes_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(open_signal(&bytes, |_| Some(epoch_keys()), GROUP).is_err());
    }
}
