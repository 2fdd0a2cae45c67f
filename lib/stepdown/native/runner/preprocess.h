// What turns a photo into a network's input; the order of work is told in data/preprocess.py.
#pragma once

#include <string>
#include <vector>

#include "arrays.h"
#include "image.h"
#include "json.h"

namespace runner {

// What a user says otherwise than the library; what is empty, or negative, is left as it is.
struct Overrides {
    bool normalize = false;  // by the mean and deviation of ImageNet
    std::vector<double> mean, std;
    double range = 1;  // of the pixel values that `mean` and `std` are of
    std::vector<double> resize_dims;
    std::string resize_method, keep_ratio_mode, pad_type, pixel_format;
    int keep_aspect_ratio = -1;
    double pad_value = -1;

    bool says_how() const { return normalize || !mean.empty() || !std.empty(); }
};

struct Preprocess {
    Shape input_shape;
    std::vector<long> resize_dims;  // h, w
    std::string resize_method = "bilinear";
    bool keep_aspect_ratio = false;
    std::string keep_ratio_mode = "letterbox";
    double pad_value = 0;
    std::string pad_type = "center";
    std::vector<double> mean, scale;  // one a channel, in the order of `pixel_format`
    std::string pixel_format = "rgb";
    std::string channel_format = "nchw";

    // Both throw Error (input) for what cannot be.
    static Preprocess from_json(const Json &attributes, const Shape &input_shape);
    // Of a library that does not say: pixels as they are, in the layout that the shape tells.
    static Preprocess of_shape(const Shape &input_shape);

    bool is_image() const { return channel_format != "none"; }
    long channels() const { return input_shape[channel_format == "nchw" ? 1 : 3]; }
    long height() const { return input_shape[channel_format == "nchw" ? 2 : 1]; }
    long width() const { return input_shape[channel_format == "nchw" ? 3 : 2]; }

    // Throws Error (input) where the result cannot be.
    void override_by(const Overrides &overrides);
};

// What has been done to a photo.
struct Steps {
    long original_height, original_width, resized_height, resized_width, padded_height, padded_width;
};

// The input f4[1, ...] made of RGB pixels. Throws Error (input) where the photo is too elongated.
Array apply(const Preprocess &preprocess, const Image &photo, Steps &steps);

}  // namespace runner
