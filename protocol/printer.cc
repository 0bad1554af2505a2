#include "protocol/printer.h"

#include <fmt/format.h>

#include <cmath>

#include "protocol/utf8.h"

namespace millrace::protocol {
namespace {

constexpr std::string_view kBase64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

}  // namespace

void Printer::name(std::string_view name) {
  if (!first_) out_ += ',';
  first_ = false;
  out_ += '"';
  out_ += name;
  out_ += '"';
}

void Printer::rename_records(const Records& value) {
  if (value.is_null()) return;
  out_.pop_back();
  out_ += "SizeInBytes\"";
}

void Printer::print(double value) {
  if (std::isfinite(value)) {
    const std::string digits = fmt::format("{}", value);
    out_ += digits;
    if (digits.find_first_of(".e") == std::string::npos) out_ += ".0";
  } else {
    out_ += std::isnan(value) ? "\"NaN\"" : value > 0 ? "\"Infinity\"" : "\"-Infinity\"";
  }
}

void Printer::print(const Uuid& value) {
  out_ += '"';
  out_ += value.to_string();
  out_ += '"';
}

void Printer::print(std::string_view value) {
  out_ += '"';
  while (!value.empty()) {
    const size_t size = utf8_sequence_size(value);
    const char c = value.front();
    if (size == 0) {
      out_ += "\xef\xbf\xbd";
      value.remove_prefix(1);
      continue;
    }
    if (c == '"' || c == '\\') {
      out_ += '\\';
      out_ += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out_ += fmt::format("\\u{:04x}", static_cast<int>(c));
    } else {
      out_ += value.substr(0, size);
    }
    value.remove_prefix(size);
  }
  out_ += '"';
}

void Printer::print(Bytes value) {
  out_ += '"';
  for (size_t i = 0; i < value.size(); i += 3) {
    const size_t present = std::min<size_t>(3, value.size() - i);
    uint32_t bits = 0;
    for (size_t j = 0; j < 3; ++j)
      bits = bits << 8 | (j < present ? std::to_integer<uint32_t>(value[i + j]) : 0);
    for (size_t j = 0; j < 4; ++j) out_ += j <= present ? kBase64[bits >> (18 - 6 * j) & 0x3f] : '=';
  }
  out_ += '"';
}

void Printer::print(const Records& value) {
  if (value.is_null()) {
    out_ += "null";
  } else {
    out_ += std::to_string(value.size());
  }
}

}  // namespace millrace::protocol
