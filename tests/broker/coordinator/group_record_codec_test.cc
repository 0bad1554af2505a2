// The bytes here were written by Kafka 4.3.1's own classes.
#include "broker/coordinator/group_record_codec.h"

#include <catch2/catch.hpp>
#include <iterator>
#include <string>

#include "broker/coordinator/group_partitioning.h"
#include "tests/broker/coordinator/records_of.h"

namespace millrace::coordinator {
namespace {

std::string hex(Bytes bytes) {
  static constexpr std::string_view kDigits = "0123456789abcdef";
  std::string out;
  for (const std::byte byte : bytes) {
    out += kDigits[std::to_integer<size_t>(byte) >> 4];
    out += kDigits[std::to_integer<size_t>(byte) & 15];
  }
  return out;
}

Buffer unhex(std::string_view text) {
  Buffer out;
  for (size_t i = 0; i < text.size(); i += 2) {
    out.push_back(static_cast<std::byte>(std::stoi(std::string(text.substr(i, 2)), nullptr, 16)));
  }
  return out;
}

void check_both_ways(const GroupRecord& record, std::string_view key, std::string_view value) {
  protocol::Writer writer;
  const auto encoded = encode_record(record, writer);
  REQUIRE(encoded);
  CHECK(hex(encoded->key) == key);
  REQUIRE(encoded->value);
  CHECK(hex(*encoded->value) == value);
  const auto decoded = decode_record(encoded->key, encoded->value);
  REQUIRE(decoded);
  CHECK(*decoded == record);
}

constexpr std::string_view kCommitKey = "0001000367c3a90005746f70696300000007";
constexpr std::string_view kGroupKey = "0002000367c3a9";

StoredGroup stored_group() {
  return {"consumer",        5,
          "range",           "m-1",
          1'700'000'000'000, {{"m-1", "i", "c", "/127.0.0.1", 60'000, 10'000, unhex("0102"), unhex("03")}}};
}

TEST_CASE("a commit is written as Kafka writes it") {
  OffsetCommitRecord record{"g\xc3\xa9", "topic", 7, CommittedOffset{}};
  record.value->offset = 42;
  record.value->commit_timestamp_ms = 1'700'000'000'000;
  check_both_ways(record, kCommitKey, "0004000000000000002affffffff010000018bcfe5680000");
  record.value->leader_epoch = 3;
  record.value->metadata = "note";
  record.value->topic_id = Uuid::from_random(0, 0);
  for (size_t i = 0; i < 16; ++i) record.value->topic_id.bytes[i] = static_cast<std::byte>(i + 1);
  check_both_ways(
      record, kCommitKey,
      "0004000000000000002a00000003056e6f74650000018bcfe568000100100102030405060708090a0b0c0d0e0f10");
}

TEST_CASE("a commit with a retention of its own is written as version 1, which has a place for it") {
  OffsetCommitRecord record{"g\xc3\xa9", "topic", 7, CommittedOffset{}};
  record.value->offset = 42;
  record.value->metadata = "note";
  record.value->commit_timestamp_ms = 1'700'000'000'000;
  record.value->expire_timestamp_ms = 1'700'000'001'000;
  check_both_ways(record, kCommitKey, "0001000000000000002a00046e6f74650000018bcfe568000000018bcfe56be8");
}

TEST_CASE("what a request commits is written as its positions would be one by one") {
  const int64_t expire_ms = GENERATE(-1, 1'800'000'000'000);
  CommittedPositions commit{"g\xc3\xa9", 1'700'000'000'000, expire_ms, {}};
  commit.topics.push_back({"topic", {}, {}});
  commit.topics.push_back({std::string(300, 't'), Uuid::from_random(1, 2), {}});
  for (int32_t i = 0; i < 300; ++i) {
    constexpr int64_t kOffsets[] = {0, -1, INT64_MIN, INT64_MAX, -(int64_t{1} << 32), 0xffffffff, 42};
    const int64_t offset = kOffsets[i % std::size(kOffsets)];
    std::string metadata(i % 7 == 0 ? static_cast<size_t>(i) : 0, 'm');
    commit.topics[static_cast<size_t>(i % 2)].positions.push_back(
        {299 - i, i / 40 - 1, offset, std::move(metadata)});
  }
  protocol::BatchBuilder together;
  protocol::BatchBuilder one_by_one;
  protocol::Writer writer(0);
  REQUIRE(append_records(commit, together, 42, writer, 500));
  for (const GroupRecord& record : records_of(commit)) {
    const auto encoded = encode_record(record, writer, 500);
    REQUIRE(encoded);
    one_by_one.append(encoded->key, encoded->value, {}, 42);
  }
  CHECK(*together.build() == *one_by_one.build());
}

TEST_CASE("what a request commits is refused where the format can't hold it") {
  protocol::BatchBuilder batch;
  protocol::Writer writer;
  CommittedPositions commit{std::string(40'000, 'g'), 0, -1, {{"topic", {}, {{0, -1, 0, ""}}}}};
  CHECK_FALSE(append_records(commit, batch, 42, writer));
  commit.group = "g";
  commit.topics[0].positions.push_back({1, -1, 0, std::string(40'000, 'm')});
  CHECK_FALSE(append_records(commit, batch, 42, writer));
  CHECK(batch.record_count() == 1);
}

TEST_CASE("a group is written as Kafka writes it") {
  check_both_ways(GroupMetadataRecord{"g\xc3\xa9", stored_group()}, kGroupKey,
                  "00030008636f6e73756d657200000005000572616e676500036d2d310000018bcfe568000000000100036d2d31"
                  "00016900016300"
                  "0a2f3132372e302e302e310000ea60000027100000000201020000000103");
  check_both_ways(GroupMetadataRecord{"g\xc3\xa9", StoredGroup{"", 0, {}, {}, 1'700'000'000'000, {}}},
                  kGroupKey, "0003000000000000ffffffff0000018bcfe5680000000000");
}

TEST_CASE("the flexible version of a group is read too") {
  const auto decoded =
      decode_record(unhex(kGroupKey), unhex("000409636f6e73756d6572000000050672616e6765046d2d310000018bcfe568"
                                            "0002046d2d31026902630b2f3132372e302e302e31"
                                            "0000ea600000271003010202030000"));
  REQUIRE(decoded);
  CHECK(std::get<GroupMetadataRecord>(**decoded).value == stored_group());
}

TEST_CASE("tombstones have a key and no value") {
  const GroupRecord records[] = {OffsetCommitRecord{"g", "t", 1, {}}, GroupMetadataRecord{"g", {}}};
  protocol::Writer writer;
  for (const GroupRecord& record : records) {
    const auto encoded = encode_record(record, writer);
    REQUIRE(encoded);
    CHECK_FALSE(encoded->value);
    CHECK(*decode_record(encoded->key, std::nullopt) == record);
  }
}

TEST_CASE("records of consumer groups come back as they went") {
  const Uuid topic = Uuid::from_random(1, 2);
  MemberMetadata metadata;
  metadata.client_id = "client";
  metadata.client_host = "/127.0.0.1";
  metadata.topics = {"t", "u"};
  metadata.rebalance_timeout_ms = 1'000;
  MemberMetadata classic = metadata;
  classic.instance_id = "i";
  classic.rack_id = "r";
  classic.regex = "t.*";
  classic.assignor = "range";
  classic.classic = ClassicMembership{5'000, {{"range", unhex("0001")}}};
  const GroupRecord records[] = {
      ConsumerGroupEpochRecord{"g", ConsumerGroupEpochRecord::Value{7, -99}},
      ConsumerMemberRecord{"g", "m", metadata},
      ConsumerMemberRecord{"g", "m", classic},
      TargetEpochRecord{"g", TargetEpochRecord::Value{7, 123}},
      TargetMemberRecord{"g", "m", Assignment{{topic, {0, 2, 5}}}},
      CurrentAssignmentRecord{
          "g", "m",
          MemberAssignment{
              7, 6, MemberState::kUnrevokedPartitions, {{topic, {{0, 3}, {2, 7}}}}, {{topic, {{5, 1}}}}}},
      RegexRecord{"g", "t.*", ResolvedRegex{{"t", "u"}, 12, 34}},
      ConsumerGroupEpochRecord{"g", {}},
      ConsumerMemberRecord{"g", "m", {}},
      TargetEpochRecord{"g", {}},
      TargetMemberRecord{"g", "m", {}},
      CurrentAssignmentRecord{"g", "m", {}},
      RegexRecord{"g", "t.*", {}},
  };
  protocol::Writer writer;
  for (const GroupRecord& record : records) {
    INFO("kind " << record.index());
    const auto encoded = encode_record(record, writer);
    REQUIRE(encoded);
    const auto decoded = decode_record(encoded->key, encoded->value);
    REQUIRE(decoded);
    CHECK(*decoded == record);
  }
}

TEST_CASE("records of other kinds of groups are passed over, damaged ones are not") {
  const auto share_group = decode_record(unhex("000b0001"
                                               "67"),
                                         unhex("0000"));
  REQUIRE(share_group);
  CHECK_FALSE(share_group->has_value());
  CHECK_FALSE(decode_record(std::nullopt, std::nullopt));
  CHECK_FALSE(decode_record(unhex("00"), std::nullopt));
  CHECK_FALSE(decode_record(unhex("0001000567"), std::nullopt));
  CHECK_FALSE(decode_record(unhex(kGroupKey), unhex("0003")));
  CHECK_FALSE(decode_record(unhex(kGroupKey), unhex("0009000000")));
}

TEST_CASE("what the format can't hold is refused") {
  protocol::Writer writer;
  CHECK_FALSE(encode_record(GroupMetadataRecord{std::string(40'000, 'x'), {}}, writer));
}

TEST_CASE("groups are placed as Kafka places them") {
  using namespace std::string_view_literals;
  const std::pair<std::string_view, int32_t> hashes[] = {
      {"", 0},
      {"g", 103},
      {"group", 98629247},
      {"console-consumer-12345", 158455506},
      {"gr\xc3\xbcppe", -1233264812},
      {"\xf0\x9f\x98\x80x", 54959989},
      {"polygenelubricants", INT32_MIN},
      {"\xff\0\xc3"sv, 63042746},
      {"\xe2\x82\x41", 2031588},
      {"\xed\xa0\x80", 65533},
  };
  for (const auto& [text, hash] : hashes) {
    INFO(text);
    CHECK(java_hash(text) == hash);
  }
  CHECK(partition_of_group("group", 50) == 47);
  CHECK(partition_of_group("gr\xc3\xbcppe", 50) == 12);
  CHECK(partition_of_group("polygenelubricants", 50) == 0);
}

}  // namespace
}  // namespace millrace::coordinator
