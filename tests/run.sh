#!/bin/bash
# Everything that Covey's tests need, the build, and all tests. Exit status 0 only if all passed.
#
#   tests/run.sh                    all
#   tests/run.sh -L unit            what follows goes to ctest: here the unit tests alone
#
# Tests that make network namespaces need root: run it as root, or through sudo.
set -euo pipefail
export LC_ALL=C

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
jobs=$(nproc)
# shellcheck source-path=SCRIPTDIR source=../provisioning/lab.sh
. "$root/provisioning/lab.sh"

step() {
    echo "==> $*"
}

# build PRESET TARGET...
build() {
    step "Building the preset $1"
    cmake --preset "$1" -DBUILD_TESTING=ON >"$root/build/$1.log" 2>&1 || {
        cat "$root/build/$1.log"
        return 1
    }
    cmake --build --preset "$1" --parallel "$jobs"
}

# run PRESET ARGUMENT...: ctest; remembers that something failed.
failed=()
run() {
    local preset=$1
    shift
    step "Testing the preset $preset"
    ctest --preset "$preset" --output-on-failure --parallel "$jobs" "$@" || failed+=("$preset")
}

cd "$root"
if ((EUID != 0)); then
    command -v sudo >/dev/null || {
        echo "tests/run.sh: tests make network namespaces and need root: run it as root" >&2
        exit 1
    }
    step "The tests need root: sudo may ask for your password"
    exec sudo -- "$here/run.sh" "$@"
fi
step "Packages that are needed"
provisioning/packages.sh build test
tests/smartbiz/playwright.sh || step "smartbiz.ui will fail: its browser cannot be driven (see above)"
lab_possible || {
    echo "tests/run.sh: the tests in network namespaces cannot run here, so this run has failed" >&2
    exit 1
}
mkdir -p build
began=$SECONDS
build release
build asan
run release "$@"
# What has no limits in time runs again under AddressSanitizer and UBSan.
run asan -L 'unit|sim|fuzz|wire' "$@"
if ((${#failed[@]} > 0)); then
    step "FAILED: ${failed[*]} (see above), after $((SECONDS - began)) s"
    exit 1
fi
step "All tests passed, after $((SECONDS - began)) s"
