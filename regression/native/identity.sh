#!/usr/bin/env bash
# Prints, for each way to compute and each network, how many bytes of integer tensors differ from the reference: all 0.
#
#   bash regression/native/identity.sh [--samples N] [--only TEXT]
#
# Emulated processors need Debian's qemu-user, gcc-aarch64-linux-gnu, gcc-riscv64-linux-gnu; rows without are left out.
set -euo pipefail
root=$(dirname "$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")")
source "$root/envsetup.sh"
PYTHONPATH="$root/lib:$root/regression/unit:$root/regression" exec python "$root/regression/native/identity.py" "$@"
