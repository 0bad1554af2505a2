// The `records` field of Produce and Fetch: record batches, byte for byte as in the log.
#pragma once

#include <cstdint>
#include <optional>

#include "protocol/bytes.h"

namespace millrace::protocol {

// Either bytes in memory, or bytes that stay in a file: then encoding writes their length only and notes
// where they belong (Splice), for the network layer to send them with sendfile.
struct Records {
  std::optional<Bytes> bytes;
  uint64_t external_size = 0;
  // Names the piece to whoever sends it; the writer only passes it on.
  uint32_t external_id = 0;
  bool external = false;

  static Records of(Bytes bytes) { return {.bytes = bytes}; }
  static Records in_file(uint64_t size, uint32_t id) {
    return {.external_size = size, .external_id = id, .external = true};
  }

  bool is_null() const { return !external && !bytes; }
  uint64_t size() const { return external ? external_size : bytes ? bytes->size() : 0; }
};

// `size` bytes from elsewhere belong before position `at` of the encoded output.
struct Splice {
  size_t at = 0;
  uint64_t size = 0;
  uint32_t id = 0;
};

}  // namespace millrace::protocol
