#!/usr/bin/env bash
# Builds the relay's and the daemon's image and checks what the Dockerfile and contrib/docker promise.
#
#   tests/docker-validate.sh [--builder IMAGE] [--runtime IMAGE] [--make-bases]
#
# The base images are the Dockerfile's defaults, or those given (also by BUILDER_IMAGE and RUNTIME_IMAGE). Where the defaults
# cannot be pulled, or with --make-bases, both are made here: Debian bookworm by debootstrap, with this machine's
# Rust toolchain and crates, and what `cargo build --release` has built of the dependencies (needs root).
#
# Uses the running engine; as root without one it starts a dockerd of its own, in a network of its own, and stops it. That one
# reaches no registry, so it needs bases made here.
# Exit codes: 0 all passed, 1 something failed, 77 there is no engine. The last line is `N passed, N failed`.
set -euo pipefail
cd "$(dirname "$0")/.."

builder=${BUILDER_IMAGE:-} runtime=${RUNTIME_IMAGE:-} make_bases=
while (($#)); do
    case $1 in
        --builder) builder=$2; shift 2 ;;
        --runtime) runtime=$2; shift 2 ;;
        --make-bases) make_bases=yes; shift ;;
        *) echo "usage: $0 [--builder IMAGE] [--runtime IMAGE] [--make-bases]" >&2; exit 2 ;;
    esac
done

# Part of every name that is made; the letter keeps one process's from being the start of another's.
run=zerok-validate-$$x
work=$(mktemp -d)
chmod 711 "$work"
passed=0 failed=0 dockerd='' inside=()

# ---- what is left behind: nothing

clean() {
    local code=$?
    set +e
    trap - EXIT
    if docker info >"$work/info" 2>&1; then
        docker ps -aq --filter "name=$run" | xargs -r docker rm -fv
        docker volume ls -q --filter "name=$run" | xargs -r docker volume rm -f
        docker network ls -q --filter "name=$run" | xargs -r docker network rm
        docker images --filter "reference=$run*" --format '{{.Repository}}:{{.Tag}}' | xargs -r docker rmi -f
    fi >"$work/clean" 2>&1
    if [[ -n $dockerd ]]; then
        kill "$dockerd" && wait "$dockerd"
    fi
    rm -rf --one-file-system "$work"
    exit "$code"
}
trap clean EXIT
trap 'exit 130' INT TERM

# ---- reporting

ok() {
    passed=$((passed + 1))
    printf 'ok   %s (%d s)\n' "$1" $((SECONDS - since))
}
wrong() {
    failed=$((failed + 1))
    printf 'FAIL %s (%d s)\n' "$1" $((SECONDS - since))
    sed 's/^/     | /' "$work/said" | tail -n 40
}
# check NAME COMMAND…: one line of the result; what the command said only when it failed. Any failing step of a function
# fails it, which holds as long as check itself is not called in a condition.
check() {
    local name=$1 since=$SECONDS code
    shift
    set +e
    (set -e && "$@") >"$work/said" 2>&1
    code=$?
    set -e
    if ((code == 0)); then ok "$name"; else wrong "$name"; fi
}
# The same for what all the rest builds upon.
must() {
    local before=$failed
    check "$@"
    ((failed == before)) || finish
}
# within SECONDS COMMAND…: the command succeeds before the time is over. Only its last try is heard.
within() {
    local deadline=$((SECONDS + $1)) heard
    shift
    until heard=$("$@" 2>&1); do
        if ((SECONDS >= deadline)); then
            printf '%s\n' "$heard"
            return 1
        fi
        sleep 0.2
    done
}
finish() {
    printf '%d passed, %d failed\n' $passed $failed
    ((failed == 0))
    exit
}
no_engine() {
    echo "skipped: no container engine: $*"
    exit 77
}

# ---- the engine

