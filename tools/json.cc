#include "tools/json.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>

#include "protocol/utf8.h"
#include "tools/utf8.h"

namespace millrace::tools {
namespace {

constexpr int kMaxDepth = 64;

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Result<Json> document() {
    Result<Json> value = this->value(0);
    if (!value) return value;
    skip_space();
    if (at_ < text_.size()) return bad("unexpected text after the value");
    return value;
  }

 private:
  std::unexpected<Error> bad(std::string_view what) const {
    return fail(ErrorCode::kInvalidRequest, fmt::format("not JSON at character {}: {}", at_ + 1, what));
  }

  void skip_space() {
    while (at_ < text_.size() &&
           (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n' || text_[at_] == '\r')) {
      ++at_;
    }
  }

  bool take(char c) {
    skip_space();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  bool take_word(std::string_view word) {
    if (!text_.substr(at_).starts_with(word)) return false;
    at_ += word.size();
    return true;
  }

  Result<Json> value(int depth) {
    if (depth > kMaxDepth) return bad("nested too deeply");
    skip_space();
    if (at_ >= text_.size()) return bad("a value is missing");
    switch (text_[at_]) {
      case '{':
        return object(depth);
      case '[':
        return list(depth);
      case '"': {
        Result<std::string> text = string();
        return text ? Result<Json>(Json(std::move(*text))) : std::unexpected(text.error());
      }
      default:
        break;
    }
    if (take_word("true")) return Json(true);
    if (take_word("false")) return Json(false);
    if (take_word("null")) return Json();
    return number();
  }

  Result<Json> object(int depth) {
    ++at_;
    Json::Object members;
    if (take('}')) return Json(std::move(members));
    do {
      skip_space();
      if (at_ >= text_.size() || text_[at_] != '"') return bad("a member's name in quotes is missing");
      Result<std::string> name = string();
      if (!name) return std::unexpected(name.error());
      if (!take(':')) return bad("':' is missing");
      Result<Json> member = value(depth + 1);
      if (!member) return member;
      members.emplace_back(std::move(*name), std::move(*member));
    } while (take(','));
    if (!take('}')) return bad("',' or '}' is missing");
    return Json(std::move(members));
  }

  Result<Json> list(int depth) {
    ++at_;
    Json::List items;
    if (take(']')) return Json(std::move(items));
    do {
      Result<Json> item = value(depth + 1);
      if (!item) return item;
      items.push_back(std::move(*item));
    } while (take(','));
    if (!take(']')) return bad("',' or ']' is missing");
    return Json(std::move(items));
  }

  std::optional<uint32_t> hex4() {
    uint32_t code = 0;
    if (text_.size() - at_ < 4) return std::nullopt;
    const char* first = text_.data() + at_;
    const auto [end, error] = std::from_chars(first, first + 4, code, 16);
    if (error != std::errc() || end != first + 4) return std::nullopt;
    at_ += 4;
    return code;
  }

  Result<void> escape(std::string& out) {
    if (at_ >= text_.size()) return bad("the string doesn't end");
    const char c = text_[at_++];
    switch (c) {
      case '"':
      case '\\':
      case '/':
        out += c;
        return {};
      case 'b':
        out += '\b';
        return {};
      case 'f':
        out += '\f';
        return {};
      case 'n':
        out += '\n';
        return {};
      case 'r':
        out += '\r';
        return {};
      case 't':
        out += '\t';
        return {};
      case 'u':
        break;
      default:
        --at_;
        return bad("unknown escape");
    }
    std::optional<uint32_t> code = hex4();
    if (!code) return bad("four hexadecimal digits are missing");
    if (*code >= 0xD800 && *code < 0xDC00 && take_word("\\u")) {
      const std::optional<uint32_t> low = hex4();
      if (!low || *low < 0xDC00 || *low > 0xDFFF) return bad("half of a surrogate pair is missing");
      code = 0x10000 + ((*code - 0xD800) << 10) + (*low - 0xDC00);
    }
    if (*code >= 0xD800 && *code < 0xE000) return bad("half of a surrogate pair is missing");
    append_utf8(out, *code);
    return {};
  }

  Result<std::string> string() {
    ++at_;
    std::string out;
    while (true) {
      const size_t end = text_.find_first_of("\"\\", at_);
      if (end == std::string_view::npos) return bad("the string doesn't end");
      out += text_.substr(at_, end - at_);
      at_ = end + 1;
      if (text_[end] == '"') return out;
      if (Result<void> escaped = escape(out); !escaped) return std::unexpected(escaped.error());
    }
  }

  Result<Json> number() {
    const size_t end = std::min(text_.find_first_not_of("+-.0123456789eE", at_), text_.size());
    const char* first = text_.data() + at_;
    const char* last = text_.data() + end;
    int64_t integer = 0;
    if (auto [stop, error] = std::from_chars(first, last, integer);
        error == std::errc() && stop == last && first != last) {
      at_ = end;
      return Json(integer);
    }
    double real = 0;
    const auto [stop, error] = std::from_chars(first, last, real);
    if (error != std::errc() || stop != last || first == last) return bad("a value is missing");
    at_ = end;
    return Json(real);
  }

  std::string_view text_;
  size_t at_ = 0;
};

void new_line(std::string& out, int indent, int depth) {
  if (indent > 0) out += '\n' + std::string(static_cast<size_t>(indent * depth), ' ');
}

}  // namespace

Json Json::name(const std::string& bytes) { return protocol::printable(bytes); }

Result<Json> Json::parse(std::string_view text) { return Parser(text).document(); }

const Json* Json::find(std::string_view name) const {
  const Object* members = if_object();
  if (members == nullptr) return nullptr;
  for (const Member& member : *members) {
    if (member.first == name) return &member.second;
  }
  return nullptr;
}

Json& Json::set(std::string name, Json value) {
  std::get<Object>(value_).emplace_back(std::move(name), std::move(value));
  return *this;
}

Json& Json::push(Json value) {
  std::get<List>(value_).push_back(std::move(value));
  return *this;
}

std::string Json::dump(int indent) const {
  std::string out;
  dump_to(out, indent, 0);
  return out;
}

void Json::dump_to(std::string& out, int indent, int depth) const {
  if (is_null()) out += "null";
  if (const bool* flag = if_bool()) out += *flag ? "true" : "false";
  if (const int64_t* number = if_integer()) out += std::to_string(*number);
  // JSON knows no infinities.
  if (const double* number = if_number()) out += std::isfinite(*number) ? fmt::format("{}", *number) : "null";
  if (const std::string* text = if_string()) append_json_string(out, *text);
  if (const List* items = if_list()) {
    out += '[';
    for (size_t i = 0; i < items->size(); ++i) {
      if (i > 0) out += ',';
      new_line(out, indent, depth + 1);
      (*items)[i].dump_to(out, indent, depth + 1);
    }
    if (!items->empty()) new_line(out, indent, depth);
    out += ']';
  }
  if (const Object* members = if_object()) {
    out += '{';
    for (size_t i = 0; i < members->size(); ++i) {
      if (i > 0) out += ',';
      new_line(out, indent, depth + 1);
      append_json_string(out, (*members)[i].first);
      out += indent > 0 ? ": " : ":";
      (*members)[i].second.dump_to(out, indent, depth + 1);
    }
    if (!members->empty()) new_line(out, indent, depth);
    out += '}';
  }
}

void append_json_string(std::string& out, std::string_view text) {
  out += '"';
  while (!text.empty()) {
    const unsigned char c = static_cast<unsigned char>(text.front());
    if (c >= 0x80) {
      const size_t size = utf8_sequence_size(text);
      size == 0 ? out += "\\ufffd" : out += text.substr(0, size);
      text.remove_prefix(std::max<size_t>(size, 1));
      continue;
    }
    text.remove_prefix(1);
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        c < 0x20 || c == 0x7f ? out += fmt::format("\\u{:04x}", c) : out += static_cast<char>(c);
    }
  }
  out += '"';
}

}  // namespace millrace::tools
