// How long a network takes.
#pragma once

#include <functional>

namespace runner {

struct Times {
    int runs = 0;
    double median_ms = 0, p90_ms = 0;
};

// Runs `run` `warmup` times, then `repeat` times against the clock.
Times measured(const std::function<void()> &run, int warmup, int repeat);

}  // namespace runner