own_engine() {
    [[ $EUID == 0 ]] || no_engine 'docker does not answer, and only root can start dockerd'
    command -v dockerd >/dev/null || no_engine 'dockerd is not installed (Debian: docker.io)'
    export DOCKER_HOST=unix://$work/docker.sock
    # In a network of its own, whose bridges and firewall rules end with it: those of this machine stay as they are, and cannot
    # keep our containers apart.
    unshare --net sh -c 'ip link set lo up && exec dockerd "$@"' dockerd --host "$DOCKER_HOST" --data-root "$work/engine" \
        --exec-root "$work/exec" --pidfile "$work/dockerd.pid" >"$work/dockerd.log" 2>&1 &
    dockerd=$!
    inside=(nsenter --net --target "$dockerd")
    if ! within 60 answers_or_ended || ! docker info >/dev/null 2>&1; then
        tail -n 20 "$work/dockerd.log"
        no_engine 'dockerd does not start here'
    fi
}
answers_or_ended() { docker info >/dev/null 2>&1 || ! kill -0 "$dockerd" 2>/dev/null; }

command -v docker >/dev/null || no_engine 'docker is not installed (Debian: docker.io)'
docker info >/dev/null 2>&1 || own_engine
# Without its plug-in the client has only the classic builder, which this Dockerfile does not outgrow.
docker buildx version >/dev/null 2>&1 || export DOCKER_BUILDKIT=0

# ---- the base images

pull() { docker image inspect "$1" >/dev/null 2>&1 || timeout 300 docker pull -q "$1"; }
default() { sed -n "s/^ARG $1=//p" Dockerfile; }

# What cargo built of the dependencies serves there too when system, toolchain and their settings are the same, which
# cargo itself finds out; otherwise it builds them again. Our own crates are left out.
warm() {
    local target=${CARGO_TARGET_DIR:-target}
    [[ -d $target/release/deps ]] && grep -q 'VERSION_CODENAME=bookworm' /etc/os-release || return 0
    mkdir -p "$1/src/target"
    (cd "$target" && tar -c --exclude='*zerok*' release/build release/.fingerprint release/deps/lib*) | tar -x -C "$1/src/target"
}

