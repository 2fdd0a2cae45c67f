/* The C interface around the code of one network; the build gives the network's own part as network.inc. */
#include "stepdown.h"

#include <stdlib.h>
#include <string.h>

#include "processor.h"

#include "network.inc"

#define ALIGNMENT 64

struct sd_model {
    void *block;
    unsigned char *memory[2]; /* mutable, activations */
};

const sd_tensor *sd_tensors(size_t *count) {
    *count = SD_TENSORS;
    return tensors;
}

const char *sd_missing(void) {
    for (const struct need *n = needs; n->name; ++n) {
        if (!has(n)) return n->name;
    }
    return NULL;
}

sd_model *sd_create(void) {
    if (sd_missing()) return NULL;
    sd_model *model = malloc(sizeof *model);
    if (!model) return NULL;
    model->block = calloc(1, SD_MUTABLE_BYTES + SD_ACTIVATIONS_BYTES + ALIGNMENT);
    if (!model->block) {
        free(model);
        return NULL;
    }
    uintptr_t start = ((uintptr_t)model->block + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    model->memory[0] = (unsigned char *)start;
    model->memory[1] = model->memory[0] + SD_MUTABLE_BYTES;
    return model;
}

void *sd_data(sd_model *model, size_t tensor) {
    return model->memory[places[tensor].memory] + places[tensor].offset;
}

int sd_run(sd_model *model) {
    SD_RUN((void *)sd_weights, model->memory[0], model->memory[1]);
    return 0;
}

void sd_destroy(sd_model *model) {
    if (!model) return;
    free(model->block);
    free(model);
}
