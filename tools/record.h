// Records as the command line passes them around, between the wire and what people read and write.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::tools {

struct HeaderView {
  std::string_view name;
  std::optional<std::string_view> value;
};

// A record read from a partition. Views into whatever holds its batch.
struct ConsumedRecord {
  std::string_view topic;
  int32_t partition = 0;
  int64_t offset = 0;
  // -1: none.
  int64_t timestamp_ms = -1;
  // The broker's clock (LogAppendTime) and not the producer's.
  bool log_append_time = false;
  std::optional<std::string_view> key;
  std::optional<std::string_view> value;
  std::span<const HeaderView> headers;
};

struct Header {
  std::string name;
  std::optional<std::string> value;
};

// A record to be produced.
struct InputRecord {
  std::optional<std::string> key;
  std::optional<std::string> value;
  std::vector<Header> headers;
  std::optional<int32_t> partition;
  std::optional<int64_t> timestamp_ms;
};

}  // namespace millrace::tools
