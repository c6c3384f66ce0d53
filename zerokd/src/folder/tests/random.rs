//! Random work on three devices that are not always connected.

use std::path::Path;

use proptest::prelude::*;

use super::device::{Devices, Tree};

#[derive(Debug, Clone)]
enum Step {
    Write(usize, usize, u8),
    Delete(usize, usize),
    Rename(usize, usize, usize),
    MakeDir(usize, usize),
    Exchange(usize, usize),
    Restart(usize),
}

/// Few names, so that everything collides; files and directories among them.
const NAMES: [&str; 7] = ["a", "b", "a/x", "a/y", "b/x", "c.txt", "a/x/deep"];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (device, name) = (0usize..3, 0usize..NAMES.len());
    let step = prop_oneof![
        4 => (device.clone(), name.clone(), any::<u8>()).prop_map(|(d, n, c)| Step::Write(d, n, c)),
        2 => (device.clone(), name.clone()).prop_map(|(d, n)| Step::Delete(d, n)),
        1 => (device.clone(), name.clone(), name.clone()).prop_map(|(d, n, m)| Step::Rename(d, n, m)),
        1 => (device.clone(), name).prop_map(|(d, n)| Step::MakeDir(d, n)),
        3 => (device.clone(), device.clone()).prop_map(|(d, e)| Step::Exchange(d, e)),
        1 => device.prop_map(Step::Restart),
    ];
    proptest::collection::vec(step, 1..14)
}

fn act(devices: &mut Devices, step: &Step, counter: usize) -> Option<Vec<u8>> {
    let at = |devices: &Devices, d: usize, n: usize| devices.dir(d).join(NAMES[n]);
    match step {
        Step::Write(d, n, size) => {
            let path = at(devices, *d, *n);
            let mut content = format!("{counter} by {d} ").into_bytes();
            content.resize(if *size > 250 { 50_000 } else { 20 + usize::from(*size) }, b'.');
            let made = path.parent().map(std::fs::create_dir_all);
            let written =
                made.is_some_and(|m| m.is_ok()) && !path.is_dir() && std::fs::write(path, &content).is_ok();
            // What was only just written may be what the next step replaces before anybody saw it.
            devices.settle(*d);
            return written.then_some(content);
        }
        Step::Delete(d, n) => remove(&at(devices, *d, *n)),
        Step::Rename(d, n, m) => {
            let (from, to) = (at(devices, *d, *n), at(devices, *d, *m));
            if from.exists() && !to.exists() && to.parent().is_some_and(Path::exists) {
                let _ = std::fs::rename(from, to);
            }
        }
        Step::MakeDir(d, n) => {
            let _ = std::fs::create_dir_all(at(devices, *d, *n));
        }
        Step::Exchange(d, e) if d != e => devices.exchange(&[*d, *e]),
        Step::Exchange(..) => {}
        Step::Restart(d) => devices.restart(*d),
    }
    None
}

fn remove(path: &Path) {
    if path.is_dir() {
        let _ = std::fs::remove_dir_all(path);
    } else {
        let _ = std::fs::remove_file(path);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn all_sides_end_equal_and_no_content_that_nobody_replaced_is_lost(steps in steps()) {
        let mut devices = Devices::new(3);
        let mut written: Vec<Vec<u8>> = Vec::new();
        let deletes = steps.iter().any(|s| matches!(s, Step::Delete(..) | Step::Rename(..)));
        for (counter, step) in steps.iter().enumerate() {
            written.extend(act(&mut devices, step, counter));
        }
        devices.sync();
        let trees: Vec<Tree> = (0..3).map(|n| Tree::read(&devices.dir(n))).collect();
        prop_assert_eq!(&trees[0], &trees[1]);
        prop_assert_eq!(&trees[0], &trees[2]);
        let before = devices.entries();
        devices.sync();
        prop_assert_eq!(devices.entries(), before, "they are quiet");
        // Whoever overwrites or deletes his own file means it; the last content written is always somewhere.
        if !deletes && let Some(last) = written.last() {
            let kept: Vec<Vec<u8>> = (0..3).flat_map(|n| Tree::read_in(&devices.dir(n)).contents()).collect();
            prop_assert!(kept.contains(last), "a content was lost");
        }
    }
}
