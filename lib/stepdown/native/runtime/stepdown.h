/* The C interface of a compiled network.
 *
 *     sd_model *model = sd_create();
 *     memcpy(sd_data(model, input), image, tensors[input].bytes);
 *     sd_run(model);
 *     read(sd_data(model, output));
 *     sd_destroy(model);
 *
 * A model may be used by one thread at a time; several models of one library share their weights.
 */
#ifndef STEPDOWN_H
#define STEPDOWN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define SD_API __attribute__((visibility("default")))
#else
#define SD_API
#endif

typedef struct sd_model sd_model;

typedef enum { SD_INPUT, SD_OUTPUT, SD_INNER } sd_role;

typedef struct {
    const char *name;
    const char *type;     /* i8, u8, i32, f16, bf16, f32, ... */
    sd_role role;
    int rank;
    const int64_t *shape; /* as the elements lie */
    double scale;         /* real value = (stored - zero_point) * scale; 0 where it is not quantised */
    int zero_point;
    size_t bytes;
} sd_tensor;

/* All tensors that can be read: inputs, outputs, and in a debug build all the others. */
SD_API const sd_tensor *sd_tensors(size_t *count);

/* Names a feature that the code needs and this processor lacks, such as avx512vnni; NULL where it has all. */
SD_API const char *sd_missing(void);

/* Takes the memory that a model needs, all at once; NULL where there is none, or where sd_missing names a feature. It
   runs on the thread that calls. */
SD_API sd_model *sd_create(void);

/* The same, and starts threads, the caller's being one of as many: they share the work of each run, and end in
   sd_destroy. 0: as many as there are processors. The results have the same bytes. NULL also where a thread does not
   start. A process that a fork has made runs its parent's models on one thread. */
SD_API sd_model *sd_create_threads(int threads);

/* Returns the memory of a tensor, valid until sd_destroy. */
SD_API void *sd_data(sd_model *model, size_t tensor);

/* Runs the network once; 0 on success. Allocates nothing. */
SD_API int sd_run(sd_model *model);

SD_API void sd_destroy(sd_model *model);

/* What the network is, as JSON. */
SD_API extern const char stepdown_metadata[];

#ifdef __cplusplus
}
#endif
#endif
