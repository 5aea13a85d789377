#!/bin/sh
# Install into /opt/casa what a lock pins, or wheels: a step of the image's build.
# Where a network has a certificate authority of its own, the secret `ca` is its file.
set -eu
export UV_LINK_MODE=copy UV_NO_PROGRESS=1 UV_PYTHON=/opt/casa/bin/python
uv=/opt/tools/bin/uv
[ ! -s /run/ca.pem ] || export SSL_CERT_FILE=/run/ca.pem

case $1 in
*.whl)
    $uv pip install --quiet --offline --no-cache --no-deps --compile-bytecode "$@"
    exit
    ;;
esac
[ -d /opt/casa ] || $uv venv --quiet --no-python-downloads --python /usr/bin/python3 /opt/casa
# No builds: what a source distribution is built with is in no lock.
$uv pip sync --quiet --require-hashes --no-build "$1"

# What nothing reads when it runs: the packages' own tests, sources of what is compiled or
# minified, symbols for debuggers, second copies. What is left is tested, in the image:
# everything that the lists name is imported, and all unit tests pass.
packages=$($UV_PYTHON -P -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
find "$packages" -type d -name tests -prune -exec rm -r {} +
find "$packages" /opt/casa/share -type f \
    \( -name '*.c' -o -name '*.cpp' -o -name '*.pyx' -o -name '*.js.map' -o -name '*.css.map' \) -delete
/build/apt.sh binutils
find "$packages" -type f -name '*.so*' -size +64k -print0 | xargs -0 -P 0 -n 64 /build/strip.sh
apt-get purge -qq --auto-remove binutils >/dev/null
hardlink --quiet --content --minimum-size 16k "$packages" /opt/casa/share
rm -rf /var/log/* /var/cache/debconf/*-old

# Here and once: a read-only image cannot do it later, and every start would be slow.
$UV_PYTHON -P -m compileall -q -j 0 "$packages"
