/* Files and text of the computer that a debugger or an emulator runs on: Arm's semihosting calls. */
#ifndef SEMIHOSTING_H
#define SEMIHOSTING_H

#include <stddef.h>

void host_print(const char *text);
int host_open(const char *path, int for_writing); /* negative where it fails */
int host_read(int file, void *bytes, size_t count); /* 1 where all were read */
int host_write(int file, const void *bytes, size_t count);
int host_close(int file);
void host_exit(int status);

#endif
