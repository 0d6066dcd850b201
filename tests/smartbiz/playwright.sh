#!/bin/bash
# Installs what drives the browser in tests/smartbiz/ui.mjs: Playwright and axe from npm, in the versions of
# package-lock.json, beside it in node_modules. The browser is Debian's chromium; npm fetches none.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# npm writes what it has installed to this file.
if [[ node_modules/.package-lock.json -nt package-lock.json ]]; then
    exit 0
fi
# Node.js trusts its own list of authorities unless it is told to trust Debian's.
authorities=/etc/ssl/certs/ca-certificates.crt
[[ ! -e $authorities ]] || export NODE_EXTRA_CA_CERTS=${NODE_EXTRA_CA_CERTS:-$authorities}
echo "Installing Playwright from npm"
if ! npm ci --ignore-scripts --no-audit --no-fund --loglevel=error; then
    echo "playwright.sh: npm ci failed (see above): is there a network? Node.js 18 or newer is needed" >&2
    exit 1
fi
touch node_modules/.package-lock.json
