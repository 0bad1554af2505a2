// A configuration file: YAML whose keys are settings, nested or dotted as you like (`log: {retention: {ms:
// 1000}}` is `log.retention.ms: 1000`). Only the form is looked at here, not whether a setting exists; see
// config.h.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace millrace::broker {

// Lines and columns count from 1.
struct ConfigPosition {
  int line = 0;
  int column = 0;
};

struct ConfigLine {
  std::string key;    // dotted
  std::string value;  // of a sequence: its items, joined by commas
  bool is_sequence = false;
  ConfigPosition position;  // of the value's key
};

struct ConfigFileError {
  ConfigPosition position;
  std::string message;
};

struct ParsedConfigFile {
  std::vector<ConfigLine> lines;  // in the file's order, each key once
  std::vector<ConfigFileError> errors;
};

// Larger files, deeper nesting and more settings than these are errors: nobody writes them on purpose.
constexpr size_t kMaxConfigFileBytes = 1 << 20;
constexpr int kMaxConfigDepth = 16;
constexpr size_t kMaxConfigLines = 2000;

// Never throws and needs no valid input. What can be read is in `lines` even where there are errors.
ParsedConfigFile parse_config_file(std::string_view text);

}  // namespace millrace::broker
