#include "image.h"

#include <cstring>
#include <memory>

#include "errors.h"
#include "npz.h"
#include "stb_image.h"

namespace runner {
namespace {

const char kKinds[] = "give a JPEG, PNG, BMP, TGA, GIF, PSD, HDR, PIC or PNM picture, or an .npz file";

// (c·a + 255·(255 − a) + 127) / 255, rounded down.
uint8_t over_white(unsigned colour, unsigned alpha) {
    return static_cast<uint8_t>((colour * alpha + 255 * (255 - alpha) + 127) / 255);
}

// RGB of pixels with alpha.
Image to_rgb(const uint8_t *pixels, long height, long width, bool is_opaque) {
    Image made{height, width, 3, std::vector<uint8_t>(static_cast<size_t>(height * width * 3))};
    for (size_t i = 0; i < made.bytes.size(); ++i) {
        const uint8_t *pixel = pixels + i / 3 * 4;
        made.bytes[i] = is_opaque ? pixel[i % 3] : over_white(pixel[i % 3], pixel[3]);
    }
    return made;
}

// The fourth byte of 32-bit BMP pixels without masks means nothing, though stb takes it for alpha.
bool has_idle_alpha(const std::vector<uint8_t> &file) {
    return file.size() > 34 && std::memcmp(file.data(), "BM", 2) == 0 && file[28] == 32 && file[30] == 0;
}

Image upright(const Image &image, int orientation) {
    if (orientation == 1) return image;
    const bool is_turned = orientation >= 5;
    const long height = image.height, width = image.width;
    Image made{is_turned ? width : height, is_turned ? height : width, 3, std::vector<uint8_t>(image.bytes.size())};
    for (long y = 0; y < made.height; ++y) {
        for (long x = 0; x < made.width; ++x) {
            const long down = is_turned ? x : y, right = is_turned ? y : x;
            const bool mirrors_rows = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
            const bool mirrors_columns = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
            const uint8_t *from = image.at(mirrors_rows ? height - 1 - down : down,
                                           mirrors_columns ? width - 1 - right : right);
            std::memcpy(made.at(y, x), from, 3);
        }
    }
    return made;
}

void check_size(long width, long height, const std::string &path) {
    if (width * height > kMaxPixels || width > kMaxSide || height > kMaxSide) {
        throw input_error("an image of " + std::to_string(width) + "x" + std::to_string(height) +
                              " pixels is too large", path,
                          "at most " + std::to_string(kMaxPixels) + " pixels, " + std::to_string(kMaxSide) + " a side");
    }
}

}  // namespace

Image load_image(const std::string &path) {
    const std::vector<uint8_t> file = read_file(path);
    const int size = static_cast<int>(file.size());
    int width = 0, height = 0, channels = 0;
    if (file.size() > 0x7FFFFFFF || !stbi_info_from_memory(file.data(), size, &width, &height, &channels)) {
        const std::string why = stbi_failure_reason() ? stbi_failure_reason() : "unknown";
        if (why == "too large") throw input_error("too large an image", path);
        throw input_error("not an image (" + why + ")", path, kKinds);
    }
    check_size(width, height, path);
    const std::unique_ptr<uint8_t, void (*)(void *)> pixels(
        stbi_load_from_memory(file.data(), size, &width, &height, &channels, 4), stbi_image_free);
    if (!pixels) throw input_error(std::string("broken image (") + stbi_failure_reason() + ")", path);
    return upright(to_rgb(pixels.get(), height, width, has_idle_alpha(file)), exif_orientation(file));
}

bool holds_pixels(const Array &array) {
    const size_t rank = array.shape.size();
    return array.type == "u1" && !array.bytes.empty() && (rank == 2 || (rank == 3 && array.shape[2] == 3));
}

Image image_of(const Array &array) {
    const long height = array.shape[0], width = array.shape[1];
    check_size(width, height, "the npz file");
    Image made{height, width, 3, array.bytes};
    if (array.shape.size() == 3) return made;
    made.bytes.resize(array.bytes.size() * 3);
    for (size_t i = 0; i < made.bytes.size(); ++i) made.bytes[i] = array.bytes[i / 3];
    return made;
}

Image to_gray(const Image &rgb) {
    Image made{rgb.height, rgb.width, 1, std::vector<uint8_t>(rgb.bytes.size() / 3)};
    for (size_t i = 0; i < made.bytes.size(); ++i) {
        const uint8_t *pixel = &rgb.bytes[3 * i];
        made.bytes[i] = static_cast<uint8_t>((pixel[0] * 19595u + pixel[1] * 38470u + pixel[2] * 7471u + 32768u) >> 16);
    }
    return made;
}

}  // namespace runner
