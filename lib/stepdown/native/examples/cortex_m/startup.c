/* What happens before main on a Cortex-M, and the two functions of the C library that compilers call. */
#include <stddef.h>
#include <stdint.h>

#include "semihosting.h"

extern uint32_t stack_top, data_start, data_end, data_load, bss_start, bss_end;
int main(void);

#define COPROCESSOR_ACCESS (*(volatile uint32_t *)0xE000ED88)

void *memcpy(void *to, const void *from, size_t count) {
    for (size_t i = 0; i < count; ++i) ((uint8_t *)to)[i] = ((const uint8_t *)from)[i];
    return to;
}

void *memset(void *to, int value, size_t count) {
    for (size_t i = 0; i < count; ++i) ((uint8_t *)to)[i] = (uint8_t)value;
    return to;
}

static void reset(void) {
    COPROCESSOR_ACCESS |= 0xFu << 20; /* the floating-point unit */
    __asm__ volatile("dsb\n isb");
    for (uint32_t *to = &data_start, *from = &data_load; to < &data_end;) *to++ = *from++;
    for (uint32_t *to = &bss_start; to < &bss_end;) *to++ = 0;
    host_exit(main());
    for (;;) {
    }
}

static void fault(void) {
    host_print("fault\n");
    host_exit(1);
    for (;;) {
    }
}

/* The stack, then the handlers of exceptions 1 to 6. */
__attribute__((section(".vectors"), used)) static const void *const vectors[] = {
    &stack_top, (const void *)reset, (const void *)fault, (const void *)fault,
    (const void *)fault, (const void *)fault, (const void *)fault,
};
