// How large one request may be in what it names, whatever its frame's size: an element of an array may be a
// byte on the wire, and takes hundreds while it is answered.
#pragma once

#include <cstddef>
#include <cstdint>

#include "protocol/arena.h"

namespace millrace::api {

struct RequestLimits {
  // Elements of all arrays of one request together: topics, partitions, groups, members. Far more than a
  // client has use for; beyond, the connection is closed, as for a request that can't be decoded.
  static constexpr size_t kMostElements = 200'000;
  // Up to so many count as part of the frame. For more, memory is reserved from the shard's budget, in steps
  // of this factor.
  static constexpr size_t kFewElements = 2'000;
  static constexpr size_t kStep = 10;
  // What an element takes at most while it is answered: decoded, asked, answered and encoded.
  static constexpr size_t kBytesPerElement = 512;
  // A request that has memory reserved doesn't wait for records longer than this, Kafka's default for
  // fetch.max.wait.ms.
  static constexpr int32_t kLargeMaxWaitMs = 500;
  static Arena arena_for(size_t frame_bytes, size_t most_elements) {
    return Arena(Arena::limit_for_frame(frame_bytes), most_elements);
  }
};

}  // namespace millrace::api
