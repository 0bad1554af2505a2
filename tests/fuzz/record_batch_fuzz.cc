// Any bytes as record batches: headers, iteration, all codecs. What reads well must come out of the builder
// and read the same again.
#include "protocol/batch_builder.h"
#include "protocol/record_batch.h"
#include "tests/fuzz/batch_input.h"
#include "tests/fuzz/fuzz.h"

using namespace millrace;
using namespace millrace::protocol;

namespace {

constexpr size_t kLimit = size_t{1} << 16;

bool same(const RecordView& a, const RecordView& b) {
  const auto equal = [](const std::optional<Bytes>& x, const std::optional<Bytes>& y) {
    return x.has_value() == y.has_value() && (!x || as_text(*x) == as_text(*y));
  };
  if (a.offset_delta != b.offset_delta || a.timestamp_ms != b.timestamp_ms) return false;
  if (!equal(a.key, b.key) || !equal(a.value, b.value) || a.headers.size() != b.headers.size()) return false;
  for (size_t i = 0; i < a.headers.size(); ++i) {
    if (a.headers[i].key != b.headers[i].key || !equal(a.headers[i].value, b.headers[i].value)) return false;
  }
  return true;
}

void check_rebuilt(Bytes batch, const BatchHeader& header) {
  BatchBuilder builder;
  // Kept beyond the callback by value: only uncompressed batches stay in memory, so compare while reading
  // again.
  const auto read = for_each_record(batch, kLimit, [&](const RecordView& record) {
    builder.append_at(record.offset_delta, record.key, record.value, record.headers, record.timestamp_ms);
    return true;
  });
  if (!read || builder.empty()) return;
  FUZZ_CHECK(builder.record_count() == header.record_count);
  const Buffer rebuilt = *builder.build();
  FUZZ_CHECK(crc_matches(rebuilt));
  // Both side by side: `next` walks the rebuilt one up to the record that the outer walk is at.
  int32_t index = 0;
  FUZZ_CHECK(for_each_record(batch, kLimit, [&](const RecordView& record) {
    int32_t at = 0;
    bool found = false;
    FUZZ_CHECK(for_each_record(rebuilt, kLimit, [&](const RecordView& other) {
      if (at++ != index) return true;
      found = same(record, other);
      return false;
    }));
    FUZZ_CHECK(found);
    return ++index < 20;
  }));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const Buffer batch = fuzz::batch_of_input(std::as_bytes(std::span(data, size)));
  const auto gone = for_each_batch(batch, [&](const BatchHeader& header, Bytes one) {
    FUZZ_CHECK(one.size() == header.size_bytes());
    check_rebuilt(one, header);
    return true;
  });
  FUZZ_CHECK(!gone || *gone <= batch.size());
  Buffer changed = batch;
  if (read_batch_header(changed)) {
    crc_matches(changed);
    set_log_append_time(changed, 12345);
    FUZZ_CHECK(peek_batch_header(changed)->max_timestamp_ms == 12345);
  }
  return 0;
}

std::vector<Buffer> fuzz::seeds() { return batch_seeds(); }
