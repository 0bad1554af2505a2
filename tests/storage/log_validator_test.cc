#include "storage/log_validator.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "protocol/batch_builder.h"

using namespace millrace;
using namespace millrace::protocol;
using namespace millrace::storage;

namespace {

constexpr int64_t kNow = 1'700'000'000'000;

ValidationOptions standard() {
  ValidationOptions options;
  options.now_ms = kNow;
  options.base_offset = 1000;
  options.leader_epoch = 5;
  options.partition_name = "t-0";
  return options;
}

BatchOptions with(Compression codec) {
  BatchOptions options;
  options.compression = codec;
  return options;
}

// Records with keys k0, k1... and these timestamps.
Buffer batch_of(const std::vector<int64_t>& timestamps, const BatchOptions& options = {}) {
  BatchBuilder builder(options);
  int i = 0;
  for (const int64_t timestamp : timestamps) {
    const std::string key = "k" + std::to_string(i++);
    builder.append(as_bytes(key), as_bytes("some value, some value"), {}, timestamp);
  }
  auto batch = builder.build();
  REQUIRE(batch);
  return *batch;
}

// Changes header fields and makes the CRC right again.
template <class Change>
Buffer patched(Buffer batch, const Change& change) {
  BatchHeader header = *peek_batch_header(batch);
  change(header);
  write_batch_header(header, batch);
  update_crc(batch);
  return batch;
}

ValidatedBatch accepted(Buffer& batch, const ValidationOptions& options) {
  auto result = validate_for_append(batch, options);
  INFO((result ? "" : result.error().message));
  REQUIRE(result);
  CHECK(crc_matches(result->bytes));
  CHECK(result->header.base_offset == options.base_offset);
  CHECK(result->header.partition_leader_epoch == options.leader_epoch);
  CHECK(result->header.size_bytes() == result->bytes.size());
  int32_t index = 0;
  const auto read = for_each_record(result->bytes, options.decompress_limit, [&](const RecordView& record) {
    CHECK(record.offset == options.base_offset + index++);
    return true;
  });
  CHECK(read);
  return std::move(*result);
}

AppendError refused(Buffer batch, const ValidationOptions& options) {
  auto result = validate_for_append(batch, options);
  REQUIRE_FALSE(result);
  return result.error();
}

}  // namespace

TEST_CASE("a good batch is used where it is, whatever its codec") {
  const auto codec = static_cast<Compression>(GENERATE(0, 1, 2, 3, 4));
  Buffer batch = batch_of({kNow - 5, kNow, kNow - 1}, with(codec));
  const auto result = accepted(batch, standard());
  CHECK(result.bytes.data() == batch.data());
  CHECK(result.rewritten.empty());
  CHECK(result.header.compression() == codec);
  CHECK(result.log_append_time_ms == -1);
  CHECK(result.max_timestamp_ms == kNow);
  CHECK(result.offset_of_max_timestamp == 1001);
  CHECK(result.header.last_offset() == 1002);
}

TEST_CASE("LogAppendTime overwrites the time and the type") {
  auto options = standard();
  options.timestamp_type = TimestampType::kLogAppendTime;
  const auto codec = static_cast<Compression>(GENERATE(0, 4));
  Buffer batch = batch_of({5, 6, 7}, with(codec));
  const auto result = accepted(batch, options);
  CHECK(result.log_append_time_ms == kNow);
  CHECK(result.header.timestamp_type() == TimestampType::kLogAppendTime);
  CHECK(result.header.max_timestamp_ms == kNow);
  CHECK(result.offset_of_max_timestamp == 1000);
  CHECK(for_each_record(result.bytes, 1000, [](const RecordView& record) {
    CHECK(record.timestamp_ms == kNow);
    return true;
  }));
}

TEST_CASE("a client's wrong max timestamp is put right") {
  Buffer batch = patched(batch_of({kNow - 2, kNow - 1}), [](auto& header) { header.max_timestamp_ms = 99; });
  CHECK(accepted(batch, standard()).header.max_timestamp_ms == kNow - 1);
}

