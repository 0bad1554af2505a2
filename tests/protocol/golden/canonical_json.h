// Brings JSON texts into one form, so that equal values are equal texts: object members by name, no spaces,
// escapes resolved. For the JSON of the golden messages and of our printer, both well-formed.
#pragma once

#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>

namespace millrace::test {

class CanonicalJson {
 public:
  // Throws std::runtime_error for a text that isn't JSON.
  static std::string of(std::string_view text) {
    CanonicalJson reader{text};
    std::string value = reader.value();
    if (!reader.text_.empty()) throw std::runtime_error("text after the JSON value");
    return value;
  }

 private:
  explicit CanonicalJson(std::string_view text) : text_(text) {}

  char peek() const {
    if (text_.empty()) throw std::runtime_error("JSON ends early");
    return text_.front();
  }
  char next() {
    const char c = peek();
    text_.remove_prefix(1);
    return c;
  }
  bool skip(char c) {
    if (peek() != c) return false;
    text_.remove_prefix(1);
    return true;
  }

  std::string value() {
    switch (peek()) {
      case '{':
        return object();
      case '[':
        return array();
      case '"':
        return '"' + string() + '"';
      default:
        return scalar();
    }
  }

  std::string object() {
    std::map<std::string, std::string> members;
    next();
    while (!skip('}')) {
      std::string name = string();
      if (!skip(':')) throw std::runtime_error("no colon after a member's name");
      if (!members.emplace(name, value()).second) throw std::runtime_error("member twice: " + name);
      if (!skip(',') && peek() != '}') throw std::runtime_error("no comma between members");
    }
    std::string out = "{";
    for (const auto& [name, member] : members) out += '"' + name + "\":" + member + ",";
    return out + "}";
  }

  std::string array() {
    std::string out = "[";
    next();
    while (!skip(']')) {
      out += value() + ",";
      if (!skip(',') && peek() != ']') throw std::runtime_error("no comma between elements");
    }
    return out + "]";
  }

  // Numbers, true, false, null: as they are spelled.
  std::string scalar() {
    const size_t size = text_.find_first_of(",]}");
    const std::string_view word = text_.substr(0, size);
    if (word.empty() || word.find_first_of(" {[\":") != std::string_view::npos) {
      throw std::runtime_error("no JSON value: " + std::string(word));
    }
    text_.remove_prefix(word.size());
    return std::string(word);
  }

  std::string string() {
    if (!skip('"')) throw std::runtime_error("no string where one must be");
    std::string out;
    while (!skip('"')) {
      char c = next();
      if (c == '\\') {
        c = next();
        if (c == 'u') {
          out += utf8(static_cast<uint32_t>(std::stoul(std::string(text_.substr(0, 4)), nullptr, 16)));
          text_.remove_prefix(4);
          continue;
        }
        if (c == 'n') c = '\n';
        if (c == 't') c = '\t';
        if (c == 'r') c = '\r';
        if (c == 'b') c = '\b';
        if (c == 'f') c = '\f';
      }
      out += c;
    }
    return out;
  }

  static std::string utf8(uint32_t code) {
    if (code < 0x80) return {static_cast<char>(code)};
    if (code < 0x800) return {static_cast<char>(0xc0 | code >> 6), static_cast<char>(0x80 | (code & 0x3f))};
    return {static_cast<char>(0xe0 | code >> 12), static_cast<char>(0x80 | (code >> 6 & 0x3f)),
            static_cast<char>(0x80 | (code & 0x3f))};
  }

  std::string_view text_;
};

}  // namespace millrace::test
