/* Runs a library three times and prints the most memory that the process has held, in bytes; as a C program would. */
#include <stdio.h>
#include <string.h>

#include "stepdown.h"

int main(void) {
    size_t count, kilobytes = 0;
    const sd_tensor *tensors = sd_tensors(&count);
    sd_model *model = sd_create();
    if (!model) return 1;
    for (int run = 0; run < 3; ++run) {
        for (size_t i = 0; i < count; ++i) {
            if (tensors[i].role == SD_INPUT) memset(sd_data(model, i), 1, tensors[i].bytes);
        }
        if (sd_run(model)) return 1;
    }
    sd_destroy(model);
    FILE *status = fopen("/proc/self/status", "r");
    if (!status) return 1;
    for (char line[256]; fgets(line, sizeof line, status);) sscanf(line, "VmHWM: %zu", &kilobytes);
    fclose(status);
    printf("%zu\n", kilobytes * 1024);
    return 0;
}
