#!/bin/sh
# Chromium of the Debian package and a font, for the tests that look at reports in a browser. Needs root.
set -eu
[ "$(id -u)" = 0 ] || { echo "run as root: sudo sh $0" >&2; exit 1; }
command -v apt-get >/dev/null || { echo "needs apt-get; install Chromium by the package manager of this system" >&2; exit 1; }
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core
chromium --version
