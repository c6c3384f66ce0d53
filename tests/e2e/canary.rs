//! The relay and every log stay blind: words of the users are searched for in every file they must not reach.

use std::fs;

use zerok_tests::{Pair, noise, search, wait_same, wait_until};

#[test]
fn no_plaintext_name_or_id_is_in_the_relays_files_or_in_any_trace_log() {
    let trace = [("RUST_LOG", "trace")];
    let pair = Pair::with_environment(&trace, &trace);
    let (a, b) = (pair.sandbox.dir("private folder"), pair.sandbox.path().join("the other place"));
    fs::create_dir(a.join("canary-directory")).unwrap();
    let small = b"canary in a small file, which is sent inline".as_slice();
    let large = noise("canary in chunks", 300_000);
    fs::write(a.join("canary-directory/canary-name.txt"), small).unwrap();
    fs::write(a.join("canary-large.bin"), &large).unwrap();
    let _ = pair.anna.json(&["folder", "add", a.to_str().unwrap(), "--name", "canary-folder"]);
    wait_until("the folder is offered", || {
        pair.ben.json(&["folder", "list"])["folders"][0]["state"] == "offered"
    });
    let _ = pair.ben.json(&["folder", "join", "canary-folder", b.to_str().unwrap()]);
    let _ =
        pair.anna.json(&["push", "canary in a blob", "--channel", "canary-channel", "--key", "canary-key"]);
    wait_same(&a, &b);
    wait_until("the blob arrives", || pair.ben.pull("canary-channel").len() == 1);

    let status = pair.anna.status();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let (group, device) = (text(&status["groups"][0]["id"]), text(&status["device"]["id"]));
    let words: Vec<Vec<u8>> = vec![
        small[..16].to_vec(),
        large[..16].to_vec(),
        large[200_000..200_016].to_vec(),
        b"canary in a blob".to_vec(),
        b"canary-name".to_vec(),
        b"canary-directory".to_vec(),
        b"canary-folder".to_vec(),
        b"canary-large".to_vec(),
        b"canary-channel".to_vec(),
        b"canary-key".to_vec(),
    ];
    // The relay must know ids in order to do its work; logs need none.
    let ids: Vec<Vec<u8>> = [group, device, text(&pair.ben.status()["device"]["id"])]
        .iter()
        .map(|id| hex::decode(id).expect("ids are hex"))
        .collect();
    let paths = vec![b"private folder".to_vec(), b"the other place".to_vec()];

    let planted = pair.sandbox.path().join("planted");
    fs::write(&planted, [b"x".as_slice(), &words[0]].concat()).unwrap();
    assert_eq!(search(&[&planted], &refs(&words)).len(), 1, "the search finds what is there");

    let relay = [pair.relay.data(), pair.relay.log()];
    assert!(relay[0].join("relay.db").exists() && relay[0].join("relay.db-wal").exists());
    assert_eq!(search(&[&relay[0], &relay[1]], &refs(&words)), []);
    assert_eq!(search(&[&relay[0], &relay[1]], &refs(&paths)), []);
    let logs = [relay[1].as_path(), pair.anna.log(), pair.ben.log()];
    for log in logs {
        assert!(fs::metadata(log).unwrap().len() > 0, "it says something: {}", log.display());
    }
    assert_eq!(search(&logs, &refs(&words)), []);
    assert_eq!(search(&logs, &refs(&paths)), []);
    assert_eq!(search(&logs, &refs(&ids)), []);
}

fn refs(words: &[Vec<u8>]) -> Vec<&[u8]> {
    words.iter().map(Vec::as_slice).collect()
}
