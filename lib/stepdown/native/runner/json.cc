#include "json.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "errors.h"

namespace runner {

// Reads one text from its beginning to its end.
class JsonParser {
public:
    JsonParser(const std::string &text, const std::string &where) : text_(text), where_(where) {}

    Json whole() {
        Json value = parse_value(0);
        skip_blanks();
        if (at_ != text_.size()) fail();
        return value;
    }

private:
    static constexpr int kDeepest = 64;

    [[noreturn]] void fail() const {
        throw input_error("is no JSON at byte " + std::to_string(at_), where_);
    }

    char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

    void skip_blanks() {
        while (at_ < text_.size() && std::strchr(" \t\r\n", text_[at_])) ++at_;
    }

    bool taken(const char *word) {
        if (text_.compare(at_, std::strlen(word), word) != 0) return false;
        at_ += std::strlen(word);
        return true;
    }

    Json parse_value(int depth) {
        if (depth > kDeepest) fail();
        skip_blanks();
        if (peek() == '{') return parse_object(depth);
        if (peek() == '[') return parse_list(depth);
        Json value;
        if (peek() == '"') {
            value.kind_ = Json::kText;
            value.text_ = parse_text();
        } else if (taken("true") || taken("false")) {
            value.kind_ = Json::kBool;
            value.number_ = text_[at_ - 2] == 'u';
        } else if (!taken("null")) {
            value = parse_number();
        }
        return value;
    }

    Json parse_number() {
        Json value;
        const char *begin = text_.c_str() + at_;
        char *end = nullptr;
        value.kind_ = Json::kNumber;
        value.number_ = std::strtod(begin, &end);
        if (end == begin) fail();
        at_ += end - begin;
        return value;
    }

    Json parse_list(int depth) {
        Json value;
        value.kind_ = Json::kList;
        for (++at_, skip_blanks(); !taken("]"); skip_blanks()) {
            if (!value.items_.empty() && !taken(",")) fail();
            value.items_.push_back(parse_value(depth + 1));
        }
        return value;
    }

    Json parse_object(int depth) {
        Json value;
        value.kind_ = Json::kObject;
        for (++at_, skip_blanks(); !taken("}"); skip_blanks()) {
            if (!value.members_.empty() && !taken(",")) fail();
            skip_blanks();
            std::string name = parse_text();
            skip_blanks();
            if (!taken(":")) fail();
            value.members_.emplace_back(name, parse_value(depth + 1));
        }
        return value;
    }

    std::string parse_text() {
        if (!taken("\"")) fail();
        std::string made;
        while (peek() != '"') {
            if (at_ >= text_.size()) fail();
            if (peek() == '\\') {
                parse_escape(made);
            } else {
                made += text_[at_++];
            }
        }
        ++at_;
        return made;
    }

    void parse_escape(std::string &made) {
        static const char kLetters[] = "\"\\/bfnrt", kMeanings[] = "\"\\/\b\f\n\r\t";
        const char letter = text_[++at_ < text_.size() ? at_ : at_ - 1];
        ++at_;
        if (letter == 'u') {
            append_utf8(made, parse_code_point());
            return;
        }
        const char *found = std::strchr(kLetters, letter);
        if (!found || !letter) fail();
        made += kMeanings[found - kLetters];
    }

    unsigned parse_four_digits() {
        unsigned code = 0;
        for (int i = 0; i < 4; ++i, ++at_) {
            const char *digits = "0123456789abcdef";
            const char *found = peek() ? std::strchr(digits, peek() | (peek() >= 'A' ? 32 : 0)) : nullptr;
            if (!found) fail();
            code = code * 16 + static_cast<unsigned>(found - digits);
        }
        return code;
    }

    // Two escapes make one letter beyond the first 65,536.
    unsigned parse_code_point() {
        const unsigned high = parse_four_digits();
        if (high < 0xD800 || high > 0xDBFF || !taken("\\u")) return high;
        return 0x10000 + ((high - 0xD800) << 10) + ((parse_four_digits() - 0xDC00) & 0x3FF);
    }

    static void append_utf8(std::string &made, unsigned code) {
        const int more = code < 0x80 ? 0 : code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
        const unsigned first[] = {0, 0xC0, 0xE0, 0xF0};
        made += static_cast<char>(first[more] | (code >> (6 * more)));
        for (int i = more - 1; i >= 0; --i) made += static_cast<char>(0x80 | ((code >> (6 * i)) & 0x3F));
    }

    const std::string &text_, &where_;
    size_t at_ = 0;
};

Json Json::parse(const std::string &text, const std::string &where) { return JsonParser(text, where).whole(); }

const Json &Json::want(Kind kind) const {
    if (kind_ != kind) throw input_error("the metadata has a value of another kind than it should");
    return *this;
}

bool Json::truth() const { return want(kBool).number_ != 0; }
double Json::number() const { return want(kNumber).number_; }
const std::string &Json::text() const { return want(kText).text_; }
const std::vector<Json> &Json::items() const { return want(kList).items_; }
const std::vector<std::pair<std::string, Json>> &Json::members() const { return want(kObject).members_; }

const Json *Json::find(const std::string &name) const {
    for (const auto &member : members()) {
        if (member.first == name) return &member.second;
    }
    return nullptr;
}

const Json &Json::at(const std::string &name) const {
    const Json *found = find(name);
    if (!found) throw input_error("the metadata has no '" + name + "'");
    return *found;
}

std::vector<double> Json::numbers() const {
    std::vector<double> made;
    for (const Json &item : items()) made.push_back(item.number());
    return made;
}

std::vector<long> Json::integers() const {
    std::vector<long> made;
    for (const Json &item : items()) made.push_back(static_cast<long>(item.number()));
    return made;
}

std::string json_quoted(const std::string &text) {
    std::string made = "\"";
    for (const char letter : text) {
        const auto byte = static_cast<unsigned char>(letter);
        char escaped[8];
        if (letter == '"' || letter == '\\') {
            made += std::string("\\") + letter;
        } else if (byte < 32) {
            std::snprintf(escaped, sizeof escaped, "\\u%04x", byte);
            made += escaped;
        } else {
            made += letter;
        }
    }
    return made + '"';
}

}  // namespace runner
