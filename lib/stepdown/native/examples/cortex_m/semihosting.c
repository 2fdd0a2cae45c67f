/* The calls of "Semihosting for AArch32 and AArch64", Arm 100863: a number in r0, its arguments' address in r1. */
#include "semihosting.h"

#include <stdint.h>

enum { SYS_OPEN = 1, SYS_CLOSE = 2, SYS_WRITE0 = 4, SYS_WRITE = 5, SYS_READ = 6, SYS_EXIT = 0x18 };
enum { READ_BINARY = 1, WRITE_BINARY = 5 };
enum { APPLICATION_EXIT = 0x20026, RUN_TIME_ERROR = 0x20023 };

static int call(int number, const void *arguments) {
    register int r0 __asm__("r0") = number;
    register const void *r1 __asm__("r1") = arguments;
    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

void host_print(const char *text) { call(SYS_WRITE0, text); }

int host_open(const char *path, int for_writing) {
    size_t length = 0;
    while (path[length]) ++length;
    uintptr_t arguments[] = {(uintptr_t)path, for_writing ? WRITE_BINARY : READ_BINARY, length};
    return call(SYS_OPEN, arguments);
}

int host_read(int file, void *bytes, size_t count) {
    uintptr_t arguments[] = {(uintptr_t)file, (uintptr_t)bytes, count};
    return call(SYS_READ, arguments) == 0;
}

int host_write(int file, const void *bytes, size_t count) {
    uintptr_t arguments[] = {(uintptr_t)file, (uintptr_t)bytes, count};
    return call(SYS_WRITE, arguments) == 0;
}

int host_close(int file) {
    uintptr_t arguments[] = {(uintptr_t)file};
    return call(SYS_CLOSE, arguments);
}

void host_exit(int status) { call(SYS_EXIT, (const void *)(uintptr_t)(status ? RUN_TIME_ERROR : APPLICATION_EXIT)); }
