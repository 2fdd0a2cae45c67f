/* What main needs of a computer, on a bare x86 in the emulator Bochs: the files of semihosting.h, and what is called
 * before main. The input is part of the program; all output goes to the parallel port, which Bochs writes to a file.
 */
#include <stddef.h>
#include <stdint.h>

#include "../cortex_m/semihosting.h"

enum { PRINTER = 0x378, CONSOLE = 0xE9, SHUTDOWN = 0x8900 };

extern const uint8_t input_begin[], input_end[];
extern uint8_t bss_begin[], bss_end[];
int main(void);

static const uint8_t *next;

static void out(uint16_t port, uint8_t byte) { __asm__ volatile("outb %0, %1" : : "a"(byte), "Nd"(port)); }

void *memcpy(void *to, const void *from, size_t count) {
    void *made = to;
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
    return made;
}

void *memset(void *to, int value, size_t count) {
    void *made = to;
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(count) : "a"(value) : "memory");
    return made;
}

void host_print(const char *text) {
    while (*text) out(CONSOLE, (uint8_t)*text++);
}

int host_open(const char *path, int for_writing) {
    (void)path;
    next = input_begin;
    return for_writing;
}

int host_read(int file, void *bytes, size_t count) {
    (void)file;
    if ((size_t)(input_end - next) < count) return 0;
    memcpy(bytes, next, count);
    next += count;
    return 1;
}

int host_write(int file, const void *bytes, size_t count) {
    (void)file;
    for (size_t i = 0; i < count; ++i) {
        out(PRINTER, ((const uint8_t *)bytes)[i]);
        out(PRINTER + 2, 0x0D); /* strobe */
        out(PRINTER + 2, 0x0C);
    }
    return 1;
}

int host_close(int file) {
    (void)file;
    return 0;
}

void host_exit(int status) {
    host_print(status ? "failed\n" : "done\n");
    for (const char *word = "Shutdown"; *word; ++word) out(SHUTDOWN, (uint8_t)*word);
}

/* Where start.S goes: an exception without a table of handlers resets the processor, at which Bochs stops. */
__attribute__((used)) void start(void) {
    memset(bss_begin, 0, (size_t)(bss_end - bss_begin));
    host_exit(main());
    for (;;) {
    }
}
