/* The one place where stb_image's code is compiled; its JPEG arithmetic is replaced by libjpeg's (jpeg.h). */
#include "jpeg.h"

/* A macro with arguments renames stb's definitions, but not the places where it takes their addresses. */
#define stbi__idct_block(...) stb_idct_block(__VA_ARGS__)
#define stbi__YCbCr_to_RGB_row(...) stb_ycc_to_rgb(__VA_ARGS__)
#define stbi__resample_row_v_2(...) stb_resample_v(__VA_ARGS__)
#define stbi__resample_row_h_2(...) stb_resample_h(__VA_ARGS__)
#define stbi__resample_row_hv_2(...) stb_resample_hv(__VA_ARGS__)

#define STB_IMAGE_IMPLEMENTATION
#define STBI_NO_SIMD
#define STBI_NO_STDIO
#define STBI_MAX_DIMENSIONS 16384
#include "stb_image.h"
