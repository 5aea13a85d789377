#!/bin/sh
# Install Debian packages and leave nothing behind: a step of the image's build.
# `apt.sh LIST` takes a list with a reason behind each name; `apt.sh NAME...` takes names.
set -eu
if [ -f "$1" ]; then
    set -- $(grep -o '^[a-z0-9.+-]*' "$1")
fi
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends "$@" >/dev/null
rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/*
