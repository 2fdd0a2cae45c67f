// run_model: runs a network's library on an image; see help_text() in options.cc.
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <new>

#include <unistd.h>

#include "errors.h"
#include "model.h"
#include "npz.h"
#include "options.h"
#include "report.h"

namespace runner {
namespace {

char illegal_instruction[512];

void on_illegal_instruction(int) {
    const ssize_t written = write(STDERR_FILENO, illegal_instruction, std::strlen(illegal_instruction));
    _exit(written < 0 ? kBug : kInput);
}

// A library may hold instructions that this processor lacks: that is told, too.
void expect_illegal_instructions(const Model &model) {
    const Json *processor = model.metadata().find("processor");
    std::snprintf(illegal_instruction, sizeof illegal_instruction,
                  "run_model: error: %s: holds instructions that this processor lacks; it is made for '%s'\n",
                  model.path().c_str(), processor ? processor->text().c_str() : "another");
    std::signal(SIGILL, on_illegal_instruction);
}

// How a photo becomes an input, as the library says, or the user; channel_format "none" where nobody does.
Preprocess preprocess_of(const Model &model, const Input &input, const Overrides &overrides) {
    const Json *stored = model.metadata().at("preprocessing").find(input.name);
    const Shape &shape = input.tensor->shape;
    Preprocess made = stored ? Preprocess::from_json(*stored, shape) : Preprocess::of_shape(shape);
    if (!stored && !overrides.says_how()) made.channel_format = "none";
    if (made.is_image()) made.override_by(overrides);
    return made;
}

// The input that takes the photo: the one that the user names, else the first that is an image.
const Input &photo_input(const Model &model, const Options &options) {
    std::string names;
    for (const Input &input : model.inputs()) {
        names += (names.empty() ? "" : ", ") + input.name;
        const bool is_named = options.input == input.name || options.input == input.tensor->name;
        const bool is_image = options.input.empty() && preprocess_of(model, input, options.overrides).is_image();
        if (is_named || is_image) return input;
    }
    if (!options.input.empty()) {
        throw input_error("the model has no input '" + options.input + "'", model.path(), "its inputs: " + names);
    }
    throw input_error("nothing says how a photo becomes an input of this network", options.image,
                      "give --normalize, or --mean and --std, or the input's tensor in an .npz file");
}

Array prepared(const Model &model, const Input &input, const Image &photo, const Options &options, Result &result) {
    const Preprocess preprocess = preprocess_of(model, input, options.overrides);
    if (!preprocess.is_image()) {
        throw input_error("nothing says how a photo becomes the input '" + input.name + "'", options.image,
                          "give its tensor in an .npz file");
    }
    result.is_photo = true;
    result.preprocess = preprocess;
    return apply(preprocess, photo, result.steps);
}

bool ends_in(const std::string &text, const std::string &end) {
    return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

// The tensors of an npz file, by input; the pixels in it become the input that takes a photo.
Tensors from_npz(const Model &model, const Options &options, Result &result) {
    const Tensors given = read_npz(options.image);
    if (given.empty()) throw input_error("holds no numbers", options.image);
    const bool is_bare = given.size() == 1 && (given[0].first.empty() || !options.input.empty());
    if (given.size() == 1 && holds_pixels(given[0].second)) {
        const Input &input = photo_input(model, options);
        return {{input.name, prepared(model, input, image_of(given[0].second), options, result)}};
    }
    Tensors made;
    for (const Input &input : model.inputs()) {
        const Array *found = is_bare && model.inputs().size() == 1 ? &given[0].second : find(given, input.name);
        if (!found) found = find(given, input.tensor->name);
        if (!found) {
            std::string names;
            for (const auto &pair : given) names += (names.empty() ? "" : ", ") + pair.first;
            throw input_error("input '" + input.name + "' is missing (given: " + names + ")", options.image,
                              "give its tensor too");
        }
        made.emplace_back(input.name, *found);
    }
    return made;
}

Tensors inputs_of(const Model &model, const Options &options, Result &result) {
    if (ends_in(options.image, ".npz") || ends_in(options.image, ".npy")) return from_npz(model, options, result);
    const Image photo = load_image(options.image);
    const Input &input = photo_input(model, options);
    return {{input.name, prepared(model, input, photo, options, result)}};
}

void set_inputs(Model &model, const Tensors &given) {
    for (const Input &input : model.inputs()) {
        const Array *array = find(given, input.name);
        if (!array) {
            throw input_error("input '" + input.name + "' is missing", model.path(),
                              "give all tensors in an .npz file");
        }
        model.set(input, *array);
    }
}

void read_outputs(const Model &model, Result &result) {
    for (const Tensor *tensor : model.outputs()) {
        const Array array = model.get(*tensor);
        result.outputs.push_back({tensor->name, array.shape, meaning(array, tensor->quantised)});
    }
}

void write_tensors(const Model &model, const Options &options) {
    if (options.output.empty()) return;
    Tensors made;
    for (const Tensor &tensor : model.tensors()) {
        if (options.dump_all_tensors || tensor.role == "output") made.emplace_back(tensor.name, model.get(tensor));
    }
    write_npz(options.output, made);
    std::fprintf(stderr, "wrote %zu tensors to %s\n", made.size(), options.output.c_str());
}

int run(const Options &options) {
    const std::vector<std::string> labels =
        options.labels.empty() ? std::vector<std::string>() : read_labels(options.labels);
    Model model(options.model, options.threads);
    expect_illegal_instructions(model);
    Result result;
    const Tensors given = inputs_of(model, options, result);
    if (!options.save_input.empty()) write_npz(options.save_input, given);
    set_inputs(model, given);
    result.input_name = given[0].first;
    result.input = given[0].second;
    model.run();
    read_outputs(model, result);
    classify(result, labels, options);
    write_tensors(model, options);
    if (options.repeat) result.times = measured([&] { model.run(); }, options.warmup, options.repeat);
    std::fputs(report(result, options).c_str(), stdout);
    return kDone;
}

// One line of text that a terminal does not obey: all but printable ASCII and letters beyond it is spelled out.
std::string one_line(const std::string &text) {
    std::string made;
    for (size_t at = 0; at < text.size();) {
        const auto byte = static_cast<unsigned char>(text[at]);
        const size_t size = byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
        bool is_letter = at + size <= text.size() && (byte < 0x80 ? byte >= 32 && byte != 127 : byte >= 0xC3);
        for (size_t i = 1; i < size && is_letter; ++i) is_letter = (text[at + i] & 0xC0) == 0x80;
        char spelled[8];
        std::snprintf(spelled, sizeof spelled, "\\x%02x", byte);
        made += is_letter ? text.substr(at, size) : spelled;
        at += is_letter ? size : 1;
    }
    return made;
}

int failed(const std::string &text, int code) {
    std::fprintf(stderr, "run_model: error: %s\n", one_line(text).c_str());
    return code;
}

}  // namespace
}  // namespace runner

int main(int count, char **arguments) {
    using namespace runner;
    try {
        const Options options = parse_options(count, arguments);
        if (!options.help) return run(options);
        std::fputs(help_text().c_str(), stdout);
        return kDone;
    } catch (const Error &error) {
        return failed(error.what(), error.code);
    } catch (const std::bad_alloc &) {
        return failed("out of memory", kResources);
    } catch (const std::exception &error) {
        return failed(std::string("a bug of ours, please report it: ") + error.what(), kBug);
    }
}
