/* The C interface around the code of one network; the build gives the network's own part as network.inc. */
#include "stepdown.h"

#include <stdlib.h>
#include <string.h>

#include "processor.h"
#include "threads.h"

#include "network.inc"

#define ALIGNMENT 64
#define SCRATCH_STRIDE (SD_SCRATCH_BYTES + 4096) /* processors fetch ahead, but not beyond a page */

struct sd_model {
    void *block;
    unsigned char *memory[2]; /* mutable, activations */
    unsigned char *scratch;   /* of each thread, one after the other */
    sd_team *team;            /* NULL: of one thread */
};

static void work(void *context, int thread, int32_t step, int32_t part, int32_t parts) {
    sd_model *model = context;
    SD_STEP((void *)sd_weights, model->memory[0], model->memory[1],
            model->scratch + (size_t)thread * SCRATCH_STRIDE, step, part, parts);
}

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
    return sd_create_threads(1);
}

sd_model *sd_create_threads(int threads) {
    if (threads <= 0) threads = sd_processors();
    if (sd_missing()) return NULL;
    sd_model *model = calloc(1, sizeof *model);
    if (!model) return NULL;
    const size_t scratch = (size_t)threads * SCRATCH_STRIDE;
    model->block = calloc(1, SD_MUTABLE_BYTES + SD_ACTIVATIONS_BYTES + scratch + ALIGNMENT);
    uintptr_t start = ((uintptr_t)model->block + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    model->memory[0] = (unsigned char *)start;
    model->memory[1] = model->memory[0] + SD_MUTABLE_BYTES;
    model->scratch = model->memory[1] + SD_ACTIVATIONS_BYTES;
    if (model->block && threads > 1) model->team = sd_team_create(threads, steps, SD_STEPS, work, model);
    if (model->block && (model->team || threads == 1)) return model;
    sd_destroy(model);
    return NULL;
}

void *sd_data(sd_model *model, size_t tensor) {
    return model->memory[places[tensor].memory] + places[tensor].offset;
}

int sd_run(sd_model *model) {
    if (model->team) {
        sd_team_run(model->team);
        return 0;
    }
    for (int32_t step = 0; step < SD_STEPS; ++step) work(model, 0, step, 0, 1);
    return 0;
}

void sd_destroy(sd_model *model) {
    if (!model) return;
    sd_team_destroy(model->team);
    free(model->block);
    free(model);
}
