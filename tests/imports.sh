#!/usr/bin/env bash
# Who may import whom (the table in ARCHITECTURE.md), checked on the resolved dependency tree.
# Usage: tests/imports.sh   (from anywhere; exits 1 and names every broken rule)
set -euo pipefail
cd "$(dirname "$0")/.."

broken=0
fail() {
    echo "import rule broken: $*" >&2
    broken=1
}

# The names in a crate's tree, one a line. Further arguments go to `cargo tree`.
tree() {
    cargo tree --quiet --locked --package "$1" --edges normal,build --prefix none --format '{p}' "${@:2}" |
        cut -d' ' -f1 | sort -u
}

# never CRATE WHERE NAME…: none of these may stand in the list read from standard input.
never() {
    local crate=$1 where=$2 list name
    list=$(cat)
    shift 2
    for name in "$@"; do
        if grep -qx -- "$name" <<<"$list"; then fail "$crate $where imports $name"; fi
    done
}

# ours CRATE NAME…: of this workspace's crates, only these may stand in its tree.
ours() {
    local crate=$1 name
    shift
    for name in $(tree "$crate" | grep -xE 'zerok-[a-z]+|zerokd|zerokctl'); do
        [[ " $crate $* " == *" $name "* ]] || fail "$crate imports $name"
    done
}

encrypts=(chacha20poly1305 chacha20 aes-gcm aes hpke x25519-dalek ml-kem x-wing spake2 argon2)

# A tree that cannot be read would break no rule: show first that forbidden names are seen.
for seen in zerok-core:chacha20poly1305 zerok-relay:iroh zerok-relay:rustls; do
    tree "${seen%:*}" | grep -qx "${seen#*:}" || fail "${seen#*:} is not seen below ${seen%:*}: this check is blind"
done

ours zerok-protocol
tree zerok-protocol | never zerok-protocol "" "${encrypts[@]}" rustls ring aws-lc-rs tokio iroh rusqlite

ours zerok-core zerok-protocol
tree zerok-core | never zerok-core "" tokio iroh rusqlite notify
if grep -rnE 'std::(fs|net|thread|env|process)\b|SystemTime|Instant\b' zerokd/core/src; then
    fail "zerok-core does I/O or reads a clock (lines above)"
fi

ours zerok-client

# This is what "blind" means: whatever iroh needs for TLS stays inside iroh's subtree, and
# nothing else that could open what devices seal is anywhere in the relay.
# noq is iroh's own QUIC, named by the relay for its congestion controllers, which iroh does not hand on.
ours zerok-relay zerok-protocol
tree zerok-relay --prune iroh --prune noq | never zerok-relay "outside iroh's subtree" \
    zerok-core zerok-client "${encrypts[@]}"

ours zerokd zerok-core zerok-protocol zerok-client zerok-relay
if grep -rln 'zerok_relay' zerokd/src | grep -v '/embedded_relay\.rs$'; then
    fail "zerokd reaches into zerok_relay outside embedded_relay.rs (files above)"
fi

ours zerokctl zerok-client

exit $broken
