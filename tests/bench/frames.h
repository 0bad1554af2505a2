// Prebuilt requests: what the raw client sends, made before the clock starts.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "protocol/bytes.h"
#include "protocol/compression.h"

namespace millrace::bench {

// Both APIs at the last version that names topics by name, as flexible as the newest.
inline constexpr int16_t kProduceVersion = 12;
inline constexpr int16_t kFetchVersion = 12;

struct BatchShape {
  size_t record_bytes = 100;      // of a record's value
  size_t batch_bytes = 16 << 10;  // a batch has as many records as fit uncompressed, at least one
  int32_t records = 0;            // or so many, when not 0
  protocol::Compression compression = protocol::Compression::kNone;
};

struct PrebuiltBatch {
  Buffer bytes;
  int32_t records = 0;
};

// Values are text of a 16 letter alphabet in which every other word repeats the one before it.
PrebuiltBatch make_batch(const BatchShape& shape);

// A whole Produce request with its length, acks=all, the same batch for each partition.
struct ProduceFrame {
  Buffer bytes;
  std::vector<size_t> batches;  // where in the bytes each begins
  size_t batch_bytes = 0;
  std::vector<int32_t> partitions;
  int64_t records = 0;
};

ProduceFrame make_produce_frame(const std::string& topic, std::span<const int32_t> partitions,
                                const PrebuiltBatch& batch);

// Makes the frame's batches those of an idempotent producer, with the first sequence of each partition.
void stamp(ProduceFrame& frame, int64_t producer_id, std::span<const int32_t> sequences);

// A whole Fetch request, without a session.
struct FetchPart {
  int32_t partition = 0;
  int64_t offset = 0;
};
Buffer make_fetch_frame(const std::string& topic, std::span<const FetchPart> parts, int32_t max_wait_ms);

}  // namespace millrace::bench
