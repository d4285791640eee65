#!/usr/bin/env bash
# Fetch Debian's Slurm and unpack it for the tests of the cluster: nothing is installed, no service is started. Gives up with a word where there is no apt.
set -euo pipefail
target="${FIGMENT_SLURM:-$HOME/.cache/figment-tests/slurm}"
[ -x "$target/usr/sbin/slurmctld-wlm" ] && exit 0
if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then
  echo "tests: no apt here, so the tests of the Slurm cluster are skipped" >&2
  exit 0
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
packages="slurmctld slurmd slurm-client slurm-wlm-basic-plugins munge libmunge2 libhwloc15"
if ! apt-get download $packages >/dev/null 2>&1; then
  { [ "$(id -u)" = 0 ] && apt-get update -qq && apt-get download $packages >/dev/null 2>&1; } || {
    echo "tests: Slurm's packages cannot be had, so the tests of the cluster are skipped" >&2
    exit 0
  }
fi
mkdir -p "$target"
for package in *.deb; do dpkg -x "$package" "$target"; done
echo "tests: Slurm unpacked for the tests of the cluster"
