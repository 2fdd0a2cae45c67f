#!/usr/bin/env bash
# Prints, for each way to compute and each network, how many bytes of all tensors differ from the reference's: all 0.
#
#   bash regression/native/identity.sh [--inputs 100] [--emulated 5] [--only TEXT] [--networks NAME,…] [--save FILE.json]
#
# Other processors are emulated by Debian's qemu-user and qemu-system-arm, with gcc-aarch64-linux-gnu,
# gcc-riscv64-linux-gnu and gcc-arm-none-eabi, and newer x86-64 by bochs; what is not installed is left out by name.
set -euo pipefail
root=$(dirname "$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")")
source "$root/envsetup.sh"
PYTHONPATH="$root/lib:$root/regression/unit:$root/regression" exec python "$root/regression/native/identity.py" "$@"
