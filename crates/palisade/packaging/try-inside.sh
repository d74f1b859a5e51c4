#!/bin/bash
# What try.sh does once the system runs: the life of a service, from installing to purging.
set -eu
cd "$(mktemp -d)"

say() { echo "# $1"; }
fail() {
    echo "FAILED: $1"
    journalctl -u palisade -n 40 --no-pager -o cat
    exit 1
}
trap 'fail "line $LINENO"' ERR
is() { [ "$(systemctl show -P "$1" palisade)" = "$2" ] || fail "$1 is $(systemctl show -P "$1" palisade), not $2"; }
soon() { for _ in $(seq 120); do "$@" > /dev/null 2>&1 && return; sleep 0.5; done; fail "$*"; }
publish() { mosquitto_pub --cafile pump-7/ca.crt --cert pump-7/device.crt --key pump-7/device.key \
    -h localhost -p 8883 -i pump-7 -V 5 -q 1 -t main/pump/pump-7/telemetry/flow -m 1; }
service() { runuser -u palisade -- palisade --data /var/lib/palisade "$@"; }

say "install: an account and an empty folder, and nothing runs"
dpkg -i /root/palisade.deb
is ActiveState inactive
[ "$(systemctl is-enabled palisade || true)" = disabled ]
[ "$(stat -c '%U %a' /var/lib/palisade)" = "palisade 700" ]
systemd-analyze security --no-pager palisade | tail -n 1

say "wrong settings: one error and no second try"
echo 'nam = "x"' > /var/lib/palisade/palisade.toml
if systemctl start palisade; then fail "wrong settings start"; fi
is ActiveState failed
is ExecMainStatus 2
is NRestarts 0
rm /var/lib/palisade/palisade.toml
systemctl reset-failed palisade

say "start: ready when systemd says so, and no sign-in link in the journal"
systemctl start palisade
is ActiveState active
service device list
journalctl -u palisade -o cat | grep '"ready"'
if journalctl -u palisade -o cat | grep -q 'welcome#'; then fail "a sign-in link in the journal"; fi
service doctor
for pid in $(pgrep -u palisade); do
    grep -q '^CapEff:.*0000000000000000' "/proc/$pid/status"
    grep -q '^Seccomp:.*2' "/proc/$pid/status"
done
grep VmLck "/proc/$(pgrep -f 'palisade role custody')/status" | tee locked
if grep -q ' 0 kB' locked; then fail "custody may be swapped"; fi

say "a device enrols and publishes"
service device add pump-7 --kind pump --zone plant-a > claim
palisade enroll --server https://localhost:8443 --claim claim --out pump-7
publish

say "a role that is killed comes back under the same supervisor"
main=$(systemctl show -P MainPID palisade)
for role in custody control gateway; do
    old=$(pgrep -f "palisade role $role")
    kill -KILL "$old"
    came_back() { new=$(pgrep -f "palisade role $role") && [ "$new" != "$old" ] && publish; }
    soon came_back
done
is MainPID "$main"

say "a supervisor that is killed is started anew"
systemctl kill -s KILL --kill-who=main palisade
restarted() { [ "$(systemctl show -P NRestarts palisade)" = 1 ] && publish; }
soon restarted

say "an upgrade restarts what runs"
main=$(systemctl show -P MainPID palisade)
dpkg -i /root/palisade.deb
is ActiveState active
[ "$(systemctl show -P MainPID palisade)" != "$main" ]
publish

say "stop: in order, in time"
systemctl stop palisade
is Result success
is ExecMainStatus 0
if journalctl -u palisade -o cat | grep -E 'timed out|did not end in time'; then fail "it did not stop"; fi

say "remove and purge: the program goes, the data stays"
systemctl enable --now palisade
publish
dpkg -r palisade
if pgrep -u palisade; then fail "something still runs"; fi
dpkg -P palisade
[ -f /var/lib/palisade/master.key ]
[ -z "$(find /etc/systemd /usr/lib -name '*palisade*')" ]
dpkg -i /root/palisade.deb
systemctl start palisade
publish

say "all of it worked"
