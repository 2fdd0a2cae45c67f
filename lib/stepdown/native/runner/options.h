// The command line.
#pragma once

#include <string>

#include "preprocess.h"

namespace runner {

struct Options {
    std::string name, model, image, labels, input, output, save_input, softmax = "auto";
    Overrides overrides;
    int top = 5, threads = 1, repeat = 0, warmup = 10;
    bool dump_all_tensors = false, json = false, help = false;
};

// Throws Error (input) for a wrong command line.
Options parse_options(int count, char **arguments);

std::string help_text();

}  // namespace runner
