#!/usr/bin/env bash
# The whole first way through, with a real mosquitto client: start, add a device, enrol it, publish,
# be denied and told why, be seen, be revoked and lose the live session, verify the record.
#
#     docs/first-ten-minutes.sh [path to palisade]
set -euo pipefail

palisade=$(realpath "${1:-target/release/palisade}")
folder=$(mktemp -d)
cd "$folder"
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
https=${HTTPS_PORT:-$(free_port)}
mqtt=${MQTT_PORT:-$(free_port)}
export PALISADE_DATA=$folder/data

up=""
finish() {
    status=$?
    [ -z "$up" ] || { kill "$up" 2>/dev/null || true; wait "$up" 2>/dev/null || true; }
    if [ $status -ne 0 ]; then echo "FAILED; the log:"; cat "$folder/up.log"; fi
    rm -rf "$folder"
    exit $status
}
trap finish EXIT

say() { printf '\n# %s\n' "$1"; }
run() { printf '$ %s\n' "$*" >&2; "$@"; }
fail() { echo "expected: $1" >&2; exit 1; }
wait_for() { # a sentence, then a command that is to succeed within 20 s
    local what=$1; shift
    for _ in $(seq 200); do "$@" >/dev/null 2>&1 && return; sleep 0.1; done
    fail "$what"
}

say "1. Start everything."
"$palisade" up --https-port "$https" --mqtt-port "$mqtt" > up.out 2> up.log &
up=$!
wait_for "palisade is ready" grep -q "is ready" up.out
cat up.out
server=https://localhost:$https

say "2. Add a device; it gets a claim that works once."
run "$palisade" device add pump-7 --kind pump --zone plant-a > pump-7.claim
grep -q '^palisade-claim-1\.' pump-7.claim || fail "a claim"

say "3. On the device: make a key, and come back with a certificate of its own."
run "$palisade" enroll --server "$server" --claim pump-7.claim --out pump-7
openssl verify -CAfile pump-7/ca.crt -untrusted pump-7/chain.pem pump-7/device.crt

say "The claim does not work for another key."
if "$palisade" enroll --server "$server" --claim pump-7.claim --out thief; then fail "a used claim is refused"; fi

say "An application of the site enrols the same way."
run "$palisade" device add historian --kind application --zone plant-a > historian.claim
run "$palisade" enroll --server "$server" --claim historian.claim --out historian

client() { # the options of an enrolled device
    echo -h localhost -p "$mqtt" --cafile "$1/ca.crt" --cert "$1/device.crt" --key "$1/device.key" -i "$1"
}

say "4. The application listens; the pump publishes what it may."
# shellcheck disable=SC2046 # options without spaces
timeout 60 mosquitto_sub $(client historian) -V 5 -q 1 -t 'main/+/+/telemetry/#' -v > heard.log 2>&1 &
listener=$!
connected() { "$palisade" device show "$1" --json | grep -q '"state": *"connected"'; }
wait_for "the application is connected" connected historian
# shellcheck disable=SC2046
run mosquitto_pub $(client pump-7) -V 5 -q 1 -t main/pump/pump-7/telemetry/flow -m 21.5
wait_for "the message arrived" grep -q 'main/pump/pump-7/telemetry/flow 21.5' heard.log
cat heard.log

say "5. It may not publish as another: denied, with a reason and a decision's id."
# shellcheck disable=SC2046
run mosquitto_pub $(client pump-7) -V 5 -q 1 -t main/pump/pump-8/telemetry/flow -m 99 2>&1 | tee denied.log
decision=$(grep -oE 'd-[0-9a-z]{16}' denied.log | head -1)
[ -n "$decision" ] || fail "a decision's id in the reason"
if grep -q pump-8 heard.log; then fail "the denied message did not arrive"; fi

say "Why, after it happened and before it happens."
known() { local status=0; "$palisade" why "$decision" || status=$?; [ $status -eq 3 ]; }
wait_for "the decision can be asked about" known
"$palisade" why "$decision" || true
run "$palisade" why pump-7 publish main/pump/pump-7/telemetry/flow
status=0; "$palisade" why pump-7 publish main/pump/pump-8/telemetry/flow || status=$?
[ $status -eq 3 ] || fail "why says deny with exit code 3"

say "6. See the fleet."
run "$palisade" device list
run "$palisade" device show pump-7

say "7. Revoke the application: its live session ends, and its next handshake is refused."
begun=$(date +%s%N)
run "$palisade" device revoke historian --reason "lost"
wait "$listener" || true
took=$(( ($(date +%s%N) - begun) / 1000000 ))
echo "the session ended after $took ms, the command's own start included"
[ "$took" -lt 1000 ] || fail "the session ends within a second"
# shellcheck disable=SC2046
if timeout 10 mosquitto_sub $(client historian) -V 5 -t 'main/+/+/telemetry/#' -C 1 2>&1; then
    fail "a revoked certificate is refused"
fi

say "8. Cut the pump off, and let it back in."
run "$palisade" device quarantine pump-7 --reason "it tried to speak as another"
# shellcheck disable=SC2046
if mosquitto_pub $(client pump-7) -V 5 -q 1 -t main/pump/pump-7/telemetry/flow -m 1 2>&1; then
    fail "a device that is cut off cannot connect"
fi
run "$palisade" device recover pump-7 --reason "checked, firmware was fine"
published() { # shellcheck disable=SC2046
    mosquitto_pub $(client pump-7) -V 5 -q 1 -t main/pump/pump-7/telemetry/flow -m 2; }
wait_for "the device can connect again" published

say "9. What happened."
run "$palisade" events

say "10. Take the record to another machine and verify it there, with nothing but the public key."
run "$palisade" ledger key | tee record.key
signed() { "$palisade" ledger checkpoint > checkpoint.note && [ -s checkpoint.note ]; }
wait_for "a checkpoint is signed" signed
kill -TERM "$up"; wait "$up" || true; up=""
cp -r data/control/ledger elsewhere
run "$palisade" ledger verify elsewhere --key record.key --witness checkpoint.note

say "A flipped byte is found and named."
segment=$(find elsewhere -name '*.seg*' -size +0 | sort | head -1)
[ -n "$segment" ] || segment=$(find elsewhere -type f -size +1k | sort | head -1)
python3 - "$segment" <<'PY'
import sys
path = sys.argv[1]
data = bytearray(open(path, "rb").read())
data[len(data) // 2] ^= 1
open(path, "wb").write(data)
PY
status=0; "$palisade" ledger verify elsewhere --key record.key || status=$?
[ $status -eq 6 ] || fail "a changed record does not verify (exit code 6, not $status)"

say "All of it worked."
