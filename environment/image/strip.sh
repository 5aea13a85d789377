#!/bin/sh
# Take out of shared libraries what only a debugger reads; leave a file that has none of
# it alone, so that a later layer of an image does not hold it a second time.
set -eu
stripped=$(mktemp)
for library in "$@"; do
    strip --strip-unneeded -o "$stripped" "$library" 2>/dev/null || continue
    if [ "$(stat -c %s "$stripped")" -lt "$(($(stat -c %s "$library") * 99 / 100))" ]; then
        cat "$stripped" >"$library"
    fi
done
rm "$stripped"
