#!/bin/sh
# Makes the Debian package with its manual pages, completions and notices, in target/debian.
# Arguments are for `cargo build`, such as `--features tpm`; `--no-build` takes the program as it is.
# Needs cargo, a C compiler, dpkg-dev and `cargo install cargo-deb --locked`.
set -eu
cd "$(dirname "$0")/../../.."

[ "${1-}" = --no-build ] || cargo build --locked --release -p palisade "$@"
release=${CARGO_TARGET_DIR:-target}/release
made=$release/package
rm -rf "$made"
mkdir -p "$made/man"

# A clean environment: the program refuses settings that it does not know.
palisade="env -i $release/palisade"
$palisade man "$made/man" 2> /dev/null
gzip -9n "$made"/man/*.1
for shell in bash zsh fish; do
    $palisade completions $shell > "$made/palisade.$shell"
done
crates/palisade/packaging/notices.sh | gzip -9n > "$made/NOTICES.gz"

gzip -9nc CHANGELOG.md > "$made/changelog.gz"
version=$($palisade version | cut -d ' ' -f 2)
date=$(date -R ${SOURCE_DATE_EPOCH:+-d @$SOURCE_DATE_EPOCH})
gzip -9n > "$made/changelog.Debian.gz" <<END
palisade ($version-1) unstable; urgency=medium

  * What changed is in changelog.gz.

 -- Palisade contributors <palisade@localhost>  $date
END

exec cargo deb --locked -p palisade --no-build --strip
