// JSON as a library's metadata has it.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace runner {

class Json {
public:
    enum Kind { kNull, kBool, kNumber, kText, kList, kObject };

    // Throws Error (input) where `text` is no JSON; `where` names its source.
    static Json parse(const std::string &text, const std::string &where);

    Kind kind() const { return kind_; }
    bool is_null() const { return kind_ == kNull; }

    // Each throws Error (input) where the value is of another kind, or there is no such member.
    bool truth() const;
    double number() const;
    const std::string &text() const;
    const std::vector<Json> &items() const;
    const std::vector<std::pair<std::string, Json>> &members() const;  // in the order of the text
    const Json &at(const std::string &name) const;
    std::vector<double> numbers() const;
    std::vector<long> integers() const;

    // The member of an object, null where there is none.
    const Json *find(const std::string &name) const;

private:
    friend class JsonParser;
    const Json &want(Kind kind) const;

    Kind kind_ = kNull;
    double number_ = 0;
    std::string text_;
    std::vector<Json> items_;
    std::vector<std::pair<std::string, Json>> members_;
};

// A text in quotes, escaped for JSON.
std::string json_quoted(const std::string &text);

}  // namespace runner