make() {
    command -v debootstrap >/dev/null || { echo 'needs debootstrap (Debian: debootstrap)'; return 1; }
    local small=$work/small full=$work/full toolchain home=${CARGO_HOME:-$HOME/.cargo}
    toolchain=$(rustc --print sysroot)
    debootstrap --variant=minbase bookworm "$small"
    cp -a "$small" "$full"
    chroot "$full" apt-get install -y -qq --no-install-recommends gcc libc6-dev
    rm -rf "$small"/var/{cache/apt,lib/apt/lists}/* "$full"/var/{cache/apt,lib/apt/lists}/*
    cargo fetch --locked --quiet
    # Where it is here: build scripts' results hold only for the path that they were got at.
    mkdir -p "$full$home/registry"
    cp -a "$toolchain/bin/cargo" "$toolchain/bin/rustc" "$full/usr/local/bin/"
    cp -a "$toolchain/lib/." "$full/usr/local/lib/"
    cp -a "$home"/registry/{index,cache} "$full$home/registry/"
    warm "$full"
    local path='PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
    tar -c -C "$small" . | docker import --change "ENV $path" - "$run-runtime"
    tar -c -C "$full" . |
        docker import --change "ENV $path CARGO_HOME=$home CARGO_NET_OFFLINE=true" - "$run-builder"
    rm -rf "$small" "$full"
}

builder=${builder:-$(default BUILDER_IMAGE)} runtime=${runtime:-$(default RUNTIME_IMAGE)}
network=default
if [[ -n $make_bases || -n $dockerd ]] || ! { pull "$builder" && pull "$runtime"; }; then
    must 'base images are made of this machine' make
    builder=$run-builder runtime=$run-runtime
    # Everything is in the image: nothing may be fetched.
    network=none
fi

# ---- the images

# What is in the working tree, with secrets planted where a careless operator leaves them: none may get into an image.
canary=$(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n')
plant() {
    local tree=$work/tree file
    mkdir "$tree"
    git ls-files -z --cached --others --exclude-standard |
        while IFS= read -r -d '' file; do [[ ! -f $file ]] || printf '%s\0' "$file"; done | tar -c --null -T - | tar -x -C "$tree"
    for file in .git/config .env relay.key relay/relay.key relay/.env zerok-relay-data/relay.key tour/anna/device.key \
        zerokd/state.db tests/device.key contrib/docker/.env contrib/docker/conf/relay.toml target/release/zerokd; do
        mkdir -p "$tree/$(dirname "$file")"
        echo "$canary" >>"$tree/$file"
    done
}
build() {
    docker build --network "$network" --build-arg "BUILDER_IMAGE=$builder" --build-arg "RUNTIME_IMAGE=$runtime" \
        --build-arg "REVISION=$run" --target "$1" -t "$run-$1" "$work/tree"
}
plant
must 'the relay image builds' build relay
must 'the zerokd image builds' build zerokd
# All that a build gets to see, as an image.
context() {
    printf 'FROM %s\nCOPY . /context\n' "$runtime" >"$work/Dockerfile"
    docker build -f "$work/Dockerfile" -t "$run-context" "$work/tree"
}
must 'the build context can be looked at' context

# ---- what is in them

# Layers that are ours, the base's left out, each unpacked below $work/layers/TARGET.
layers() {
    local dir=$work/layers/$1 base layer
    mkdir -p "$dir/image"
    docker save "$run-$1" | tar -x -C "$dir/image"
    base=$(docker image inspect --format '{{len .RootFS.Layers}}' "$runtime")
    grep -o '"Layers":\[[^]]*\]' "$dir/image/manifest.json" | grep -o '"[^":]*"' | tr -d '"' | grep -v '^Layers$' |
        tail -n "+$((base + 1))" | while read -r layer; do
        mkdir -p "$dir/files/$layer"
        tar -x -C "$dir/files/$layer" -f "$dir/image/$layer"
        (cd "$dir/files/$layer" && find . -type f)
    done | sed 's,^\./,/,' | sort >"$dir/list"
}
files() { # TARGET FILE…: the image adds exactly these
    local target=$1
    shift
    printf '%s\n' "$@" | sort | diff - "$work/layers/$target/list"
}
no_secret() {
    # The planted ones, what a key file would be called, and what a token or private key looks like in history and settings.
    ! grep -rlF "$canary" "$work/layers/$1/files" || return 1
    ! find "$work/layers/$1/files" -name .git -o -name '*.key' -o -name '*.pem' -o -name '.env*' -o -name '*.db' | grep . || return 1
    ! grep -rlE -e '-----BEGIN [A-Z ]*PRIVATE KEY' "$work/layers/$1/files" || return 1
    { docker history --no-trunc "$run-$1" && docker image inspect "$run-$1"; } >"$work/history"
    ! grep -inE "$canary|token=|password|secret" "$work/history"
}
licences='/usr/share/doc/0k-sync/LICENSE-APACHE /usr/share/doc/0k-sync/LICENSE-MIT'
config() { docker image inspect --format "$2" "$run-$1"; }
is() { # WANTED GOT
    [[ $1 == "$2" ]] || { printf 'wanted: %s\ngot:    %s\n' "$1" "$2"; return 1; }
}

for target in context relay zerokd; do layers $target; done
check 'no secret is in the build context' no_secret context
# shellcheck disable=SC2086 # a list of words
check 'the relay image adds its binary, its configuration and the licences, and nothing else' \
    files relay /usr/local/bin/zerok-relay /etc/0k-sync/relay.toml $licences
# shellcheck disable=SC2086
check 'the zerokd image adds its two binaries and the licences, and nothing else' \
    files zerokd /usr/local/bin/zerokd /usr/local/bin/zerokctl $licences
for target in relay zerokd; do
    check "no secret is in a layer, the history or the settings of the $target image" no_secret $target
    check "the $target image is set to a fixed user that is not root" is 10001:10001 "$(config $target '{{.Config.User}}')"
    check "the $target image has one volume, /data" is 'map[/data:{}]' "$(config $target '{{.Config.Volumes}}')"
done
check 'the relay image names its two ports' is 'map[4433/udp:{} 8080/tcp:{}]' "$(config relay '{{.Config.ExposedPorts}}')"

# ---- the configuration

hard=(--read-only --cap-drop ALL --security-opt no-new-privileges --health-interval 1s --health-start-period 20s)
once() { docker run --rm --name "$run-once" --network none "${hard[@]}" "$@"; }
refuses() { # FILE WORD: status 2, and the word is in what it says
    local code=0
    once -v "$1:/etc/0k-sync/relay.toml:ro" "$run-relay" --validate >"$work/refused" 2>&1 || code=$?
    cat "$work/refused"
    [[ $code == 2 ]] && grep -q "$2" "$work/refused"
}
printf '[server]\nbind = "0.0.0.0:4433"\nbinnd = 1\n' >"$work/wrong.toml"
chmod 644 "$work/wrong.toml"
check 'relay.docker.toml is accepted' once "$run-relay" --validate
check 'a mistake in a mounted configuration is refused by its name' refuses "$work/wrong.toml" binnd

# ---- a relay

# A network with a known range, so that a container can come back under its address.
for _ in 1 2 3 4 5; do
    prefix=10.$((RANDOM % 200 + 50)).$((RANDOM % 250))
    docker network create --subnet "$prefix.0/24" "$run" >"$work/said" 2>&1 && break
done
for volume in data anna anna-sync ben ben-sync; do docker volume create "$run-$volume" >"$work/said"; done

start_relay() {
    docker run -d --name "$run-relay" "${hard[@]}" --network "$run" --ip "$prefix.10" -p 127.0.0.1::8080 \
        -v "$run-data:/data" "$@" "$run-relay"
}
start_daemon() {
    docker run -d --name "$run-$1" --hostname "$1" "${hard[@]}" --network "$run" -v "$run-$1:/data" -v "$run-$1-sync:/sync" "$run-zerokd"
}
state() { docker inspect --format "$2" "$run-$1"; }
settled() { [[ $(state "$1" '{{.State.Health.Status}}') == healthy || $(state "$1" '{{.State.Running}}') == false ]]; }
becomes_healthy() {
    within 30 settled "$1" && [[ $(state "$1" '{{.State.Health.Status}}') == healthy ]] && return
    state "$1" '{{json .State}}'
    docker logs "$run-$1"
    return 1
}
runs_as() { docker top "$run-$1" -eo uid,pid,comm | tee /dev/stderr | awk -v uid="$2" 'NR > 1 && $1 != uid { exit 1 }'; }
fetch() { "${inside[@]}" curl -sS --max-time 5 "http://$(docker port "$run-relay" "$1" | head -n 1)$2"; }
# In a variable, not a pipe: grep -q hangs up early, and curl would call that a failure.
serves() { local text; text=$(fetch "$1" "$2") && printf '%s\n' "$text" && grep -q "$3" <<<"$text"; }
invite() { docker exec "$run-${1:-relay}" zerok-relay invite; }
relay_id() { local line; line=$(invite "${1:-relay}") && printf '%s\n' "${line%%@*}"; }
same_id() { [[ ${#1} == 64 ]] && is "$1" "$(relay_id "${2:-relay}")"; }
ends_in_order() { # NAME: SIGTERM, status 0, under 5 s
    local began=${EPOCHREALTIME/[.,]/} took
    docker stop -t 20 "$run-$1"
    took=$(((${EPOCHREALTIME/[.,]/} - began) / 1000))
    echo "status $(state "$1" '{{.State.ExitCode}}') after $took ms"
    [[ $(state "$1" '{{.State.ExitCode}}') == 0 ]] && ((took < 5000))
}

must 'the relay starts with a read-only root and no capabilities' start_relay
must 'the relay is healthy by its HEALTHCHECK' becomes_healthy relay
check 'no process of the relay is root' runs_as relay 10001
check 'metrics are reachable from the host' serves 8080 /metrics '^zerok_relay_'
check 'health is reachable from the host' serves 8080 /health '"status":"ok"'

# ---- two daemons

ctl() { docker exec -i "$run-$1" zerokctl "${@:2}"; }
add_relay() { invite | ctl "$1" relay add -; }
pair() { ctl anna pair --create --no-wait | ctl ben pair --join -; }
has_blob() { local got; got=$(ctl "$1" pull) && grep -qF "$2" <<<"$got"; }
blob_syncs() { ctl anna push "$1" && within 60 has_blob ben "$1"; }
put() { mkdir -p "$work/put" && printf '%s\n' "$3" >"$work/put/$2" && chmod 644 "$work/put/$2" && docker cp "$work/put/$2" "$run-$1:/sync/$2"; }
has_file() { [[ $(docker cp "$run-$1:/sync/$2" - 2>/dev/null | tar -xO 2>/dev/null) == "$3" ]]; }
share() { ctl anna folder add /sync --name notes; }
join() { within 20 ctl ben folder join notes /sync; }

for name in anna ben; do
    must "$name's daemon starts with a read-only root and no capabilities" start_daemon $name
    must "$name's daemon is healthy by its HEALTHCHECK" becomes_healthy $name
done
check 'no process of a daemon is root' runs_as anna 10001
must "an invite made in the relay's container brings anna's daemon to it" add_relay anna
must "ben's daemon joins anna's group" pair
check 'a blob syncs through the relay' blob_syncs 'hello from a container'
check 'anna shares a folder' share
check 'ben joins it' join
put anna first 'written on anna' >"$work/said" 2>&1
check 'a file syncs through the relay' within 30 has_file ben first 'written on anna'
check 'the relay counts it in its metrics' serves 8080 /metrics '^zerok_relay_[a-z_]*push[a-z_]*\({[^}]*}\)\? [1-9]'

# ---- its life

backs_up() { docker exec "$run-relay" zerok-relay backup - >"$work/backup" && [[ -s $work/backup ]]; }
restores() {
    docker volume create "$run-new"
    once -i -v "$run-new:/data" "$run-relay" restore - <"$work/backup"
    docker run -d --name "$run-new" "${hard[@]}" --network "$run" -v "$run-new:/data" "$run-relay"
    becomes_healthy new
    same_id "$1" new
}
check 'a backup is made while the relay runs' backs_up
before=$(relay_id 2>"$work/said") || true
check 'the backup makes the same relay of an empty volume' restores "$before"
check 'the relay ends in under 5 s with status 0 at SIGTERM, its devices connected' ends_in_order relay
docker rm "$run-relay" >"$work/said"
must 'a new container starts on the volume' start_relay
must 'it is healthy' becomes_healthy relay
check 'it has the same key' same_id "$before"
check 'the devices find it again and sync through it' blob_syncs 'hello from the same relay'
docker rm -fv "$run-relay" >"$work/said"

sed 's/^bind = "0.0.0.0:8080"/bind = "0.0.0.0:9090"/' contrib/docker/relay.docker.toml >"$work/relay.toml"
chmod 644 "$work/relay.toml"
must 'a configuration mounted over the built-in one is taken' start_relay -p 127.0.0.1::9090 -v "$work/relay.toml:/etc/0k-sync/relay.toml:ro"
check 'it takes effect: metrics are at the port that it names' within 20 serves 9090 /metrics '^zerok_relay_'
check 'HEALTHCHECK asks there, too' becomes_healthy relay
for name in anna ben; do
    check "$name's daemon ends in under 5 s with status 0 at SIGTERM" ends_in_order $name
done
docker rm -fv "$run-relay" >"$work/said"

# ---- as an operator starts it

compose=()
if docker compose version >/dev/null 2>&1; then compose=(docker compose); elif command -v docker-compose >/dev/null; then compose=(docker-compose); fi
as_operator() {
    ADVERTISE=203.0.113.7:4433 ZEROK_RELAY_IMAGE=$run-relay ZEROK_RELAY_PORT=0 ZEROK_RELAY_HTTP_PORT=0 \
        "${compose[@]}" -p "$run" -f contrib/docker/compose.yml -f "$work/often.yml" "$@"
}
# What it is called differs between versions of Compose.
composed() { docker rename "$(as_operator ps -q relay)" "$run-composed"; }
invites_to() { local line; line=$(as_operator exec -T relay zerok-relay invite) && [[ $line == *"@$1"* ]]; }
confined() { is 'true [ALL] [no-new-privileges:true]' "$(state composed '{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.HostConfig.SecurityOpt}}')"; }
wants_an_address() { ! "${compose[@]}" -p "$run" -f contrib/docker/compose.yml config -q 2>"$work/wants" && grep ADVERTISE "$work/wants"; }
if ((${#compose[@]})); then
    printf 'services:\n  relay:\n    healthcheck:\n      interval: 1s\n' >"$work/often.yml"
    check 'compose.yml asks for the address that devices reach' wants_an_address
    must 'compose.yml starts a relay' as_operator up -d --no-build
    must 'it can be found' composed
    check 'it is healthy' becomes_healthy composed
    check 'it is confined' confined
    check 'its invites carry the address that was given' invites_to 203.0.113.7:4433
    check 'it ends in under 5 s with status 0 at SIGTERM' ends_in_order composed
    check 'and is removed' as_operator down -v
else
    echo 'skipped: no Compose; compose.yml was not tried (Debian: docker-compose)'
fi

finish
