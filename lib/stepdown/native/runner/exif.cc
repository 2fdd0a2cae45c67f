#include <cstring>

#include "image.h"

namespace runner {
namespace {

using Bytes = std::vector<uint8_t>;

// A part of a file; what lies outside of it reads as 0.
struct Span {
    const uint8_t *begin;
    size_t size;

    unsigned byte(size_t at) const { return at < size ? begin[at] : 0; }

    unsigned number(size_t at, int width, bool is_big) const {
        unsigned made = 0;
        for (int i = 0; i < width; ++i) made = made << 8 | byte(at + static_cast<size_t>(is_big ? i : width - 1 - i));
        return made;
    }

    bool begins(size_t at, const char *text, size_t count) const {
        return at + count <= size && std::memcmp(begin + at, text, count) == 0;
    }

    Span from(size_t at) const { return at < size ? Span{begin + at, size - at} : Span{begin, 0}; }
};

// The orientation in a TIFF directory; 1 where it names none.
int in_tiff(const Span &tiff) {
    const unsigned kOrientation = 0x0112;
    const bool is_big = tiff.begins(0, "MM", 2);
    if (!is_big && !tiff.begins(0, "II", 2)) return 1;
    const size_t directory = tiff.number(4, 4, is_big);
    const unsigned count = tiff.number(directory, 2, is_big);
    for (unsigned i = 0; i < count; ++i) {
        const size_t entry = directory + 2 + 12 * size_t(i);
        if (entry >= tiff.size) return 1;
        if (tiff.number(entry, 2, is_big) == kOrientation) {
            const unsigned value = tiff.number(entry + 8, 2, is_big);
            return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
        }
    }
    return 1;
}

int in_jpeg(const Span &file) {
    const unsigned kApp1 = 0xE1, kScan = 0xDA;
    for (size_t at = 2; file.byte(at) == 0xFF && file.byte(at + 1) != kScan;) {
        if (file.byte(at + 1) == kApp1 && file.begins(at + 4, "Exif\0\0", 6)) return in_tiff(file.from(at + 10));
        at += 2 + file.number(at + 2, 2, true);
    }
    return 1;
}

int in_png(const Span &file) {
    for (size_t at = 8; at + 8 < file.size; at += 12 + size_t(file.number(at, 4, true))) {
        if (file.begins(at + 4, "eXIf", 4)) return in_tiff(file.from(at + 8));
    }
    return 1;
}

}  // namespace

int exif_orientation(const Bytes &bytes) {
    const Span file{bytes.data(), bytes.size()};
    if (file.begins(0, "\xFF\xD8", 2)) return in_jpeg(file);
    if (file.begins(0, "\x89PNG", 4)) return in_png(file);
    return 1;
}

}  // namespace runner
