#!/usr/bin/env bash
# See that the browser tests can run: install Debian's chromium where that needs nobody's leave (root, apt-get), else say that they will skip.
set -euo pipefail

for name in chromium chromium-browser google-chrome; do
  if command -v "$name" >/dev/null; then exit 0; fi
done
if compgen -G "${PLAYWRIGHT_BROWSERS_PATH:-$HOME/.cache/ms-playwright}/chromium*" >/dev/null; then exit 0; fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "tests: installing chromium for the browser tests"
  if apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null; then exit 0; fi
fi
echo "tests: no chromium here, so the browser tests will be skipped; install it with your package manager or 'playwright install chromium'" >&2
