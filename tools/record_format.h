// Format strings for records: what `consume --format` writes and `produce --format` reads. kcat's letters.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "protocol/result.h"
#include "tools/record.h"

namespace millrace::tools {

// A piece of a format: a field's letter, or literal text.
struct FormatPiece {
  char field = '\0';
  std::string literal;

  bool operator==(const FormatPiece&) const = default;
};

class OutputFormat {
 public:
  // kInvalidRequest names the unknown letter or escape.
  static Result<OutputFormat> parse(std::string_view text);
  // Adds the record's text to `out`.
  void append(std::string& out, const ConsumedRecord& record) const;

 private:
  std::vector<FormatPiece> pieces_;
};

class InputFormat {
 public:
  // Fields %k %s %p %T %h between literal texts; the text after the last field ends a record (a line feed
  // when there is none). kInvalidRequest on anything else, and on two fields with nothing between them.
  // `key_option`: the user wrote no format, but by this option what ends a key; complaints name it.
  static Result<InputFormat> parse(std::string_view text, std::string key_option = {});

  // The text that ends each record.
  const std::string& terminator() const { return terminator_; }
  // Reads one record, its terminator already taken off. kInvalidRequest says what is missing or no number.
  Result<InputRecord> read(std::string_view text) const;

 private:
  Error lacks_delimiter(const FormatPiece& field, const std::string& delimiter) const;

  std::vector<FormatPiece> pieces_;
  std::string terminator_;
  std::string key_option_;
};

// The letters, for help pages.
extern const std::string_view kOutputFormatHelp;
extern const std::string_view kInputFormatHelp;

}  // namespace millrace::tools
