#include "tests/bench/frames.h"

#include <random>
#include <stdexcept>

#include "protocol/arena.h"
#include "protocol/batch_builder.h"
#include "protocol/header.h"
#include "protocol/messages/fetch.h"
#include "protocol/messages/produce.h"
#include "protocol/record_batch.h"
#include "tests/bench/request.h"

namespace millrace::bench {
namespace {

using protocol::FetchRequest;
using protocol::ProduceRequest;

constexpr size_t kLengthSize = 4;
// Kafka's defaults for a consumer.
constexpr int32_t kFetchMaxBytes = 50 << 20;
constexpr int32_t kPartitionMaxBytes = 1 << 20;

class ValueSource {
 public:
  Buffer next(size_t size) {
    Buffer value(size);
    for (size_t i = 0; i < size; ++i) {
      if (i % 32 < 16) word_[i % 16] = static_cast<std::byte>('a' + random_() % 16);
      value[i] = word_[i % 16];
    }
    return value;
  }

 private:
  std::minstd_rand random_{1};
  std::byte word_[16]{};
};

}  // namespace

PrebuiltBatch make_batch(const BatchShape& shape) {
  protocol::BatchBuilder builder({.compression = shape.compression});
  ValueSource values;
  // Length, attributes, deltas, key and headers of a record: at most so much.
  constexpr size_t kRecordOverhead = 16;
  do {
    builder.append(std::nullopt, values.next(shape.record_bytes), {}, 1'700'000'000'000);
  } while (shape.records > 0 ? builder.record_count() < shape.records
                             : builder.uncompressed_size_bytes() + shape.record_bytes + kRecordOverhead <=
                                   shape.batch_bytes);
  PrebuiltBatch batch;
  batch.records = builder.record_count();
  auto built = builder.build();
  if (!built) throw std::runtime_error(built.error().message);
  batch.bytes = std::move(*built);
  return batch;
}

ProduceFrame make_produce_frame(const std::string& topic, std::span<const int32_t> partitions,
                                const PrebuiltBatch& batch) {
  Arena arena;
  ProduceRequest request;
  request.acks = -1;
  request.timeout_ms = 30'000;
  request.topic_data = arena.make_array<ProduceRequest::Topic>(1);
  request.topic_data[0].name = topic;
  request.topic_data[0].partition_data =
      arena.make_array<ProduceRequest::Topic::Partition>(partitions.size());
  for (size_t i = 0; i < partitions.size(); ++i) {
    request.topic_data[0].partition_data[i].index = partitions[i];
    request.topic_data[0].partition_data[i].records = protocol::Records::of(batch.bytes);
  }
  ProduceFrame frame;
  frame.bytes = make_frame(request, kProduceVersion);
  frame.batch_bytes = batch.bytes.size();
  frame.partitions.assign(partitions.begin(), partitions.end());
  frame.records = batch.records * static_cast<int64_t>(partitions.size());
  Bytes body;
  const Bytes without_length = Bytes(frame.bytes).subspan(kLengthSize);
  if (!protocol::decode_request_header(without_length, body)) throw std::runtime_error("no header");
  const auto decoded = protocol::decode<ProduceRequest>(body, kProduceVersion, arena);
  if (!decoded) throw std::runtime_error(decoded.error().message);
  for (const auto& partition : decoded->topic_data[0].partition_data) {
    frame.batches.push_back(static_cast<size_t>(partition.records.bytes->data() - frame.bytes.data()));
  }
  return frame;
}

void stamp(ProduceFrame& frame, int64_t producer_id, std::span<const int32_t> sequences) {
  for (size_t i = 0; i < frame.batches.size(); ++i) {
    const MutableBytes batch = MutableBytes(frame.bytes).subspan(frame.batches[i], frame.batch_bytes);
    auto header = protocol::peek_batch_header(batch);
    if (!header) throw std::runtime_error(header.error().message);
    header->producer_id = producer_id;
    header->producer_epoch = 0;
    header->base_sequence = sequences[i];
    protocol::write_batch_header(*header, batch);
    protocol::update_crc(batch);
  }
}

Buffer make_fetch_frame(const std::string& topic, std::span<const FetchPart> parts, int32_t max_wait_ms) {
  Arena arena;
  FetchRequest request;
  request.max_wait_ms = max_wait_ms;
  request.min_bytes = 1;
  request.max_bytes = kFetchMaxBytes;
  request.session_id = 0;
  request.session_epoch = -1;
  request.topics = arena.make_array<FetchRequest::Topic>(1);
  request.topics[0].topic = topic;
  request.topics[0].partitions = arena.make_array<FetchRequest::Topic::Partition>(parts.size());
  for (size_t i = 0; i < parts.size(); ++i) {
    auto& partition = request.topics[0].partitions[i];
    partition.partition = parts[i].partition;
    partition.fetch_offset = parts[i].offset;
    partition.partition_max_bytes = kPartitionMaxBytes;
  }
  return make_frame(request, kFetchVersion);
}

}  // namespace millrace::bench