TEST_CASE("compression.type makes a new batch of the same records") {
  const auto from = static_cast<Compression>(GENERATE(0, 1, 2, 3, 4));
  const auto to = static_cast<Compression>(GENERATE(0, 1, 2, 3, 4));
  BatchOptions made = with(from);
  made.producer_id = 77;
  made.producer_epoch = 2;
  made.base_sequence = 9;
  made.transactional = true;
  Buffer batch = batch_of({kNow, kNow - 10}, made);
  auto options = standard();
  options.compression = to;
  const auto result = accepted(batch, options);
  CHECK(result.rewritten.empty() == (from == to));
  CHECK(result.header.compression() == to);
  CHECK(result.header.producer_id == 77);
  CHECK(result.header.producer_epoch == 2);
  CHECK(result.header.base_sequence == 9);
  CHECK(result.header.is_transactional());
  CHECK(result.header.max_timestamp_ms == kNow);
}

TEST_CASE("timestamps out of range are refused record by record") {
  auto options = standard();
  options.timestamp_before_max_ms = 1000;
  options.timestamp_after_max_ms = 500;
  Buffer edge = batch_of({kNow - 1000, kNow + 500, kNoTimestamp});
  accepted(edge, options);
  const auto error = refused(batch_of({kNow, kNow - 1001, kNow + 501}), options);
  CHECK(error.code == ErrorCode::kInvalidTimestamp);
  CHECK(error.message == "One or more records have been rejected due to invalid timestamp");
  REQUIRE(error.record_errors.size() == 2);
  CHECK(error.record_errors[0].batch_index == 1);
  CHECK(error.record_errors[0].message ==
        "Timestamp 1699999998999 of message with offset 1 is out of range. The timestamp should be within "
        "[1699999999000, 1700000000500]");
  CHECK(error.record_errors[1].batch_index == 2);
}

TEST_CASE("LogAppendTime topics don't mind the client's timestamps, but its LogAppendTime") {
  auto options = standard();
  options.timestamp_type = TimestampType::kLogAppendTime;
  options.timestamp_before_max_ms = 0;
  Buffer old = batch_of({1});
  accepted(old, options);
  BatchOptions append_time;
  append_time.timestamp_type = TimestampType::kLogAppendTime;
  append_time.log_append_time_ms = kNow;
  const auto error = refused(batch_of({kNow}, append_time), options);
  CHECK(error.code == ErrorCode::kInvalidTimestamp);
  REQUIRE(error.record_errors.size() == 1);
  CHECK(error.record_errors[0].message ==
        "Invalid timestamp type in message DefaultRecord(offset=0, timestamp=1700000000000, key=2 bytes, "
        "value=22 "
        "bytes). Producer should not set timestamp type to LogAppendTime.");
}

TEST_CASE("a CreateTime topic takes the records' own time, whatever the header claims") {
  BatchOptions append_time;
  append_time.timestamp_type = TimestampType::kLogAppendTime;
  append_time.log_append_time_ms = 77;
  Buffer batch = batch_of({kNow - 3, kNow - 2}, append_time);
  const auto result = accepted(batch, standard());
  CHECK(result.header.timestamp_type() == TimestampType::kCreateTime);
  CHECK(result.header.max_timestamp_ms == kNow - 2);
  CHECK(result.offset_of_max_timestamp == 1001);
  append_time.log_append_time_ms = kNoTimestamp;
  CHECK(refused(batch_of({kNow}, append_time), standard()).code == ErrorCode::kInvalidTimestamp);
}

