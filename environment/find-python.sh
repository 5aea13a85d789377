#!/bin/sh
# Print the path of a Python that the locks support, or one line that says what is missing:
# the one that PYTHON names, else the one that .venv was made with, else one on PATH.
supported='import sys
if (3, 11) <= sys.version_info[:2] <= (3, 13): print(sys.executable)'

if [ -n "$PYTHON" ]; then
    found=$("$PYTHON" -I -c "$supported" 2>/dev/null)
    if [ -z "$found" ]; then
        printf 'casa: PYTHON=%s is not a Python 3.11, 3.12 or 3.13: name another, or leave it out\n' "$PYTHON" >&2
        exit 1
    fi
    printf '%s\n' "$found"
    exit 0
fi
found=$("${0%/*}/../.venv/bin/python" -I -c 'import sys; print(sys._base_executable)' 2>/dev/null)
for name in "$found" python3 python3.13 python3.12 python3.11; do
    found=$("$name" -I -c "$supported" 2>/dev/null)
    if [ -n "$found" ]; then
        printf '%s\n' "$found"
        exit 0
    fi
done
if command -v uv >/dev/null 2>&1 && found=$(uv python find '>=3.11,<3.14' 2>/dev/null); then
    printf '%s\n' "$found"
    exit 0
fi
echo 'casa: no Python 3.11, 3.12 or 3.13 found: install one, or name it: make run PYTHON=/path/to/python3.13' >&2
exit 1
