#!/usr/bin/env bash
# Sets everything up and runs all checks: style and types, lit, command cases, documents, unit tests.
#
#   bash regression/run.sh                     everything
#   bash regression/run.sh --quick             without the slow tests
#   bash regression/run.sh -k 'npz and dump'   the tests whose names match
#   bash regression/run.sh --update-cases      rewrite the expected output of failing cases, then read the diff
#
# Any other option goes to pytest. The last line is pytest's; tests that were not run are listed above it. Those of linking
# without a C compiler run after `bash build.sh --zig` (100 MB to download).
set -euo pipefail

root=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")
cd "$root"

# Debian's packages for checks that are skipped and listed where they cannot be had: the round trip of our text through
# the real MLIR (77 MB), the C++ runner, and code of other processors (about 200 MB): compilers and emulators. bochs-term
# is Bochs with its smallest display; `bochs` alone brings a graphical one.
wanted_packages() {
    [[ -n $(compgen -c mlir-opt) ]] || ! grep -rqs --include=*.mlir 'REQUIRES:.*mlir-opt' regression/lit || echo mlir-19-tools
    [[ -e /usr/include/stb/stb_image.h ]] || echo libstb-dev
    local program
    for program in cmake make g++; do command -v $program >/dev/null || echo $program; done
    [[ -d $(echo .venv/lib/python3*/site-packages/tvm) ]] || return 0
    command -v qemu-riscv64 >/dev/null || echo qemu-user
    command -v qemu-system-arm >/dev/null || echo qemu-system-arm
    command -v bochs >/dev/null || [[ $(uname -m) != x86_64 ]] || echo bochs-term
    command -v aarch64-linux-gnu-gcc >/dev/null || echo gcc-aarch64-linux-gnu libc6-dev-arm64-cross
    command -v riscv64-linux-gnu-gcc >/dev/null || echo gcc-riscv64-linux-gnu libc6-dev-riscv64-cross
    command -v arm-none-eabi-gcc >/dev/null || echo gcc-arm-none-eabi libnewlib-arm-none-eabi
}

install_packages() {
    [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null || return 0
    export DEBIAN_FRONTEND=noninteractive
    local package
    for package in $(wanted_packages); do
        [[ ! -e .cache/$package-tried ]] || continue
        mkdir -p .cache && touch ".cache/$package-tried"
        echo "run.sh: installing the Debian package $package" >&2
        { download "$package" || { timeout 120 apt-get -qq update && download "$package"; } &&
            apt-get -qq install -y --no-install-recommends "$package"; } &>/dev/null </dev/null || continue
    done
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

bash build.sh --test --native
install_packages
source envsetup.sh
workers=$(nproc)
exec pytest -n "$((workers < 4 ? workers : 4))" --dist loadgroup --no-loadscope-reorder "${arguments[@]}"
