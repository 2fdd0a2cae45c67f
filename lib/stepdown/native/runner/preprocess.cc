#include "preprocess.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "errors.h"
#include "resize.h"

namespace runner {
namespace {

const double kImagenetMean[] = {0.485, 0.456, 0.406};
const double kImagenetStd[] = {0.229, 0.224, 0.225};

using Texts = std::vector<std::string>;

void check_choice(const std::string &value, const std::string &where, const Texts &choices) {
    if (std::find(choices.begin(), choices.end(), value) != choices.end()) return;
    std::string listed;
    for (const std::string &choice : choices) listed += (listed.empty() ? "" : ", ") + choice;
    throw input_error("'" + value + "' is none of " + listed, where);
}

void check_values(const std::vector<double> &values, long channels, const std::string &where) {
    if (static_cast<long>(values.size()) != channels) {
        throw input_error(std::to_string(values.size()) + " given for " + std::to_string(channels) + " channels", where,
                          "give one each");
    }
    for (const double value : values) {
        if (!std::isfinite(value)) throw input_error("a value is not finite", where);
    }
}

void check_layout(const Preprocess &p) {
    const size_t rank = p.input_shape.size();
    const std::string shape = "[" + shape_text(p.input_shape) + "]";
    if (rank != 4 || *std::min_element(p.input_shape.begin(), p.input_shape.end()) < 1) {
        throw input_error("an input of shape " + shape + " is not an image", "", "give its tensor in an .npz file");
    }
    if (p.channels() != (p.pixel_format == "gray" ? 1 : 3)) {
        throw input_error("the input " + shape + " has " + std::to_string(p.channels()) + " channels, " +
                              p.pixel_format + " has " + (p.pixel_format == "gray" ? "1" : "3"), "pixel_format");
    }
}

void check(const Preprocess &p) {
    check_choice(p.resize_method, "resize_method", kMethods);
    check_choice(p.keep_ratio_mode, "keep_ratio_mode", {"letterbox", "short_side_scale"});
    check_choice(p.pad_type, "pad_type", {"normal", "center"});
    check_choice(p.pixel_format, "pixel_format", {"rgb", "bgr", "gray"});
    check_choice(p.channel_format, "channel_format", {"nchw", "nhwc"});
    check_layout(p);
    check_values(p.mean, p.channels(), "mean");
    check_values(p.scale, p.channels(), "std");
    if (p.resize_dims.size() != 2) throw input_error("want h,w", "resize_dims");
    if (p.resize_dims[0] < p.height() || p.resize_dims[1] < p.width()) {
        throw input_error(shape_text(p.resize_dims, ",") + " is smaller than the input, " + std::to_string(p.height()) +
                              "," + std::to_string(p.width()), "resize_dims",
                          "the input is cropped from the resized image, so give at least its size");
    }
    if (!(p.pad_value >= 0 && p.pad_value <= 255)) {
        throw input_error("is not a pixel's value", "pad_value", "give 0..255");
    }
}

// What is empty gets its default.
void fill(Preprocess &p) {
    if (p.input_shape.size() != 4) check_layout(p);
    const auto channels = static_cast<size_t>(p.channels());
    if (p.resize_dims.empty()) p.resize_dims = {p.height(), p.width()};
    if (p.mean.empty()) p.mean.assign(channels, 0);
    if (p.scale.empty()) p.scale.assign(channels, 1);
}

std::vector<double> for_channels(const std::vector<double> &values, long channels) {
    return values.size() == 1 ? std::vector<double>(static_cast<size_t>(channels), values[0]) : values;
}

void set_imagenet(Preprocess &p) {
    if (p.channels() != 3) throw input_error("is for three channels", "--normalize", "give --mean and --std");
    for (size_t c = 0; c < 3; ++c) {
        const size_t colour = p.pixel_format == "bgr" ? 2 - c : c;
        p.mean[c] = kImagenetMean[colour] * 255;
        p.scale[c] = 1 / (kImagenetStd[colour] * 255);
    }
}

void set_mean_and_std(Preprocess &p, const Overrides &o) {
    if (!o.mean.empty()) p.mean = for_channels(o.mean, p.channels());
    for (double &value : p.mean) value *= o.mean.empty() ? 1 : 255 / o.range;
    if (o.std.empty()) return;
    p.scale = for_channels(o.std, p.channels());
    for (double &value : p.scale) value = o.range / (value * 255);
}

void set_geometry(Preprocess &p, const Overrides &o) {
    if (!o.resize_dims.empty()) p.resize_dims.assign(o.resize_dims.begin(), o.resize_dims.end());
    if (p.resize_dims.size() == 1) p.resize_dims.push_back(p.resize_dims[0]);
    const std::pair<std::string &, const std::string &> texts[] = {
        {p.resize_method, o.resize_method}, {p.keep_ratio_mode, o.keep_ratio_mode},
        {p.pad_type, o.pad_type}, {p.pixel_format, o.pixel_format},
    };
    for (const auto &text : texts) {
        if (!text.second.empty()) text.first = text.second;
    }
    if (o.keep_aspect_ratio >= 0) p.keep_aspect_ratio = o.keep_aspect_ratio > 0;
    if (o.pad_value >= 0) p.pad_value = o.pad_value;
}

// The size with the shape of a photo that fits into `box`, or covers it.
std::pair<long, long> fit(const Image &photo, const std::vector<long> &box, bool covers) {
    const bool is_wider = photo.width * box[0] >= photo.height * box[1];
    if (is_wider == covers) return {box[0], std::max(1L, photo.width * box[0] / photo.height)};
    return {std::max(1L, photo.height * box[1] / photo.width), box[1]};
}

Image picked(const Image &photo, const std::string &pixel_format) {
    if (pixel_format == "gray") return to_gray(photo);
    Image made = photo;
    if (pixel_format == "bgr") {
        for (size_t i = 0; i < made.bytes.size(); i += 3) std::swap(made.bytes[i], made.bytes[i + 2]);
    }
    return made;
}

Plane padded(const Plane &pixels, const Preprocess &p) {
    const long height = std::max(pixels.height, p.resize_dims[0]), width = std::max(pixels.width, p.resize_dims[1]);
    if (height == pixels.height && width == pixels.width) return pixels;
    const bool is_centred = p.pad_type == "center";
    const long top = is_centred ? (height - pixels.height) / 2 : 0, left = is_centred ? (width - pixels.width) / 2 : 0;
    Plane made{height, width, pixels.channels, {}};
    made.values.assign(static_cast<size_t>(height * width * pixels.channels), static_cast<float>(p.pad_value));
    for (long y = 0; y < pixels.height; ++y) {
        std::copy_n(pixels.at(y, 0), pixels.width * pixels.channels,
                    &made.values[static_cast<size_t>(((top + y) * width + left) * pixels.channels)]);
    }
    return made;
}

// Half of what is too much; half a pixel is rounded to even.
long margin(long have, long want) {
    const long twice = have - want;
    return twice / 2 + (twice % 2 == 1 && twice / 2 % 2 == 1);
}

}  // namespace

Preprocess Preprocess::from_json(const Json &attributes, const Shape &input_shape) {
    Preprocess made;
    made.input_shape = input_shape;
    const std::pair<const char *, std::string &> texts[] = {
        {"resize_method", made.resize_method}, {"keep_ratio_mode", made.keep_ratio_mode},
        {"pad_type", made.pad_type}, {"pixel_format", made.pixel_format}, {"channel_format", made.channel_format},
    };
    for (const auto &text : texts) {
        if (const Json *value = attributes.find(text.first)) text.second = value->text();
    }
    if (const Json *value = attributes.find("resize_dims")) made.resize_dims = value->integers();
    if (const Json *value = attributes.find("mean")) made.mean = value->numbers();
    if (const Json *value = attributes.find("scale")) made.scale = value->numbers();
    if (const Json *value = attributes.find("pad_value")) made.pad_value = value->number();
    if (const Json *value = attributes.find("keep_aspect_ratio")) made.keep_aspect_ratio = value->truth();
    if (made.is_image()) {
        fill(made);
        check(made);
    }
    return made;
}

Preprocess Preprocess::of_shape(const Shape &input_shape) {
    Preprocess made;
    made.input_shape = input_shape;
    if (input_shape.size() != 4) made.channel_format = "none";
    if (!made.is_image()) return made;
    const auto is_colours = [](long channels) { return channels == 1 || channels == 3; };
    if (!is_colours(input_shape[1])) made.channel_format = is_colours(input_shape[3]) ? "nhwc" : "none";
    if (!made.is_image()) return made;
    if (made.channels() == 1) made.pixel_format = "gray";
    fill(made);
    return made;
}

void Preprocess::override_by(const Overrides &overrides) {
    set_geometry(*this, overrides);
    check(*this);
    if (overrides.normalize) set_imagenet(*this);
    set_mean_and_std(*this, overrides);
    check(*this);
}

Array apply(const Preprocess &p, const Image &photo, Steps &steps) {
    std::pair<long, long> size{p.resize_dims[0], p.resize_dims[1]};
    if (p.keep_aspect_ratio) size = fit(photo, p.resize_dims, p.keep_ratio_mode == "short_side_scale");
    const Plane resized = resize(picked(photo, p.pixel_format), size.first, size.second, p.resize_method);
    const Plane pixels = padded(resized, p);
    steps = {photo.height, photo.width, resized.height, resized.width, pixels.height, pixels.width};
    const long top = margin(pixels.height, p.height()), left = margin(pixels.width, p.width());
    std::vector<float> values;
    for (long y = 0; y < p.height(); ++y) {
        for (long x = 0; x < p.width(); ++x) {
            for (long c = 0; c < p.channels(); ++c) {
                const auto channel = static_cast<size_t>(c);
                const float moved = pixels.at(top + y, left + x)[c] - static_cast<float>(p.mean[channel]);
                values.push_back(moved * static_cast<float>(p.scale[channel]));
            }
        }
    }
    Array made{"f4", {1, p.height(), p.width(), p.channels()}, std::vector<uint8_t>(values.size() * sizeof(float))};
    std::memcpy(made.bytes.data(), values.data(), made.bytes.size());
    return p.channel_format == "nchw" ? transposed(made, {0, 3, 1, 2}) : made;
}

}  // namespace runner
