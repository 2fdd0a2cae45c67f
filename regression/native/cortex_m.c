/* Runs a bundle once on a bare Cortex-M; files are the host's, by semihosting. */
#include <stdint.h>

int32_t RUN(void *weights, void *mutable_memory, void *activations);
extern uint32_t data_load, data_start, data_end, bss_start, bss_end, stack_top;

static unsigned char weights[WEIGHTS + 64] __attribute__((aligned(64)));
static unsigned char memory[MUTABLE + ACTIVATIONS + 64] __attribute__((aligned(64)));

static int host(int operation, const void *arguments) {
    register int r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = arguments;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static void transfer(const char *path, int mode, unsigned char *bytes, uint32_t count) {
    uint32_t length = 0;
    while (path[length]) length++;
    uint32_t opened[3] = {(uint32_t)path, (uint32_t)mode, length};
    uint32_t moved[3] = {(uint32_t)host(0x01, opened), (uint32_t)bytes, count};
    host(mode == 1 ? 0x06 : 0x05, moved);
    host(0x02, moved);
}

void reset(void) {
    *(volatile uint32_t *)0xE000ED88 |= 0xFu << 20; /* the floating-point unit */
    for (uint32_t *to = &data_start, *from = &data_load; to < &data_end;) *to++ = *from++;
    for (uint32_t *to = &bss_start; to < &bss_end;) *to++ = 0;
    transfer("weights.bin", 1, weights, WEIGHTS);
    transfer("memory.bin", 1, memory, MUTABLE);
    RUN(weights, memory, memory + MUTABLE);
    transfer("result.bin", 5, memory, MUTABLE + ACTIVATIONS);
    uint32_t done[2] = {0x20026, 0};
    host(0x18, (void *)0x20026);
    for (;;) host(0x20, done);
}

__attribute__((section(".vectors"), used)) static const void *const vectors[2] = {&stack_top, (void *)reset};

void *memcpy(void *to, const void *from, unsigned count) {
    unsigned char *t = to;
    const unsigned char *f = from;
    while (count--) *t++ = *f++;
    return to;
}

void *memset(void *to, int value, unsigned count) {
    unsigned char *t = to;
    while (count--) *t++ = (unsigned char)value;
    return to;
}
