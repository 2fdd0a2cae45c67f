#include "report.h"

#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <numeric>

#include "errors.h"
#include "json.h"
#include "npz.h"

namespace runner {
namespace {

std::string formatted(const char *format, ...) {
    char made[512];
    va_list values;
    va_start(values, format);
    std::vsnprintf(made, sizeof made, format, values);
    va_end(values);
    return made;
}

Range range_of(const std::vector<double> &values) {
    if (values.empty()) return {0, 0, 0};
    const auto ends = std::minmax_element(values.begin(), values.end());
    return {*ends.first, *ends.second, std::accumulate(values.begin(), values.end(), 0.0) / double(values.size())};
}

std::string range_text(const std::vector<double> &values) {
    const Range range = range_of(values);
    return formatted("[%g, %g], mean: %g", range.least, range.greatest, range.mean);
}

// Whether the values are probabilities already, up to the steps of 8-bit ones.
bool are_probabilities(const std::vector<double> &values) {
    const Range range = range_of(values);
    return range.least >= 0 && range.greatest <= 1 && std::fabs(range.mean * double(values.size()) - 1) <= 0.1;
}

std::vector<double> softmax(const std::vector<double> &values) {
    const double greatest = range_of(values).greatest;
    std::vector<double> made;
    for (const double value : values) made.push_back(std::exp(value - greatest));
    const double sum = std::accumulate(made.begin(), made.end(), 0.0);
    for (double &value : made) value /= sum;
    return made;
}

// The largest first, equal ones by index, NaN last.
std::vector<size_t> best(const std::vector<double> &values, int count) {
    std::vector<size_t> made(values.size());
    std::iota(made.begin(), made.end(), 0);
    const auto is_better = [&](size_t a, size_t b) {
        if (std::isnan(values[a]) || std::isnan(values[b])) return !std::isnan(values[a]) && std::isnan(values[b]);
        return values[a] > values[b];
    };
    std::stable_sort(made.begin(), made.end(), is_better);
    made.resize(std::min(made.size(), static_cast<size_t>(count)));
    return made;
}

// The first output with a score for each label, else the first.
size_t output_with_scores(const std::vector<Output> &outputs, size_t labels) {
    for (size_t i = 0; i < outputs.size(); ++i) {
        if (outputs[i].values.size() == labels) return i;
    }
    return 0;
}

std::string listed(const std::vector<double> &values) {
    std::string made;
    for (const double value : values) made += (made.empty() ? "" : ", ") + formatted("%g", value);
    return "[" + made + "]";
}

std::string size_text(long width, long height) { return std::to_string(width) + "x" + std::to_string(height); }

// Mean and deviation in the range in which the network's authors most likely had them.
std::string scaling_text(const Preprocess &p) {
    const bool is_unit = std::any_of(p.scale.begin(), p.scale.end(), [](double s) { return s != 1; });
    const double range = is_unit ? 255 : 1;
    std::vector<double> mean, deviation;
    for (const double value : p.mean) mean.push_back(value / range);
    for (const double value : p.scale) deviation.push_back(1 / (value * range));
    const std::string channels = p.pixel_format == "gray" ? "gray" : p.pixel_format == "bgr" ? "B,G,R" : "R,G,B";
    return std::string("Pixel scaling: ") + (is_unit ? "0.0 to 1.0 (PyTorch-style)" : "0 to 255 (Caffe-style)") +
           "\nMean (" + channels + "): " + listed(mean) + "\nStd (" + channels + "):  " + listed(deviation) + "\n";
}

std::string photo_text(const Result &r) {
    const Preprocess &p = r.preprocess;
    const Steps &s = r.steps;
    std::string order = p.pixel_format;
    std::transform(order.begin(), order.end(), order.begin(), [](char c) { return char(std::toupper(c)); });
    std::string made = "Original image: " + size_text(s.original_width, s.original_height) + "x3\n";
    made += "Resized to: " + size_text(s.resized_width, s.resized_height) + "\n";
    if (s.padded_width != s.resized_width || s.padded_height != s.resized_height) {
        made += "Padded to: " + size_text(s.padded_width, s.padded_height) + "\n";
    }
    made += "Final image size: " + size_text(p.width(), p.height()) + "x" + std::to_string(p.channels()) + "\n";
    return made + "Color order: " + order + "\n" + scaling_text(p);
}

std::string outputs_text(const Result &r) {
    std::string made;
    for (size_t i = 0; i < r.outputs.size(); ++i) {
        const Output &output = r.outputs[i];
        if (r.outputs.size() > 1) made += "Output: " + output.name + "\n";
        made += "Output shape: " + shape_text(output.shape, " ") + "\n";
        made += std::string(i == r.scores && r.is_softmaxed ? "Logits" : "Output") + " range: " +
                range_text(output.values) + "\n";
    }
    return made;
}

std::string text_report(const Result &r, const Options &options) {
    std::string made = r.is_photo ? photo_text(r) : "Input tensor: " + r.input_name + "\n";
    made += "Input tensor range: " + range_text(values_of(r.input)) + "\n" + outputs_text(r);
    made += "\n===== Running " + options.name + " =====\n";
    made += "Top-" + std::to_string(r.top.size()) + " Predictions:\n";
    for (size_t i = 0; i < r.top.size(); ++i) {
        const Class &found = r.top[i];
        made += formatted("  %zu) id=%zu  p=%g", i + 1, found.id, found.probability);
        made += (found.label.empty() ? "" : "  " + found.label) + "\n";
    }
    if (r.times.runs) {
        made += formatted("Time: median %.4g ms, p90 %.4g ms (%d runs after %d to warm up, threads: %d)\n",
                          r.times.median_ms, r.times.p90_ms, r.times.runs, options.warmup, options.threads);
    }
    if (r.top.empty()) return made;
    made += "Predicted class: " + std::to_string(r.top[0].id);
    return made + (r.top[0].label.empty() ? "" : " (" + r.top[0].label + ")") + "\n";
}

// JSON has no NaN and no infinities.
std::string json_number(double value) { return std::isfinite(value) ? formatted("%.9g", value) : "null"; }

std::string json_range(const std::vector<double> &values) {
    const Range range = range_of(values);
    return "[" + json_number(range.least) + ", " + json_number(range.greatest) +
           "], \"mean\": " + json_number(range.mean);
}

std::string json_outputs(const Result &r) {
    std::string made;
    for (const Output &output : r.outputs) {
        made += (made.empty() ? "" : ", ") + ("{\"name\": " + json_quoted(output.name)) + ", \"shape\": [" +
                shape_text(output.shape) + "], \"range\": " + json_range(output.values) + "}";
    }
    return made;
}

std::string json_classes(const std::vector<Class> &top) {
    std::string made;
    for (const Class &found : top) {
        made += (made.empty() ? "" : ", ") + ("{\"id\": " + std::to_string(found.id)) +
                ", \"p\": " + json_number(found.probability) + ", \"label\": " +
                (found.label.empty() ? "null" : json_quoted(found.label)) + "}";
    }
    return made;
}

std::string json_report(const Result &r, const Options &options) {
    std::string made = "{\"model\": " + json_quoted(options.model) + ", \"input\": {\"name\": " +
                       json_quoted(r.input_name) + ", \"shape\": [" + shape_text(r.input.shape) +
                       "], \"range\": " + json_range(values_of(r.input)) + "}";
    made += ", \"outputs\": [" + json_outputs(r) + "], \"top\": [" + json_classes(r.top) + "]";
    if (r.times.runs) {
        made += ", \"time\": {\"median_ms\": " + json_number(r.times.median_ms) +
                ", \"p90_ms\": " + json_number(r.times.p90_ms) + ", \"runs\": " + std::to_string(r.times.runs) +
                ", \"threads\": " + std::to_string(options.threads) + "}";
    }
    return made + "}\n";
}

}  // namespace

std::vector<std::string> read_labels(const std::string &path) {
    const std::vector<uint8_t> bytes = read_file(path);
    std::vector<std::string> made;
    std::string line;
    for (size_t i = 0; i <= bytes.size(); ++i) {
        const bool is_end = i == bytes.size();
        if (!is_end && bytes[i] != '\n') {
            line += static_cast<char>(bytes[i]);
            continue;
        }
        if (!line.empty() && line.back() == '\r') line.pop_back();
        if (!is_end || !line.empty()) made.push_back(line);
        line.clear();
    }
    if (made.empty()) throw input_error("holds no labels", path, "give one a line");
    return made;
}

void classify(Result &result, const std::vector<std::string> &labels, const Options &options) {
    if (result.outputs.empty()) throw unsupported("the network has no output", options.model);
    result.scores = output_with_scores(result.outputs, labels.size());
    const std::vector<double> &values = result.outputs[result.scores].values;
    result.is_softmaxed = options.softmax == "yes" || (options.softmax == "auto" && !are_probabilities(values));
    const std::vector<double> probabilities = result.is_softmaxed ? softmax(values) : values;
    for (const size_t id : best(values, options.top)) {
        result.top.push_back({id, probabilities[id], id < labels.size() ? labels[id] : ""});
    }
    if (!labels.empty() && labels.size() != values.size()) {
        std::fprintf(stderr, "run_model: warning: %s: %zu labels, the output has %zu values\n", options.labels.c_str(),
                     labels.size(), values.size());
    }
}

std::string report(const Result &result, const Options &options) {
    return options.json ? json_report(result, options) : text_report(result, options);
}

}  // namespace runner
