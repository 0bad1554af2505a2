// Any bytes as produced records. What the validator takes must be a batch that the log may hold, and the
// validator must take it again as it is.
#include <algorithm>

#include "storage/log_validator.h"
#include "tests/fuzz/batch_input.h"
#include "tests/fuzz/fuzz.h"

using namespace millrace;
using namespace millrace::protocol;
using namespace millrace::storage;

namespace {

constexpr size_t kLimit = size_t{1} << 16;

ValidationOptions options_of(uint8_t bits) {
  ValidationOptions options;
  options.now_ms = 1'700'000'000'500;
  options.base_offset = 1'000'000;
  options.leader_epoch = 3;
  options.partition_name = "fuzz-0";
  options.decompress_limit = kLimit;
  if ((bits & 0x01) != 0) options.timestamp_type = TimestampType::kLogAppendTime;
  if ((bits & 0x02) != 0) options.compacted = true;
  if ((bits & 0x04) != 0) options.timestamp_before_max_ms = 1000;
  if ((bits & 0x08) != 0) options.segment_bytes = 200;
  const int codec = bits >> 4 & 7;
  if (codec <= 4) options.compression = static_cast<Compression>(codec);
  if ((bits & 0x80) != 0) options.max_message_bytes = 120;
  return options;
}

void check_accepted(const ValidatedBatch& result, const ValidationOptions& options) {
  const BatchHeader& header = result.header;
  FUZZ_CHECK(crc_matches(result.bytes));
  FUZZ_CHECK(result.bytes.size() == header.size_bytes());
  FUZZ_CHECK(result.bytes.size() <= std::min(options.max_message_bytes, options.segment_bytes));
  FUZZ_CHECK(header.base_offset == options.base_offset);
  FUZZ_CHECK(header.partition_leader_epoch == options.leader_epoch);
  FUZZ_CHECK(header.last_offset_delta + 1 == header.record_count);
  FUZZ_CHECK(header.timestamp_type() == options.timestamp_type);
  FUZZ_CHECK(!header.is_control());
  int32_t index = 0;
  int64_t max_timestamp_ms = -1;
  FUZZ_CHECK(for_each_record(result.bytes, kLimit, [&](const RecordView& record) {
    FUZZ_CHECK(record.offset == options.base_offset + index);
    FUZZ_CHECK(!options.compacted || record.key);
    if (record.timestamp_ms > max_timestamp_ms) {
      max_timestamp_ms = record.timestamp_ms;
      FUZZ_CHECK(max_timestamp_ms != header.max_timestamp_ms ||
                 record.offset == result.offset_of_max_timestamp);
    }
    ++index;
    return true;
  }));
  FUZZ_CHECK(max_timestamp_ms == header.max_timestamp_ms);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const ValidationOptions options = options_of(data[0]);
  Buffer records = fuzz::batch_of_input(std::as_bytes(std::span(data + 1, size - 1)));
  const bool takes_request = validate_produce_records(records, 9).has_value();
  const auto result = validate_for_append(records, options);
  if (!result) return 0;
  FUZZ_CHECK(takes_request);
  check_accepted(*result, options);
  // Its own LogAppendTime is one that a producer must not send.
  if (options.timestamp_type == TimestampType::kLogAppendTime) return 0;
  Buffer again(result->bytes.begin(), result->bytes.end());
  set_base_offset(again, 0);
  const auto second = validate_for_append(again, options);
  FUZZ_CHECK(second && second->rewritten.empty());
  FUZZ_CHECK(as_text(second->bytes) == as_text(result->bytes));
  return 0;
}

std::vector<Buffer> fuzz::seeds() {
  std::vector<Buffer> found;
  for (const auto& batch : batch_seeds()) {
    for (const int options : {0x70, 0x01, 0x46, 0x28}) {
      Buffer input = batch;
      input.insert(input.begin(), static_cast<std::byte>(options));
      found.push_back(std::move(input));
    }
  }
  return found;
}
