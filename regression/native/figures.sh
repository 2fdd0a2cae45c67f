#!/usr/bin/env bash
# Prints the figures by which code for CPUs is judged beside their limits, but for times of networks, which are those of
# regression/bench/native.py: memory, sizes, time of code generation, bundles for a microcontroller, the C++ runner.
#
#   bash regression/native/figures.sh [--only memory,sizes,generation,bundles,photo] [--models DIR] [--work DIR]
set -euo pipefail
root=$(dirname "$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")")
source "$root/envsetup.sh"
PYTHONPATH="$root/lib:$root/regression/unit:$root/regression" exec python "$root/regression/native/figures.py" "$@"
