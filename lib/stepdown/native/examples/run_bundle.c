/* Runs a bundle on a computer, in plain C99:
 *
 *     tpuc-opt resnet8_int8.mlir --codegen="model_file=resnet8.o chip=x86_64"
 *     gcc -std=c99 -I. -DSD_NETWORK=resnet8 -DSD_UPPER=RESNET8 run_bundle.c resnet8.o -o run_resnet8
 *     ./run_resnet8 input.bin output.bin
 *
 * input.bin holds the bytes of the inputs, one after the other, once or several times; the network runs once for each.
 * The outputs are printed, and their bytes are written to output.bin; of a debug build, those of all inner tensors too.
 */
#include <stdio.h>
#include <string.h>

#include "bundle.h"

static const uint8_t weights[] ALIGNED = {
#include WEIGHTS
};
static uint8_t memory[OF(_MUTABLE_MEM_SIZE) + OF(_ACTIVATIONS_MEM_SIZE)] ALIGNED;

/* One row for each tensor of the header's list. */
enum role { input, output, inner };
struct tensor {
    const char *name;
    const char *type;
    enum role role;
    size_t offset, bytes;
};
#define ROW(name, role, type, offset, bytes) {name, #type, role, offset, bytes},
static const struct tensor tensors[] = {OF(_TENSORS)(ROW)};
enum { COUNT = sizeof tensors / sizeof *tensors };

static int read_inputs(FILE *file) {
    for (size_t i = 0; i < COUNT; ++i) {
        const struct tensor *t = &tensors[i];
        if (t->role == input && fread(memory + t->offset, 1, t->bytes, file) != t->bytes) return 0;
    }
    return 1;
}

static void print(const struct tensor *t) {
    const uint8_t *bytes = memory + t->offset;
    printf("%s:", t->name);
    for (size_t i = 0; i < t->bytes; ++i) {
        float real;
        if (!strcmp(t->type, "i8")) {
            printf(" %d", (int8_t)bytes[i]);
        } else if (strcmp(t->type, "f32")) {
            printf(" %u", bytes[i]);
        } else if (i % sizeof real == 0) {
            memcpy(&real, bytes + i, sizeof real);
            printf(" %g", real);
        }
    }
    printf("\n");
}

int main(int count, char **paths) {
    if (count != 3) {
        fprintf(stderr, "usage: %s INPUT.bin OUTPUT.bin\n", paths[0]);
        return 2;
    }
    FILE *given = fopen(paths[1], "rb"), *made = fopen(paths[2], "wb");
    if (!given || !made) {
        fprintf(stderr, "cannot open %s\n", given ? paths[2] : paths[1]);
        return 2;
    }
    while (read_inputs(given)) {
        SD_NETWORK(weights, memory, memory + OF(_MUTABLE_MEM_SIZE));
        for (size_t i = 0; i < COUNT; ++i) {
            if (tensors[i].role == output) print(&tensors[i]);
            if (tensors[i].role == input) continue;
            if (fwrite(memory + tensors[i].offset, 1, tensors[i].bytes, made) != tensors[i].bytes) return 1;
        }
    }
    fclose(given);
    return fclose(made) ? 1 : 0;
}
