/* Runs a bundle on a bare Cortex-M: no system, no C library. Files of the computer are reached by semihosting.
 *
 *     tpuc-opt resnet8_int8.mlir --codegen="model_file=resnet8.o chip=cortex_m7"
 *     arm-none-eabi-gcc -mcpu=cortex-m7 -mthumb -mfloat-abi=hard -mfpu=fpv5-d16 -O2 -ffreestanding -nostdlib \
 *         -fno-tree-loop-distribute-patterns -Wl,-z,noexecstack -T mps2_an500.ld -I. \
 *         -DSD_NETWORK=resnet8 -DSD_UPPER=RESNET8 main.c startup.c semihosting.c resnet8.o -o resnet8.elf
 *     qemu-system-arm -M mps2-an500 -nographic -semihosting -kernel resnet8.elf
 *
 * It reads input.bin in the folder where it is started: the bytes of the inputs, once or several times. The outputs are
 * printed as bytes and written to output.bin; of a debug build, all inner tensors too.
 */
#include <stddef.h>

#include "../bundle.h"
#include "semihosting.h"

static const uint8_t weights[] ALIGNED = { /* stays in flash */
#include WEIGHTS
};
static uint8_t memory[OF(_MUTABLE_MEM_SIZE) + OF(_ACTIVATIONS_MEM_SIZE)] ALIGNED;

enum role { input, output, inner };
struct tensor {
    const char *name;
    enum role role;
    size_t offset, bytes;
};
#define ROW(name, role, type, offset, bytes) {name, role, offset, bytes},
static const struct tensor tensors[] = {OF(_TENSORS)(ROW)};
enum { COUNT = sizeof tensors / sizeof *tensors };

static int read_inputs(int file) {
    for (size_t i = 0; i < COUNT; ++i) {
        const struct tensor *t = &tensors[i];
        if (t->role == input && !host_read(file, memory + t->offset, t->bytes)) return 0;
    }
    return 1;
}

static void print(const struct tensor *t) {
    host_print(t->name);
    for (size_t i = 0; i < t->bytes; ++i) {
        static const char digits[] = "0123456789abcdef";
        uint8_t byte = memory[t->offset + i];
        char text[] = {' ', digits[byte >> 4], digits[byte & 15], 0};
        host_print(text);
    }
    host_print("\n");
}

int main(void) {
    int given = host_open("input.bin", 0), made = host_open("output.bin", 1);
    if (given < 0 || made < 0) return 2;
    while (read_inputs(given)) {
        SD_NETWORK(weights, memory, memory + OF(_MUTABLE_MEM_SIZE));
        for (size_t i = 0; i < COUNT; ++i) {
            if (tensors[i].role == output) print(&tensors[i]);
            if (tensors[i].role == input) continue;
            if (!host_write(made, memory + tensors[i].offset, tensors[i].bytes)) return 1;
        }
    }
    return host_close(made);
}
