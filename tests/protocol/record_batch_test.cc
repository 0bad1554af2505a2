#include "protocol/record_batch.h"

#include <catch2/catch.hpp>
#include <fstream>
#include <map>
#include <random>
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

// Lines of "name hex" as committed in tests/protocol/data; the tests run in tests/.
std::map<std::string, Buffer> samples(const std::string& file) {
  std::ifstream in("protocol/data/" + file);
  std::map<std::string, Buffer> found;
  std::string name, hex;
  while (in >> name >> hex) {
    Buffer bytes;
    for (size_t i = 0; i < hex.size(); i += 2) {
      bytes.push_back(static_cast<std::byte>(std::stoi(hex.substr(i, 2), nullptr, 16)));
    }
    found[name] = bytes;
  }
  return found;
}

std::string repeated(const std::string& text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += text;
  return all;
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

TEST_CASE("a builder makes one batch after the other, large or small, compressed or not") {
  const auto rows_from = [](int count, size_t size) {
    std::vector<Row> rows;
    for (int i = 0; i < count; ++i)
      rows.push_back({i, 1'700'000'000'000 + i, "k", std::string(size, static_cast<char>('a' + i % 26)), {}});
    return rows;
  };
  const std::vector<std::vector<Row>> contents = {
      rows_from(100, 500), rows_from(1, 3), {}, rows_from(7, 40), rows_from(300, 100)};
  BatchBuilder builder;
  for (const Compression codec :
       {Compression::kNone, Compression::kLz4, Compression::kNone, Compression::kZstd}) {
    const BatchOptions options{.compression = codec};
    builder.set_options(options);
    for (const std::vector<Row>& rows : contents) {
      const auto fill = [&] {
        for (const Row& row : rows)
          builder.append(as_bytes(*row.key), as_bytes(*row.value), {}, row.timestamp_ms);
      };
      const Buffer expected = build(options, rows);
      fill();
      CHECK(builder.build() == expected);
      CHECK(builder.empty());
      CHECK(builder.uncompressed_size_bytes() == BatchHeader::kSize);
      fill();
      const auto in_place = builder.build_in_place();
      REQUIRE(in_place);
      CHECK(std::ranges::equal(*in_place, expected));
    }
  }
  CHECK(builder.capacity_bytes() > 100 * 500);
}

TEST_CASE("batches of Kafka's own encoder read as they were written") {
  const auto batches = samples("java_batches.txt");
  REQUIRE(batches.size() == 8);
  for (const auto& [name, batch] : batches) {
    INFO(name);
    const auto header = read_batch_header(batch);
    REQUIRE(header);
    CHECK(header->size_bytes() == batch.size());
    CHECK(crc_matches(batch));
    CHECK(header->base_offset == 10);
    CHECK(header->partition_leader_epoch == 6);
    CHECK(header->producer_id == 4000);
    CHECK(header->producer_epoch == 3);
    if (name == "commit") {
      CHECK(header->is_control());
      CHECK(header->is_transactional());
      const auto rows = rows_of(batch);
      REQUIRE(rows.size() == 1);
      CHECK(rows[0].key == std::string("\0\0\0\1", 4));
      continue;
    }
    CHECK(header->base_sequence == 21);
    const bool append_time = name == "append-time";
    CHECK((header->timestamp_type() == TimestampType::kLogAppendTime) == append_time);
    if (const auto codec = compression_by_name(name)) CHECK(header->compression() == *codec);
    std::vector<Row> expected;
    for (int i = 0; i < 40; ++i) {
      Row row{10 + i,
              append_time ? 1'700'000'009'999 : 1'700'000'000'000 + i * 7,
              "key-" + std::to_string(i),
              repeated("value ", i * (name == "snappy-blocks" ? 20 : 2)),
              {}};
      if (i % 3 == 0) row.key.reset();
      if (i % 5 == 4) row.value.reset();
      for (int h = 0; h < i % 4; ++h) {
        row.headers.emplace_back("h" + std::to_string(h), std::string(1, static_cast<char>(i)));
        if (h == 1) row.headers.back().second.reset();
      }
      expected.push_back(row);
    }
    CHECK(rows_of(batch) == expected);
  }
}

TEST_CASE("batches of librdkafka read as they were written") {
  const auto batches = samples("librdkafka_batches.txt");
  REQUIRE(batches.size() == 5);
  for (const auto& [name, batch] : batches) {
    INFO(name);
    CHECK(crc_matches(batch));
    const auto rows = rows_of(batch);
    REQUIRE(rows.size() == 20);
    for (int i = 0; i < 20; ++i) {
      CHECK(rows[i].offset == i);
      CHECK(rows[i].key == "key-" + std::to_string(i));
      CHECK(rows[i].value == repeated("value ", i));
      REQUIRE(rows[i].headers.size() == 1);
      CHECK(rows[i].headers[0].first == "h");
      CHECK(rows[i].headers[0].second == "1");
    }
  }
}

TEST_CASE("uncompressed batches come out byte for byte as Kafka's encoder makes them") {
  const auto batches = samples("java_batches.txt");
  for (const std::string name : {"none", "append-time"}) {
    BatchOptions options;
    options.base_offset = 10;
    options.partition_leader_epoch = 6;
    options.producer_id = 4000;
    options.producer_epoch = 3;
    options.base_sequence = 21;
    auto rows = rows_of(batches.at(name));
    if (name == "append-time") {
      options.timestamp_type = TimestampType::kLogAppendTime;
      options.log_append_time_ms = 1'700'000'009'999;
      for (int i = 0; i < 40; ++i) rows[i].timestamp_ms = 1'700'000'000'000 + i * 7;
    }
    CHECK(build(options, rows) == batches.at(name));
  }
}

TEST_CASE("a batch cut anywhere is not a batch") {
  BatchOptions options;
  options.compression = static_cast<Compression>(GENERATE(0, 1, 2, 3, 4));
  const Buffer batch = build(options, kRows);
  for (size_t size = 0; size < batch.size(); ++size) {
    const Buffer cut(batch.begin(), batch.begin() + static_cast<ptrdiff_t>(size));
    const auto header = read_batch_header(cut);
    REQUIRE_FALSE(header);
    REQUIRE(header.error().code == ErrorCode::kCorruptMessage);
    const auto gone = for_each_batch(cut, [](const BatchHeader&, Bytes) { return true; });
    REQUIRE(gone);
    REQUIRE(*gone == 0);
  }
}

TEST_CASE("records cut anywhere are an error, with every codec") {
  BatchOptions options;
  options.compression = static_cast<Compression>(GENERATE(0, 1, 2, 3, 4));
  const Buffer batch = build(options, kRows);
  for (size_t size = BatchHeader::kSize; size < batch.size(); ++size) {
    Buffer cut(batch.begin(), batch.begin() + static_cast<ptrdiff_t>(size));
    BatchHeader header = *peek_batch_header(cut);
    header.batch_length = static_cast<int32_t>(size - BatchHeader::kLengthOverhead);
    write_batch_header(header, cut);
    const auto read = for_each_record(cut, kLimit, [](const RecordView&) { return true; });
    REQUIRE_FALSE(read);
    REQUIRE(read.error().code == ErrorCode::kInvalidRecord);
  }
}

TEST_CASE("the CRC catches every flipped bit that it covers, and only those") {
  const Buffer batch = build({}, kRows);
  constexpr size_t kFirstCovered = 21, kCrcAt = 17;
  for (size_t bit = 0; bit < batch.size() * 8; ++bit) {
    const size_t at = bit / 8;
    if (at >= 8 && at < BatchHeader::kLengthOverhead) continue;  // the length says what the CRC covers
    Buffer flipped = batch;
    flipped[at] ^= static_cast<std::byte>(1 << bit % 8);
    REQUIRE(crc_matches(flipped) == (at < kCrcAt));
  }
  static_assert(kFirstCovered == kCrcAt + sizeof(uint32_t));
}

TEST_CASE("header fields can be changed in place") {
  Buffer batch = build({}, kRows);
  set_base_offset(batch, 1'000'000'000'000);
  set_partition_leader_epoch(batch, 17);
  CHECK(crc_matches(batch));
  set_log_append_time(batch, 1'800'000'000'000);
  CHECK(crc_matches(batch));
  auto header = *read_batch_header(batch);
  CHECK(header.base_offset == 1'000'000'000'000);
  CHECK(header.partition_leader_epoch == 17);
  CHECK(header.timestamp_type() == TimestampType::kLogAppendTime);
  for (const Row& row : rows_of(batch)) CHECK(row.timestamp_ms == 1'800'000'000'000);
  set_max_timestamp(batch, TimestampType::kCreateTime, 1'700'000'000'500);
  CHECK(crc_matches(batch));
  auto expected = kRows;
  for (size_t i = 0; i < expected.size(); ++i)
    expected[i].offset = 1'000'000'000'000 + static_cast<int64_t>(i);
  CHECK(rows_of(batch) == expected);
}

TEST_CASE("headers keep all their fields, also the odd ones") {
  BatchHeader header;
  header.base_offset = INT64_MIN;
  header.batch_length = 49;
  header.partition_leader_epoch = INT32_MIN;
  header.crc = 0xdeadbeef;
  header.attributes = INT16_MIN;
  header.last_offset_delta = INT32_MIN;
  header.base_timestamp_ms = INT64_MAX;
  header.max_timestamp_ms = INT64_MIN;
  header.producer_id = INT64_MAX;
  header.producer_epoch = INT16_MAX;
  header.base_sequence = INT32_MAX;
  header.record_count = INT32_MIN;
  Buffer bytes(BatchHeader::kSize);
  write_batch_header(header, bytes);
  const auto back = read_batch_header(bytes);
  REQUIRE(back);
  Buffer again(BatchHeader::kSize);
  write_batch_header(*back, again);
  CHECK(again == bytes);
  CHECK(back->producer_epoch == INT16_MAX);
  CHECK(back->last_offset() == INT64_MAX - INT32_MAX);  // wrapped
}

TEST_CASE("sequence numbers start again after the last") {
  BatchHeader header;
  header.base_sequence = INT32_MAX - 1;
  header.last_offset_delta = 1;
  CHECK(header.last_sequence() == INT32_MAX);
  header.last_offset_delta = 2;
  CHECK(header.last_sequence() == 0);
  header.last_offset_delta = 12;
  CHECK(header.last_sequence() == 10);
  header.base_sequence = kNoSequence;
  CHECK(header.last_sequence() == kNoSequence);
}

TEST_CASE("batches are walked one by one up to an incomplete one") {
  Buffer all;
  for (int i = 0; i < 3; ++i) {
    BatchOptions options;
    options.base_offset = i * 4;
    const Buffer batch = build(options, kRows);
    all.insert(all.end(), batch.begin(), batch.end());
  }
  const size_t whole = all.size();
  const Buffer part = build({}, kRows);
  all.insert(all.end(), part.begin(), part.end() - 1);
  std::vector<int64_t> offsets;
  const auto gone = for_each_batch(all, [&](const BatchHeader& header, Bytes batch) {
    CHECK(batch.size() == header.size_bytes());
    offsets.push_back(header.base_offset);
    return true;
  });
  REQUIRE(gone);
  CHECK(*gone == whole);
  CHECK(offsets == std::vector<int64_t>{0, 4, 8});
  all[16] = std::byte{1};
  CHECK_FALSE(for_each_batch(all, [](const BatchHeader&, Bytes) { return true; }));
}

TEST_CASE("random batches survive the round trip") {
  std::mt19937_64 random(7);
  const auto text_of = [&](size_t limit) -> std::optional<std::string> {
    if (random() % 5 == 0) return std::nullopt;
    std::string text(random() % limit, '\0');
    for (char& c : text) c = static_cast<char>(random() % 3 == 0 ? random() : 'a');
    return text;
  };
  for (int round = 0; round < 200; ++round) {
    BatchOptions options;
    options.compression = static_cast<Compression>(random() % 5);
    options.base_offset = static_cast<int64_t>(random() >> 2);
    std::vector<Row> rows(1 + random() % 30);
    for (size_t i = 0; i < rows.size(); ++i) {
      rows[i] = {options.base_offset + static_cast<int64_t>(i),
                 static_cast<int64_t>(random()),
                 text_of(20),
                 text_of(3000),
                 {}};
      for (size_t h = random() % 3; h > 0; --h)
        rows[i].headers.emplace_back(text_of(9).value_or("n"), text_of(9));
    }
    const Buffer batch = build(options, rows);
    REQUIRE(crc_matches(batch));
    REQUIRE(rows_of(batch) == rows);
  }
}

TEST_CASE("a copy of a record is one that was appended like it") {
  BatchBuilder copying;
  BatchBuilder appending;
  const std::optional<std::string> key = GENERATE(std::optional<std::string>(), "", "key 00");
  const std::optional<std::string> value = GENERATE(std::optional<std::string>(), std::string(200, 'v'));
  const auto bytes = [](const auto& of) { return of ? std::optional(as_bytes(*of)) : std::nullopt; };
  const RecordHeader header{"name", as_bytes("text")};
  const auto append = [&](BatchBuilder& to) { to.append(bytes(key), bytes(value), {&header, 1}, 5); };
  append(copying);
  int longer = 0;
  for (int i = 0; i < 20'000; ++i) {
    append(appending);
    if (i > 0 && !copying.append_copy()) {
      ++longer;
      append(copying);
    }
  }
  CHECK(longer == 2);  // offset deltas of two and of three bytes
  CHECK(*copying.build() == *appending.build());
}

TEST_CASE("the key and the value of a copy can be changed in place") {
  BatchBuilder builder;
  builder.append(as_bytes("key 0"), as_bytes("value 0"), {}, 5);
  for (int i = 1; i < 10; ++i) {
    const auto copy = builder.append_copy();
    REQUIRE(copy);
    copy->key.back() = copy->value.back() = static_cast<std::byte>('0' + i);
  }
  const auto rows = rows_of(*builder.build());
  REQUIRE(rows.size() == 10);
  for (int i = 0; i < 10; ++i) {
    CHECK(rows[static_cast<size_t>(i)] ==
          Row{i, 5, "key " + std::to_string(i), "value " + std::to_string(i), {}});
  }
}
