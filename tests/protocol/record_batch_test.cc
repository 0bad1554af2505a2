#include "protocol/record_batch.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "protocol/batch_builder.h"

using namespace millrace;
using namespace millrace::protocol;

namespace {

constexpr size_t kLimit = size_t{1} << 20;

struct Row {
  int64_t offset;
  int64_t timestamp_ms;
  std::optional<std::string> key, value;
  std::vector<std::pair<std::string, std::optional<std::string>>> headers;
  bool operator==(const Row&) const = default;
};

std::optional<std::string> text(const std::optional<Bytes>& bytes) {
  if (!bytes) return std::nullopt;
  return std::string(as_text(*bytes));
}

std::vector<Row> rows_of(Bytes batch) {
  std::vector<Row> rows;
  const auto done = for_each_record(batch, kLimit, [&](const RecordView& record) {
    Row row{record.offset, record.timestamp_ms, text(record.key), text(record.value), {}};
    for (const auto& header : record.headers) row.headers.emplace_back(header.key, text(header.value));
    rows.push_back(row);
    return true;
  });
  INFO((done ? "" : done.error().message));
  REQUIRE(done);
  return rows;
}

Buffer build(const BatchOptions& options, const std::vector<Row>& rows) {
  BatchBuilder builder(options);
  for (const Row& row : rows) {
    std::vector<RecordHeader> headers;
    for (const auto& [key, value] : row.headers) {
      headers.push_back({key, value ? std::optional(as_bytes(*value)) : std::nullopt});
    }
    builder.append(row.key ? std::optional(as_bytes(*row.key)) : std::nullopt,
                   row.value ? std::optional(as_bytes(*row.value)) : std::nullopt, headers, row.timestamp_ms);
  }
  auto batch = builder.build();
  REQUIRE(batch);
  return *batch;
}

const std::vector<Row> kRows = {
    {100, 1'700'000'000'000, "key", "value", {}},
    {101, 1'700'000'000'500, std::nullopt, "no key", {{"h", "1"}, {"", std::nullopt}}},
    {102, 1'699'999'999'000, "tombstone", std::nullopt, {}},
    {103, -1, "", std::string(5000, 'x'), {{"long", std::string(300, 'y')}}},
};

}  // namespace

TEST_CASE("a batch reads back as it was built, with every codec") {
  const auto codec = static_cast<Compression>(GENERATE(0, 1, 2, 3, 4));
  INFO(compression_name(codec));
  BatchOptions options;
  options.base_offset = 100;
  options.compression = codec;
  options.producer_id = 42;
  options.producer_epoch = 3;
  options.base_sequence = 7;
  options.transactional = true;
  const Buffer batch = build(options, kRows);
  CHECK(rows_of(batch) == kRows);
  CHECK(crc_matches(batch));
  const auto header = read_batch_header(batch);
  REQUIRE(header);
  CHECK(header->size_bytes() == batch.size());
  CHECK(header->compression() == codec);
  CHECK(header->timestamp_type() == TimestampType::kCreateTime);
  CHECK(header->is_transactional());
  CHECK_FALSE(header->is_control());
  CHECK(header->last_offset() == 103);
  CHECK(header->last_sequence() == 10);
  CHECK(header->max_timestamp_ms == 1'700'000'000'500);
  CHECK(header->producer_id == 42);
  CHECK(header->producer_epoch == 3);
  CHECK(header->record_count == 4);
}
