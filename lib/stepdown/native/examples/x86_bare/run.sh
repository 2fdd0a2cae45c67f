#!/usr/bin/env bash
# Runs a bundle for x86-64 on a processor that this computer may not have, such as one with AVX-512 VNNI, in the
# emulator Bochs (Debian: apt-get install bochs-term; `bochs --help cpu` lists its processors).
#
#   tpuc-opt resnet8_int8.mlir --codegen="model_file=resnet8.o processor=cascadelake"
#   bash run.sh resnet8 [corei7_icelake_u]
#
# Reads resnet8.o, resnet8.h, resnet8.weights.txt and input.bin in the folder where it is started: the bytes of the
# inputs, once or several times. The outputs are printed as bytes and written to output.bin; of a debug build, all inner
# tensors too.
set -euo pipefail
network=$1
processor=${2:-corei7_icelake_u}
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")

# Bochs 2.7 does not scale short offsets of these two in their EVEX form, and so reads or writes at another address.
objdump -d "$network.o" > code.txt
if grep -qE '(vpextrw .*%xmm(1[6-9]|2.|3.),[^%]*\(|vpinsrb .*\(.*\),.*%xmm(1[6-9]|2.|3.))' code.txt; then
    echo "run.sh: error: $network.o has an instruction that Bochs 2.7 runs wrongly (vpextrw, vpinsrb with EVEX)" >&2
    exit 3
fi

"${CC:-gcc}" -O2 -std=gnu99 -ffreestanding -nostdlib -static -no-pie -fno-pie -mno-red-zone -fno-stack-protector \
    -fcf-protection=none -fno-tree-loop-distribute-patterns -fno-asynchronous-unwind-tables \
    -Wl,-z,noexecstack,-z,max-page-size=4096,--build-id=none -T "$here/x86_bare.ld" -I. \
    -DSD_NETWORK="$network" -DSD_UPPER="${network^^}" \
    "$here/../cortex_m/main.c" "$here/host.c" "$here/start.S" "$network.o" -o program.elf 2> link.log || {
    cat link.log >&2
    exit 1
}
objcopy -O binary --only-section .rom program.elf rom.bin
objcopy -O binary --only-section .text program.elf program.bin

# Debian's Bochs starts in its debugger, which is told to continue; it ends with 1 where a program ends it. Its display
# is a terminal of its own, for which it needs the name of some kind.
rm -f output.bin
TERM=vt100 bochs -q -f "$here/bochsrc.txt" "cpu: model=$processor, ips=50000000, reset_on_triple_fault=0" \
    <<< $'c\nq' > console.log 2>&1 || true
if ! grep -qx "done" console.log; then
    echo "run.sh: error: the program did not end in Bochs; console.log and bochs.log say why:" >&2
    tail -n 8 console.log >&2
    exit 1
fi
grep -aE '^[^ ]+( [0-9a-f]{2})+$' console.log
