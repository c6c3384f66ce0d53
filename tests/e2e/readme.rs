//! The README's promises: its tour runs as written, and the demo does what it says.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use zerok_tests::{Sample, Sandbox, Tree, binary};

/// The commands of the first code block below a heading.
fn commands(readme: &str, heading: &str) -> Vec<String> {
    let (_, section) = readme.split_once(heading).expect("the heading");
    let (_, block) = section.split_once("```sh\n").expect("a code block");
    let (block, _) = block.split_once("```").expect("its end");
    block.lines().map(str::to_owned).collect()
}

/// What stands between two commands when nobody types them: the time that a person takes.
fn patience(command: &str, next: Option<&String>) -> &'static str {
    if command.starts_with("zerok-relay ") {
        "until [ -s tour/address ]; do sleep 0.05; done"
    } else if command.starts_with("zerokd --home tour/anna") {
        "until zerokctl --home tour/anna status >/dev/null 2>&1; do sleep 0.05; done"
    } else if command.starts_with("zerokd --home tour/ben") {
        "until zerokctl --home tour/ben status >/dev/null 2>&1; do sleep 0.05; done"
    } else if command.contains("folder add") {
        "until zerokctl --home tour/ben folder list --json | grep -q offered; do sleep 0.05; done"
    } else if next.is_some_and(|next| next.starts_with("kill ")) {
        "until grep -q 'hello ben' output && grep -q 'written on anna' tour/notes-on-ben/first; do sleep 0.05; done"
    } else {
        ":"
    }
}

#[test]
fn the_readmes_tour_runs_as_written() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")).unwrap();
    let commands = commands(&readme, "## The tour");
    assert!(commands.len() <= 12, "at most twelve commands");
    assert!(commands[0].starts_with("cargo build --release"));
    let sandbox = Sandbox::new();
    let binaries = binary("zerokd");
    let mut script = format!("set -eu\nexport PATH=\"{}:$PATH\"\n", binaries.parent().unwrap().display());
    for (i, command) in commands.iter().enumerate().skip(1) {
        script.push_str(&format!("{command}\n{}\n", patience(command, commands.get(i + 1))));
    }
    script.push_str("[ ! -e tour ]\necho the tour is over\n");
    let output = fs::File::create(sandbox.path().join("output")).unwrap();
    // In a process group of its own, so that `timeout` ends what the script left running.
    let status = Command::new("timeout")
        .args(["--kill-after=1", "18", "bash", "-c", &script])
        .current_dir(sandbox.path())
        .stdin(Stdio::null())
        .stdout(output.try_clone().unwrap())
        .stderr(output)
        .status()
        .unwrap();
    let said = fs::read_to_string(sandbox.path().join("output")).unwrap();
    assert!(status.success() && said.contains("the tour is over"), "{status}\n{script}\n{said}");
}

fn demo(sandbox: &Sandbox, args: &[&str]) -> (bool, Value) {
    let output = Command::new("timeout")
        .args(["--kill-after=1", "60"])
        .arg(binary("zerokd"))
        .args(["demo", "--once", "--json"])
        .args(args)
        .env("TMPDIR", sandbox.dir("tmp"))
        .env("HOME", sandbox.dir("home"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let document = serde_json::from_str(&said)
        .unwrap_or_else(|e| panic!("{e}: {said}\n{}", String::from_utf8_lossy(&output.stderr)));
    (output.status.success(), document)
}

#[test]
fn the_demo_keeps_its_sample_in_step_and_finds_no_plaintext() {
    let sandbox = Sandbox::new();
    let (success, document) = demo(&sandbox, &[]);
    assert!(success, "{document}");
    assert_eq!((&document["converged"], &document["plaintext_found"]), (&true.into(), &false.into()));
    for number in ["files", "bytes", "first_sync_ms", "blob_latency_ms"] {
        assert!(document[number].as_f64().is_some_and(|n| n > 0.0), "{number}: {document}");
    }
    assert_eq!(Tree::read(&sandbox.dir("tmp")), Tree::default(), "it leaves nothing behind");
    assert_eq!(Tree::read(&sandbox.dir("home")), Tree::default());
}

#[test]
fn the_demo_copies_a_directory_and_never_writes_to_it() {
    let sandbox = Sandbox::new();
    let dir = sandbox.dir("mine");
    Sample { files: 40, large: 100_000 }.write(&dir);
    let before = Tree::read(&dir);
    let (success, document) = demo(&sandbox, &[dir.to_str().unwrap()]);
    assert!(success, "{document}");
    assert!(document["bytes"].as_u64().is_some_and(|bytes| bytes >= before.bytes()), "{document}");
    assert_eq!(Tree::read(&dir), before);
    assert!(!dir.join(".zerok").exists());
}
