// Pictures of 8-bit pixels.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "arrays.h"

namespace runner {

const long kMaxSide = 16384;
const long kMaxPixels = 1 << 26;

// Pixels in rows, `channels` bytes each.
struct Image {
    long height, width, channels;
    std::vector<uint8_t> bytes;

    const uint8_t *at(long y, long x) const { return &bytes[static_cast<size_t>((y * width + x) * channels)]; }
    uint8_t *at(long y, long x) { return &bytes[static_cast<size_t>((y * width + x) * channels)]; }
};

// The RGB pixels of a photo (JPEG, PNG, TGA, BMP, PSD, GIF, HDR, PIC, PNM), upright as EXIF says; what is transparent
// is laid over white. Throws Error (input): no such file, no image, damaged, or too large.
Image load_image(const std::string &path);

// The pixels in an array u1[h, w, 3] or u1[h, w], which is gray.
bool holds_pixels(const Array &array);
Image image_of(const Array &array);

// Luma: (19595 R + 38470 G + 7471 B + 32768) >> 16, ITU-R BT.601 in 16-bit fixed point.
Image to_gray(const Image &rgb);

// How the pixels of a JPEG or PNG lie, as its EXIF block says: 1 (upright) to 8.
int exif_orientation(const std::vector<uint8_t> &file);

}  // namespace runner
