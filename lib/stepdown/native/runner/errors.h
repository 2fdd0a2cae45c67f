// What goes wrong is told in one line: where it is, what is wrong, how to fix it.
#pragma once

#include <stdexcept>
#include <string>

namespace runner {

enum ExitCode { kDone = 0, kInput = 2, kUnsupported = 3, kResources = 4, kBug = 70 };

class Error : public std::runtime_error {
public:
    Error(ExitCode exit_code, const std::string &text) : std::runtime_error(text), code(exit_code) {}
    const ExitCode code;
};

inline std::string told(const std::string &what, const std::string &where, const std::string &fix) {
    return (where.empty() ? "" : where + ": ") + what + (fix.empty() ? "" : "; " + fix);
}

// A wrong command line, option value or input file.
inline Error input_error(const std::string &what, const std::string &where = "", const std::string &fix = "") {
    return Error(kInput, told(what, where, fix));
}

// A network that is none for this program.
inline Error unsupported(const std::string &what, const std::string &where = "", const std::string &fix = "") {
    return Error(kUnsupported, told(what, where, fix));
}

}  // namespace runner