TEST_CASE("compacted topics need keys") {
  auto options = standard();
  options.compacted = true;
  BatchBuilder builder(with(static_cast<Compression>(GENERATE(0, 3))));
  builder.append(as_bytes("k"), as_bytes("v"), {}, kNow);
  for (int i = 0; i < 5; ++i) builder.append(std::nullopt, as_bytes("v"), {}, kNow);
  const auto error = refused(*builder.build(), options);
  CHECK(error.code == ErrorCode::kInvalidRecord);
  CHECK(error.record_errors.size() == 5);
  CHECK(error.record_errors[0].batch_index == 1);
  CHECK(error.record_errors[0].message ==
        "Compacted topic cannot accept message without key in topic partition t-0");
  CHECK_THAT(error.message, Catch::Contains("due to 5 record errors") && !Catch::Contains("batchIndex=4"));
}

TEST_CASE("headers that lie are refused") {
  const Buffer good = batch_of({kNow, kNow});
  const auto code = [&](const auto& change) { return refused(patched(good, change), standard()).code; };
  CHECK(code([](auto& h) { h.base_offset = 1; }) == ErrorCode::kInvalidRecord);
  CHECK(code([](auto& h) { h.last_offset_delta = -1; }) == ErrorCode::kInvalidRecord);
  CHECK(code([](auto& h) { h.last_offset_delta = 2; }) == ErrorCode::kInvalidRecord);
  CHECK(code([](auto& h) { h.record_count = 0; }) == ErrorCode::kInvalidRecord);
  CHECK(code([](auto& h) { h.record_count = -1; }) == ErrorCode::kInvalidRecord);
  CHECK(code([](auto& h) { h.record_count = 1, h.last_offset_delta = 0; }) == ErrorCode::kInvalidRecord);
  CHECK(code([](auto& h) { h.record_count = 3, h.last_offset_delta = 2; }) == ErrorCode::kInvalidRecord);
  CHECK(code([](auto& h) { h.record_count = INT32_MAX, h.last_offset_delta = INT32_MAX - 1; }) ==
        ErrorCode::kInvalidRecord);
  CHECK(code([](auto& h) { h.attributes |= 0x20; }) == ErrorCode::kInvalidRecord);
  CHECK(code([](auto& h) { h.attributes |= 6; }) == ErrorCode::kUnsupportedCompressionType);
  CHECK(code([](auto& h) { h.attributes |= 1; }) == ErrorCode::kInvalidRecord);
  CHECK(code([](auto& h) { h.producer_id = 3; }) == ErrorCode::kInvalidRecord);
  CHECK(code([](auto& h) { h.magic = 1; }) == ErrorCode::kInvalidRecord);
  CHECK(code([](auto& h) { h.magic = 3; }) == ErrorCode::kCorruptMessage);
  Buffer bad_crc = good;
  bad_crc.back() ^= std::byte{1};
  CHECK(refused(bad_crc, standard()).code == ErrorCode::kCorruptMessage);
}

TEST_CASE("a coordinator may write control batches, a client may not") {
  BatchOptions control;
  control.control = true;
  control.transactional = true;
  control.producer_id = 1;
  control.producer_epoch = 0;
  Buffer batch = batch_of({kNow}, control);
  CHECK(refused(batch, standard()).code == ErrorCode::kInvalidRecord);
  auto options = standard();
  options.origin = AppendOrigin::kCoordinator;
  options.compression = Compression::kZstd;
  CHECK(accepted(batch, options).rewritten.empty());
}

TEST_CASE("what a coordinator appends comes out as if each record had been looked at") {
  const Buffer made = batch_of({kNow, kNow, kNow});
  Buffer batch = made;
  Buffer looked_at = made;
  auto options = standard();
  options.compacted = true;
  options.compression = GENERATE(std::optional<Compression>(), Compression::kNone, Compression::kZstd);
  options.timestamp_type = GENERATE(TimestampType::kCreateTime, TimestampType::kLogAppendTime);
  const auto expected = accepted(looked_at, options);
  options.origin = AppendOrigin::kCoordinator;
  const auto result = accepted(batch, options);
  CHECK(as_text(result.bytes) == as_text(expected.bytes));
  CHECK(result.rewritten.empty() == expected.rewritten.empty());
  CHECK(result.header.record_count == expected.header.record_count);
  CHECK(result.log_append_time_ms == expected.log_append_time_ms);
  CHECK(result.max_timestamp_ms == expected.max_timestamp_ms);
  CHECK(result.offset_of_max_timestamp == expected.offset_of_max_timestamp);
  if (!options.compression || *options.compression == Compression::kNone) {
    Buffer unsound = made;
    unsound.back() ^= std::byte{1};
    const bool looks = options.timestamp_type == TimestampType::kLogAppendTime;
    CHECK(validate_for_append(unsound, options).has_value() == !looks);
  }
  options.segment_bytes = 100;
  CHECK(refused(made, options).code == ErrorCode::kRecordListTooLarge);
  options.max_message_bytes = 100;
  CHECK(refused(made, options).code == ErrorCode::kMessageTooLarge);
}

