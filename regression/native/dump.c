/* Runs a bundle once: dump WEIGHTS MEMORY RESULT reads weights and inputs, writes all memory.
 * Built with -DRUN=name_run -DWEIGHTS=bytes -DMUTABLE=bytes -DACTIVATIONS=bytes. */
#include <stdint.h>
#include <stdio.h>

int32_t RUN(void *weights, void *mutable_memory, void *activations);

static unsigned char weights[WEIGHTS + 64] __attribute__((aligned(64)));
static unsigned char memory[MUTABLE + ACTIVATIONS + 64] __attribute__((aligned(64)));

static int transfer(const char *path, const char *mode, unsigned char *bytes, size_t count) {
    FILE *file = fopen(path, mode);
    if (!file) return 1;
    size_t done = *mode == 'r' ? fread(bytes, 1, count, file) : fwrite(bytes, 1, count, file);
    return fclose(file) || done != count;
}

int main(int count, char **paths) {
    if (count != 4) return 2;
    if (transfer(paths[1], "rb", weights, WEIGHTS) || transfer(paths[2], "rb", memory, MUTABLE)) return 3;
    RUN(weights, memory, memory + MUTABLE);
    return transfer(paths[3], "wb", memory, MUTABLE + ACTIVATIONS);
}
