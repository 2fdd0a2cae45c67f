// Resizing with the same bytes as Python's: the algorithms are told in data/resize.py and data/resize_u8.py.
#pragma once

#include <string>
#include <vector>

#include "image.h"

namespace runner {

// Real pixels in rows.
struct Plane {
    long height, width, channels;
    std::vector<float> values;

    const float *at(long y, long x) const { return &values[static_cast<size_t>((y * width + x) * channels)]; }
};

extern const std::vector<std::string> kMethods;

// Pixels resized by one of `kMethods`. Throws Error (input) where a side is too large.
Plane resize(const Image &pixels, long height, long width, const std::string &method);

// To the bytes that Pillow gives; `kernel` is "bilinear" or "bicubic".
Image resize_u8(const Image &pixels, long height, long width, const std::string &kernel);

}  // namespace runner
