// What is printed of a run.
#pragma once

#include <string>
#include <vector>

#include "arrays.h"
#include "options.h"
#include "preprocess.h"
#include "timing.h"

namespace runner {

struct Range {
    double least, greatest, mean;
};

struct Class {
    size_t id;
    double probability;
    std::string label;  // empty: it has none
};

struct Output {
    std::string name;
    Shape shape;
    std::vector<double> values;
};

struct Result {
    std::string input_name;
    bool is_photo = false;
    Preprocess preprocess;  // of a photo
    Steps steps{};
    Array input;
    std::vector<Output> outputs;
    size_t scores = 0;  // the output that holds the classes' scores
    bool is_softmaxed = false;
    std::vector<Class> top;
    Times times;
};

// The class names of a text file, one a line. Throws Error (input).
std::vector<std::string> read_labels(const std::string &path);

// Chooses the output with scores and fills in the best classes.
void classify(Result &result, const std::vector<std::string> &labels, const Options &options);

// The text, or JSON, for a person or program.
std::string report(const Result &result, const Options &options);

}  // namespace runner
