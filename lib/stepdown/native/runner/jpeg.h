/* The arithmetic with which libjpeg and libjpeg-turbo decode a JPEG by default, so that pixels have the same bytes.
 *
 * Each function takes the place of one of stb_image's, under its name and with its arguments. Sources: the
 * Independent JPEG Group's jidctint.c (the "slow" integer transform), jdsample.c ("fancy" upsampling) and jdcolor.c.
 */
#ifndef STEPDOWN_RUNNER_JPEG_H
#define STEPDOWN_RUNNER_JPEG_H

typedef unsigned char jpeg_byte;

static jpeg_byte jpeg_limited(int value) { return (jpeg_byte)(value < 0 ? 0 : value > 255 ? 255 : value); }

/* One line of eight of the inverse transform, results scaled by 2^13 and rounded to `shift` places fewer.
 *
 * Factors have 13 fractional bits: Loeffler, Ligtenberg and Moschytz's algorithm with 12 multiplications. */
static void jpeg_transform(const int *in, int *out, int step, int shift) {
    const int half = 1 << (shift - 1);
    int even[4], odd[4];
    {
        const int z1 = (in[2 * step] + in[6 * step]) * 4433;
        const int low = z1 - in[6 * step] * 15137, high = z1 + in[2 * step] * 6270;
        const int sum = (in[0] + in[4 * step]) * 8192, difference = (in[0] - in[4 * step]) * 8192;
        even[0] = sum + high;
        even[1] = difference + low;
        even[2] = difference - low;
        even[3] = sum - high;
    }
    {
        const int a = in[7 * step], b = in[5 * step], c = in[3 * step], d = in[step];
        const int z5 = (a + c + b + d) * 9633;
        const int z1 = (a + d) * -7373, z2 = (b + c) * -20995;
        const int z3 = (a + c) * -16069 + z5, z4 = (b + d) * -3196 + z5;
        odd[3] = a * 2446 + z1 + z3;
        odd[2] = b * 16819 + z2 + z4;
        odd[1] = c * 25172 + z2 + z3;
        odd[0] = d * 12299 + z1 + z4;
    }
    for (int i = 0; i < 4; ++i) {
        out[i * step] = (even[i] + odd[i] + half) >> shift;
        out[(7 - i) * step] = (even[i] - odd[i] + half) >> shift;
    }
}

static void stbi__idct_block(jpeg_byte *out, int out_stride, short data[64]) {
    int given[64], columns[64], rows[64];
    for (int i = 0; i < 64; ++i) given[i] = data[i];
    for (int x = 0; x < 8; ++x) jpeg_transform(given + x, columns + x, 8, 11);
    for (int y = 0; y < 8; ++y) {
        jpeg_transform(columns + 8 * y, rows + 8 * y, 1, 18);
        for (int x = 0; x < 8; ++x) out[y * out_stride + x] = jpeg_limited(rows[8 * y + x] + 128);
    }
}

/* ITU-R BT.601 in 16-bit fixed point. */
static void stbi__YCbCr_to_RGB_row(jpeg_byte *out, const jpeg_byte *y, const jpeg_byte *pcb, const jpeg_byte *pcr,
                                   int count, int step) {
    for (int i = 0; i < count; ++i, out += step) {
        const int cb = pcb[i] - 128, cr = pcr[i] - 128;
        out[0] = jpeg_limited(y[i] + ((91881 * cr + 32768) >> 16));
        out[1] = jpeg_limited(y[i] + ((-22554 * cb - 46802 * cr + 32768) >> 16));
        out[2] = jpeg_limited(y[i] + ((116130 * cb + 32768) >> 16));
        if (step == 4) out[3] = 255;
    }
}

/* Three quarters of the nearer sample and one of the other; halves go up below and to the right, else down. */
static jpeg_byte *stbi__resample_row_v_2(jpeg_byte *out, jpeg_byte *in_near, jpeg_byte *in_far, int w, int hs) {
    const int bias = in_near < in_far ? 2 : 1; /* the next line lies behind */
    (void)hs;
    for (int i = 0; i < w; ++i) out[i] = (jpeg_byte)((3 * in_near[i] + in_far[i] + bias) >> 2);
    return out;
}

static jpeg_byte *jpeg_doubled(jpeg_byte *out, const jpeg_byte *in, int w) {
    for (int i = 0; i < 2 * w; ++i) out[i] = in[i / 2];
    return out;
}

static jpeg_byte *stbi__resample_row_h_2(jpeg_byte *out, jpeg_byte *in_near, jpeg_byte *in_far, int w, int hs) {
    (void)in_far, (void)hs;
    if (w <= 2) return jpeg_doubled(out, in_near, w);
    for (int i = 0; i < w; ++i) {
        const int before = in_near[i ? i - 1 : 0], after = in_near[i + 1 < w ? i + 1 : i];
        out[2 * i] = (jpeg_byte)((3 * in_near[i] + before + 1) >> 2);
        out[2 * i + 1] = (jpeg_byte)((3 * in_near[i] + after + 2) >> 2);
    }
    return out;
}

static jpeg_byte *stbi__resample_row_hv_2(jpeg_byte *out, jpeg_byte *in_near, jpeg_byte *in_far, int w, int hs) {
    (void)hs;
    if (w <= 2) return jpeg_doubled(out, in_near, w);
    for (int i = 0; i < w; ++i) {
        const int left = i ? i - 1 : 0, right = i + 1 < w ? i + 1 : i;
        const int here = 3 * in_near[i] + in_far[i];
        out[2 * i] = (jpeg_byte)((3 * here + 3 * in_near[left] + in_far[left] + 8) >> 4);
        out[2 * i + 1] = (jpeg_byte)((3 * here + 3 * in_near[right] + in_far[right] + 7) >> 4);
    }
    return out;
}

#endif
