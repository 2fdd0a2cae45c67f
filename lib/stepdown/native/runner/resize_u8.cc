#include <algorithm>
#include <cmath>

#include "resize.h"

namespace runner {
namespace {

const int kFraction = 22;

struct Taps {
    int64_t first;
    std::vector<int32_t> weights;
};

// Keys' cubic of a = -1/2, its terms rounded in the order in which Pillow has them.
double kernel(double x, bool is_cubic) {
    if (!is_cubic) return std::max(1.0 - x, 0.0);
    if (x < 1.0) return (1.5 * x - 2.5) * x * x + 1.0;
    if (x < 2.0) return (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5;
    return 0.0;
}

Taps taps(int64_t i, int64_t n, int64_t m, bool is_cubic) {
    const double scale = static_cast<double>(n) / static_cast<double>(m), stretch = std::max(scale, 1.0);
    const double centre = (static_cast<double>(i) + 0.5) * scale, reach = (is_cubic ? 2.0 : 1.0) * stretch;
    Taps made{std::max<int64_t>(static_cast<int64_t>(centre - reach + 0.5), 0), {}};
    const int64_t end = std::min(static_cast<int64_t>(centre + reach + 0.5), n);
    std::vector<double> values;
    double sum = 0;
    for (int64_t j = made.first; j < end; ++j) {
        values.push_back(kernel(std::fabs(static_cast<double>(j) - centre + 0.5) * (1.0 / stretch), is_cubic));
        sum += values.back();
    }
    for (const double value : values) {
        const double weight = value / sum;
        made.weights.push_back(static_cast<int32_t>(weight * (1 << kFraction) + std::copysign(0.5, weight)));
    }
    return made;
}

uint8_t rounded(int32_t total) { return static_cast<uint8_t>(std::clamp(total >> kFraction, 0, 255)); }

Image rows(const Image &lines, long count, bool is_cubic) {
    if (lines.height == count) return lines;
    const auto line = static_cast<size_t>(lines.width * lines.channels);
    Image made{count, lines.width, lines.channels, std::vector<uint8_t>(static_cast<size_t>(count) * line)};
    std::vector<int32_t> total(line);
    for (long i = 0; i < count; ++i) {
        const Taps found = taps(i, lines.height, count, is_cubic);
        std::fill(total.begin(), total.end(), 1 << (kFraction - 1));
        for (size_t k = 0; k < found.weights.size(); ++k) {
            const uint8_t *source = &lines.bytes[(static_cast<size_t>(found.first) + k) * line];
            for (size_t x = 0; x < line; ++x) total[x] += found.weights[k] * source[x];
        }
        std::transform(total.begin(), total.end(), &made.bytes[static_cast<size_t>(i) * line], rounded);
    }
    return made;
}

Image turned(const Image &image) {
    Image made{image.width, image.height, image.channels, {}};
    made.bytes.reserve(image.bytes.size());
    for (long x = 0; x < image.width; ++x) {
        for (long y = 0; y < image.height; ++y) {
            made.bytes.insert(made.bytes.end(), image.at(y, x), image.at(y, x) + image.channels);
        }
    }
    return made;
}

Image columns(const Image &image, long count, bool is_cubic) {
    return image.width == count ? image : turned(rows(turned(image), count, is_cubic));
}

}  // namespace

Image resize_u8(const Image &pixels, long height, long width, const std::string &kernel) {
    const bool is_cubic = kernel == "bicubic";
    const bool rows_first = pixels.height > height && pixels.height - height > 2 * (pixels.width - width);
    if (rows_first) return columns(rows(pixels, height, is_cubic), width, is_cubic);
    return rows(columns(pixels, width, is_cubic), height, is_cubic);
}

}  // namespace runner
