// Kafka's console tools take some of their options as --property NAME=VALUE; these are the ones with a
// meaning here.
#pragma once

#include <string>
#include <vector>

#include "protocol/result.h"

namespace millrace::tools {

struct ReaderProperties {
  bool parse_key = false;
  std::string key_separator = "\t";
  std::string null_marker;
};

// kafka-console-producer's: parse.key, key.separator, null.marker. kInvalidRequest names any other.
Result<ReaderProperties> reader_properties(const std::vector<std::string>& properties);

// kafka-console-consumer's: print.timestamp, print.partition, print.offset, print.headers, print.key,
// print.value, key.separator, line.separator; as a format string of ours. kInvalidRequest names any other.
Result<std::string> formatter_properties(const std::vector<std::string>& properties);

}  // namespace millrace::tools
