#include "resize.h"

#include <algorithm>
#include <cmath>

#include "errors.h"

namespace runner {

const std::vector<std::string> kMethods = {"bilinear", "bicubic", "bilinear_u8", "bicubic_u8"};

namespace {

const double kOne = 32768;

// The weights of one output sample: those of the source samples from `first` on.
struct Taps {
    int64_t first;
    std::vector<float> weights;
};

int64_t floor_division(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }

int64_t kernel(int64_t p, int64_t s, bool is_cubic) {
    if (!is_cubic) return std::max<int64_t>(s - p, 0);
    if (p < s) return 3 * p * p * p - 5 * p * p * s + 2 * s * s * s;
    if (p < 2 * s) return -(p * p * p) + 5 * p * p * s - 8 * p * s * s + 4 * s * s * s;
    return 0;
}

// Weights are multiples of 2^-15 whose sum is 1: differences of rounded partial sums.
Taps taps(int64_t i, int64_t n, int64_t m, bool is_cubic) {
    const int64_t s = 2 * std::max(n, m), centre = (2 * i + 1) * n, reach = (is_cubic ? 2 : 1) * s;
    const int64_t begin = floor_division(centre - reach - m, 2 * m) + 1;
    const int64_t first = std::max<int64_t>(begin, 0), end = std::min(n, begin - floor_division(-reach, m));
    std::vector<int64_t> sums;
    int64_t sum = 0;
    for (int64_t j = first; j < end; ++j) {
        sums.push_back(sum += kernel(std::abs((2 * j + 1) * m - centre), s, is_cubic));
    }
    Taps made{first, {}};
    double before = 0;
    for (const int64_t partial : sums) {
        const double step = std::floor(static_cast<double>(partial) / static_cast<double>(sum) * kOne + 0.5);
        made.weights.push_back(static_cast<float>((step - before) / kOne));
        before = step;
    }
    return made;
}

// One pass down the rows.
Plane resample(const Plane &lines, long count, bool is_cubic) {
    if (lines.height == count) return lines;
    const auto line = static_cast<size_t>(lines.width * lines.channels);
    Plane made{count, lines.width, lines.channels, std::vector<float>(static_cast<size_t>(count) * line, 0.0f)};
    for (long i = 0; i < count; ++i) {
        const Taps found = taps(i, lines.height, count, is_cubic);
        float *total = &made.values[static_cast<size_t>(i) * line];
        for (size_t k = 0; k < found.weights.size(); ++k) {
            const float weight = found.weights[k];
            const float *source = &lines.values[(static_cast<size_t>(found.first) + k) * line];
            for (size_t x = 0; x < line; ++x) total[x] += weight * source[x];
        }
    }
    return made;
}

Plane turned(const Plane &plane) {
    Plane made{plane.width, plane.height, plane.channels, {}};
    made.values.reserve(plane.values.size());
    for (long x = 0; x < plane.width; ++x) {
        for (long y = 0; y < plane.height; ++y) {
            made.values.insert(made.values.end(), plane.at(y, x), plane.at(y, x) + plane.channels);
        }
    }
    return made;
}

Plane real(const Image &image) {
    return Plane{image.height, image.width, image.channels, std::vector<float>(image.bytes.begin(), image.bytes.end())};
}

bool fits(long side) { return side > 0 && side <= kMaxSide; }

}  // namespace

Plane resize(const Image &pixels, long height, long width, const std::string &method) {
    if (!fits(pixels.height) || !fits(pixels.width) || !fits(height) || !fits(width)) {
        throw input_error("cannot resize " + std::to_string(pixels.height) + "x" + std::to_string(pixels.width) +
                              " to " + std::to_string(height) + "x" + std::to_string(width) + " pixels", "",
                          "sides go from 1 to " + std::to_string(kMaxSide));
    }
    const size_t suffix = method.find("_u8");
    if (suffix != std::string::npos) return real(resize_u8(pixels, height, width, method.substr(0, suffix)));
    const bool is_cubic = method == "bicubic";
    Plane made = turned(resample(turned(resample(real(pixels), height, is_cubic)), width, is_cubic));
    for (float &value : made.values) value = std::min(std::max(value, 0.0f), 255.0f);
    return made;
}

}  // namespace runner