TEST_CASE("sizes are held to max.message.bytes and segment.bytes") {
  const Buffer batch = batch_of({kNow, kNow});
  auto options = standard();
  options.max_message_bytes = batch.size();
  options.segment_bytes = batch.size();
  Buffer fits = batch;
  accepted(fits, options);
  options.max_message_bytes = batch.size() - 1;
  CHECK(refused(batch, options).code == ErrorCode::kMessageTooLarge);
  options.max_message_bytes = batch.size();
  options.segment_bytes = batch.size() - 1;
  CHECK(refused(batch, options).code == ErrorCode::kRecordListTooLarge);
  // A compressed batch that fits as it came, but not as the topic wants it.
  const Buffer packed = batch_of(std::vector<int64_t>(200, kNow), with(Compression::kGzip));
  options = standard();
  options.max_message_bytes = packed.size();
  options.compression = Compression::kNone;
  CHECK(refused(packed, options).code == ErrorCode::kMessageTooLarge);
}

TEST_CASE("exactly one batch; an incomplete one behind it is cut off") {
  const Buffer one = batch_of({kNow});
  Buffer two = one;
  two.insert(two.end(), one.begin(), one.end());
  CHECK(refused(two, standard()).code == ErrorCode::kInvalidRecord);
  CHECK(validate_produce_records(two, 9).error().code == ErrorCode::kInvalidRecord);
  two.pop_back();
  CHECK(validate_produce_records(two, 9));
  CHECK(accepted(two, standard()).bytes.size() == one.size());
  for (size_t size = 0; size < one.size(); ++size) {
    const Buffer cut(one.begin(), one.begin() + static_cast<ptrdiff_t>(size));
    CHECK(refused(cut, standard()).code == ErrorCode::kInvalidRecord);
    CHECK(validate_produce_records(cut, 9).error().code == ErrorCode::kInvalidRecord);
  }
  CHECK(validate_produce_records(std::nullopt, 9).error().code == ErrorCode::kInvalidRecord);
}

TEST_CASE("zstd needs Produce 7") {
  const Buffer batch = batch_of({kNow}, with(Compression::kZstd));
  CHECK(validate_produce_records(batch, 6).error().code == ErrorCode::kUnsupportedCompressionType);
  CHECK(validate_produce_records(batch, 7));
}

TEST_CASE("offsets inside that don't follow each other are renumbered") {
  BatchBuilder builder(with(static_cast<Compression>(GENERATE(0, 2))));
  builder.append_at(1, as_bytes("a"), as_bytes("1"), {}, kNow);
  builder.append_at(0, as_bytes("b"), as_bytes("2"), {}, kNow);
  Buffer batch = patched(*builder.build(), [](auto& header) { header.last_offset_delta = 1; });
  CHECK_FALSE(accepted(batch, standard()).rewritten.empty());
}

TEST_CASE("a bomb is refused without being unpacked") {
  BatchBuilder builder(with(static_cast<Compression>(GENERATE(1, 2, 3, 4))));
  const std::string zeros(10 << 20, '\0');
  builder.append(std::nullopt, as_bytes(zeros), {}, kNow);
  auto options = standard();
  options.decompress_limit = 1 << 20;
  CHECK(refused(*builder.build(), options).code == ErrorCode::kMessageTooLarge);
}
