#!/usr/bin/env bash
# Sets everything up and runs all checks: style and types, lit, command cases, documents, unit tests.
#
#   bash regression/run.sh                     everything
#   bash regression/run.sh --quick             without the slow tests
#   bash regression/run.sh -k 'npz and dump'   the tests whose names match
#   bash regression/run.sh --update-cases      rewrite the expected output of failing cases, then read the diff
#
# Any other option goes to pytest. The last line is pytest's; tests that were not run are listed above it.
set -euo pipefail

root=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")
cd "$root"

# One round-trip test reads our text with the real MLIR. Where mlir-opt cannot be had, that test is skipped and listed.
install_mlir_opt() {
    local package=mlir-19-tools tried=.cache/mlir-opt-tried
    [[ -z $(compgen -c mlir-opt) ]] && grep -rqs --include=*.mlir 'REQUIRES:.*mlir-opt' regression/lit || return 0
    [[ $(id -u) == 0 && ! -e $tried ]] && command -v apt-get >/dev/null || return 0
    mkdir -p .cache && touch "$tried"
    echo "run.sh: installing the Debian package $package (77 MB) for the round trip through mlir-opt" >&2
    export DEBIAN_FRONTEND=noninteractive
    { download "$package" || { timeout 120 apt-get -qq update && download "$package"; } &&
        apt-get -qq install -y --no-install-recommends "$package"; } &>/dev/null </dev/null || return 0
}

# Downloading may take too long and is cut off; installing what has been downloaded is left alone.
download() { timeout 300 apt-get -qq install -y --no-install-recommends --download-only "$1"; }

arguments=()
for argument in "$@"; do
    case $argument in
    -h | --help) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" && exit 0 ;;
    --quick) arguments+=(-m "not slow") ;;
    *) arguments+=("$argument") ;;
    esac
done

bash build.sh --test
install_mlir_opt
source envsetup.sh
workers=$(nproc)
exec pytest -n "$((workers < 4 ? workers : 4))" --dist worksteal "${arguments[@]}"
