#include "model.h"

#include <dlfcn.h>
#include <sys/stat.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "errors.h"
#include "floats.h"

namespace runner {
namespace {

const char kNoLibrary[] = "is no library of a network for this processor";

Quantised quantised_of(const Json &params) {
    Quantised made;
    if (params.is_null() || params.at("scale").kind() != Json::kNumber) return made;
    made.scale = static_cast<float>(params.at("scale").number());
    made.zero_point = static_cast<int>(params.at("zero_point").number());
    made.type = params.at("type").text();
    return made;
}

Tensor tensor_of(const Json &described, size_t index) {
    Tensor made;
    made.index = index;
    made.name = described.at("name").text();
    made.role = described.at("role").text();
    made.type = described.at("type").text();
    made.shape = described.at("shape").integers();
    made.order = described.at("order").integers();
    made.layout_order = described.at("layout_order").integers();
    made.quantised = quantised_of(described.at("params"));
    const Json *view_of = described.at("info").find("view_of");
    if (view_of && !view_of->is_null()) made.view_of = view_of->text();
    return made;
}

std::vector<long> inverse(const std::vector<long> &order) {
    std::vector<long> made(order.size());
    for (size_t i = 0; i < order.size(); ++i) made[static_cast<size_t>(order[i])] = static_cast<long>(i);
    return made;
}

// saturate(round_half_even(x / scale) + zero_point), the division in float; NaN becomes the zero point.
Array quantise(const Array &array, const Quantised &params) {
    const double kHuge = 1e9;
    std::vector<double> values = values_of(array);
    for (double &value : values) {
        const double scaled = std::nearbyint(static_cast<float>(value) / params.scale);
        value = (std::isnan(scaled) ? 0 : std::clamp(scaled, -kHuge, kHuge)) + params.zero_point;
        const int bits = std::stoi(params.type.substr(1));
        const double least = params.type[0] == 'u' ? 0 : -std::ldexp(1, bits - 1);
        value = std::clamp(value, least, least + std::ldexp(1, bits) - 1);
    }
    return array_of(values, numpy_type(params.type), array.shape);
}

std::vector<uint8_t> bf16_bytes(const Array &array) {
    std::vector<uint8_t> made(array.size() * 2);
    for (size_t i = 0; i < array.size(); ++i) {
        float value;
        std::memcpy(&value, &array.bytes[4 * i], sizeof value);
        const uint16_t bits = bf16_bits(value);
        std::memcpy(&made[2 * i], &bits, sizeof bits);
    }
    return made;
}

Array from_bf16(const uint8_t *bytes, const Shape &shape) {
    Array made{"f4", shape, std::vector<uint8_t>(elements(shape) * 4)};
    for (size_t i = 0; i < made.size(); ++i) {
        uint16_t bits;
        std::memcpy(&bits, bytes + 2 * i, sizeof bits);
        const float value = bf16_value(bits);
        std::memcpy(&made.bytes[4 * i], &value, sizeof value);
    }
    return made;
}

void check_file(const std::string &path) {
    struct stat about;
    if (stat(path.c_str(), &about) != 0) throw input_error("no such file", path, "give a library that --codegen made");
    if (S_ISDIR(about.st_mode)) throw input_error("is a directory", path, "give a library that --codegen made");
}

}  // namespace

Model::Model(const std::string &path, int threads) : path_(path) {
    check_file(path);
    library_ = dlopen((path.find('/') == std::string::npos ? "./" + path : path).c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!library_) throw input_error(std::string(kNoLibrary) + " (" + dlerror() + ")", path);
    find(sd_tensors_, "sd_tensors");
    find(sd_missing_, "sd_missing");
    find(sd_create_, "sd_create");
    find(sd_data_, "sd_data");
    find(sd_run_, "sd_run");
    find(sd_destroy_, "sd_destroy");
    const char *text = nullptr;
    find(text, "stepdown_metadata");
    metadata_ = Json::parse(text, path);
    if (const char *missing = sd_missing_()) {
        throw input_error("is code for " + metadata_.at("processor").text() + ", and this processor has no " + missing,
                          path, "name this one (or an older one) by processor=... of --codegen");
    }
    describe();
    create(threads);
}

Model::~Model() {
    if (model_) sd_destroy_(model_);
    if (library_) dlclose(library_);
}

void Model::create(int threads) {
    if (threads == 1) {
        model_ = sd_create_();
    } else {
        decltype(&sd_create_threads) create_threads = nullptr;
        find(create_threads, "sd_create_threads");
        model_ = create_threads(threads);
    }
    if (model_) return;
    const std::string what = threads == 1 ? "memory" : "memory, or not so many threads,";
    throw Error(kResources, path_ + ": has no " + what + " to run in");
}

template <class Function>
void Model::find(Function &function, const char *name) {
    void *found = dlsym(library_, name);
    if (!found) throw input_error(std::string(kNoLibrary) + " (it has no " + name + ")", path_);
    std::memcpy(&function, &found, sizeof found);
}

void Model::describe() {
    size_t count = 0;
    const sd_tensor *table = sd_tensors_(&count);
    const std::vector<Json> &described = metadata_.at("tensors").items();
    if (described.size() != count) throw input_error("its metadata names other tensors than its table", path_);
    for (size_t i = 0; i < count; ++i) {
        tensors_.push_back(tensor_of(described[i], i));
        const Tensor &made = tensors_.back();
        const size_t width = made.type == "bf16" ? 2 : Array{numpy_type(made.type), {}, {}}.width();
        const bool fits = made.order.size() == made.shape.size() && elements(made.shape) * width == table[i].bytes;
        if (made.name != table[i].name || !fits) throw input_error("its metadata contradicts its table", path_);
    }
    for (const auto &member : metadata_.at("inputs").members()) {
        const Tensor *tensor = named(member.first);
        if (!tensor) throw input_error("its metadata names an unknown input", path_);
        inputs_.push_back({member.second.text(), tensor});
    }
}

const Tensor *Model::named(const std::string &name) const {
    for (const Tensor &tensor : tensors_) {
        if (tensor.name == name) return &tensor;
    }
    return nullptr;
}

std::vector<const Tensor *> Model::outputs() const {
    std::vector<const Tensor *> made;
    for (const Tensor &tensor : tensors_) {
        if (tensor.role == "output") made.push_back(&tensor);
    }
    return made;
}

// Integers for a float input are made real, exactly, where the library keeps the tensor that they are of.
Array Model::reals(const Array &array, const Tensor &tensor) const {
    const Tensor *viewed = tensor.view_of.empty() ? nullptr : named(tensor.view_of);
    if (!viewed || viewed->quantised.scale == 0 || array.type != numpy_type(viewed->type)) return array;
    return array_of(meaning(array, viewed->quantised), "f4", array.shape);
}

void Model::set(const Input &input, const Array &array) {
    const Tensor &tensor = *input.tensor;
    if (array.shape != tensor.shape) {
        throw input_error("input '" + input.name + "' has shape (" + shape_text(array.shape) + "), want (" +
                          shape_text(tensor.shape) + ")", path_);
    }
    Array given = reals(array, tensor);
    const std::string type = numpy_type(tensor.type);
    const bool rounds = given.is_real() && given.type != type && tensor.quantised.scale != 0;
    given = rounds ? quantise(given, tensor.quantised) : converted(given, type, input.name);
    given = transposed(given, tensor.order);
    const std::vector<uint8_t> bytes = tensor.type == "bf16" ? bf16_bytes(given) : given.bytes;
    std::memcpy(sd_data_(model_, tensor.index), bytes.data(), bytes.size());
}

void Model::run() {
    if (const int code = sd_run_(model_)) {
        throw Error(kResources, path_ + ": the network ends with code " + std::to_string(code));
    }
}

Array Model::get(const Tensor &tensor) const {
    const auto *bytes = static_cast<const uint8_t *>(sd_data_(model_, tensor.index));
    Shape lying;
    for (const long at : tensor.order) lying.push_back(tensor.shape[static_cast<size_t>(at)]);
    Array made;
    if (tensor.type == "bf16") {
        made = from_bf16(bytes, lying);
    } else {
        made = Array{numpy_type(tensor.type), lying, {}};
        made.bytes.assign(bytes, bytes + elements(lying) * made.width());
    }
    made = transposed(made, inverse(tensor.order));
    return tensor.layout_order.empty() ? made : transposed(made, tensor.layout_order);
}

std::vector<double> meaning(const Array &array, const Quantised &quantised) {
    std::vector<double> values = values_of(array);
    if (quantised.scale == 0) return values;
    for (double &value : values) value = static_cast<float>(value - quantised.zero_point) * quantised.scale;
    return values;
}

}  // namespace runner
