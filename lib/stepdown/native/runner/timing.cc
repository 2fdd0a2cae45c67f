#include "timing.h"

#include <algorithm>
#include <chrono>
#include <vector>

namespace runner {
namespace {

// Between two of the sorted values where it falls between them, as numpy's percentile.
double quantile(const std::vector<double> &sorted, double part) {
    const double place = part * static_cast<double>(sorted.size() - 1);
    const auto below = static_cast<size_t>(place);
    const size_t above = std::min(below + 1, sorted.size() - 1);
    return sorted[below] + (place - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

}  // namespace

Times measured(const std::function<void()> &run, int warmup, int repeat) {
    using Clock = std::chrono::steady_clock;
    for (int i = 0; i < warmup; ++i) run();
    std::vector<double> times;
    for (int i = 0; i < repeat; ++i) {
        const Clock::time_point begin = Clock::now();
        run();
        times.push_back(std::chrono::duration<double, std::milli>(Clock::now() - begin).count());
    }
    std::sort(times.begin(), times.end());
    return {repeat, quantile(times, 0.5), quantile(times, 0.9)};
}

}  // namespace runner
