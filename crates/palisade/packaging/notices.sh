#!/bin/sh
# Writes the licences of everything that is compiled into the program: each text once, with the
# crates that it stands in, then the crates that carry no text.
set -eu
cd "$(dirname "$0")/../../.."

sources=${CARGO_HOME:-$HOME/.cargo}/registry/src
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cargo tree --locked -p palisade --all-features -e normal --prefix none --format '{p}|{l}' |
    sed -n 's/^\([^ ]*\) v\([^ |]*\)[^|]*|\(.*\)$/\1-\2 \3/p' | sed 's/ (\*)$//' | sort -u |
while read -r crate licence; do
    folder=$(ls -d "$sources"/*/"$crate" 2> /dev/null | head -n 1)
    # What is not of a registry is ours.
    [ -n "$folder" ] || continue
    find "$folder" -maxdepth 1 -type f -size +0 |
        grep -Ei '/(un)?(licen[cs]e|copying|copyright|notice)[^/]*$' > "$work/files" || true
    [ -s "$work/files" ] || echo "$crate: $licence" >> "$work/bare"
    while read -r file; do
        text=$(sha256sum < "$file" | cut -c 1-64)
        cp "$file" "$work/$text.text"
        echo "$crate: $licence" >> "$work/$text.crates"
    done < "$work/files"
done

for crates in "$work"/*.crates; do
    echo "================================================================================"
    cat "$crates"
    echo
    cat "${crates%.crates}.text"
    echo
done
if [ -s "$work/bare" ]; then
    echo "================================================================================"
    echo "These name their licence and carry no text of it:"
    cat "$work/bare"
fi
echo "================================================================================"
echo "In the console:"
echo
cat console/dist/licenses.txt
