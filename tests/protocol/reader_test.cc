// What a peer may send against what a reader takes: lengths, counts and tags that lie.
#include "protocol/reader.h"

#include <catch2/catch.hpp>
#include <limits>

#include "protocol/messages/fetch.h"
#include "protocol/messages/metadata.h"
#include "protocol/messages/produce.h"
#include "protocol/varint.h"
#include "protocol/writer.h"

using namespace millrace;
using namespace millrace::protocol;

namespace {

// Spells out the bytes of a message by hand.
struct Frame {
  Writer out;
  template <class Integer>
  Frame& add(Integer value) {
    out.integer(value);
    return *this;
  }
  Frame& varint(uint32_t value) {
    out.uvarint(value);
    return *this;
  }
  Frame& text(std::string_view value) {
    out.append(as_bytes(value));
    return *this;
  }
};

template <class Message>
Result<Message> decode_bounded(const Frame& frame, int16_t version, Arena& arena) {
  return decode<Message>(frame.out.written(), version, arena);
}

template <class Message>
void expect_refused(const Frame& frame, int16_t version, const std::string& words) {
  Arena arena(Arena::limit_for_frame(frame.out.size()));
  const auto decoded = decode_bounded<Message>(frame, version, arena);
  REQUIRE_FALSE(decoded);
  CHECK(decoded.error().code == ErrorCode::kInvalidRequest);
  CHECK_THAT(decoded.error().message, Catch::Contains(words));
  // Whatever was promised, nothing near it was allocated.
  CHECK(arena.used() <= Arena::limit_for_frame(frame.out.size()));
}

}  // namespace

TEST_CASE("an array count is bounded by the bytes that are left", "[reader]") {
  SECTION("old encoding") {
    // Three bytes are left; the smallest topic has two.
    expect_refused<MetadataRequest>(Frame().add(int32_t{2}).text("abc"), 0, "more elements");
    expect_refused<MetadataRequest>(Frame().add(std::numeric_limits<int32_t>::max()).text("abc"), 0,
                                    "more elements");
  }
  SECTION("compact encoding") {
    expect_refused<MetadataRequest>(Frame().varint(0xffffffff).text("abcdefgh"), 9, "more elements");
  }
  SECTION("exactly as many as fit") {
    Frame frame;
    frame.add(int32_t{3}).add(int16_t{0}).add(int16_t{0}).add(int16_t{0});
    Arena arena(Arena::limit_for_frame(frame.out.size()));
    const auto decoded = decode_bounded<MetadataRequest>(frame, 0, arena);
    REQUIRE(decoded);
    CHECK(decoded->topics->size() == 3);
  }
}

TEST_CASE("negative lengths are refused, except for null where it may be", "[reader]") {
  expect_refused<MetadataRequest>(Frame().add(int32_t{-1}), 0, "null where an array");
  expect_refused<MetadataRequest>(Frame().add(int32_t{-2147483647}), 0, "null where an array");
  expect_refused<MetadataRequest>(Frame().add(int32_t{1}).add(int16_t{-1}).add(int32_t{0}), 0,
                                  "null where a string");
  expect_refused<MetadataRequest>(Frame().add(int32_t{1}).add(int16_t{-9}).add(int32_t{0}), 0,
                                  "null where a string");
  Arena arena;
  const auto all = decode_bounded<MetadataRequest>(Frame().add(int32_t{-1}), 1, arena);
  REQUIRE(all);
  CHECK_FALSE(all->topics);
}

TEST_CASE("a string ends within the message and below 32768 bytes", "[reader]") {
  expect_refused<MetadataRequest>(Frame().add(int32_t{1}).add(int16_t{5}).text("abcd"), 0, "beyond the end");
  Frame longest;
  longest.varint(2).varint(0x7fff + 1).text(std::string(0x7fff, 'x')).varint(0).add(int8_t{0}).add(int8_t{0});
  longest.add(int8_t{0}).varint(0);
  Arena arena;
  CHECK(decode_bounded<MetadataRequest>(longest, 9, arena));
  Frame longer;
  longer.varint(2).varint(0x8000 + 1).text(std::string(0x8000, 'x'));
  expect_refused<MetadataRequest>(longer, 9, "longer than 32767");
}

TEST_CASE("what is wrong is told with the field where it begins", "[reader]") {
  Frame frame;
  frame.add(int16_t{-1}).add(int16_t{1}).add(int32_t{1000}).add(int32_t{1}).add(int16_t{9}).text("cut off");
  expect_refused<ProduceRequest>(frame, 3, "after field name ");
}

TEST_CASE("records end within the message", "[reader]") {
  Frame frame;
  frame.add(int16_t{-1}).add(int16_t{1}).add(int32_t{1000}).add(int32_t{1}).add(int16_t{0});
  frame.add(int32_t{1}).add(int32_t{0}).add(int32_t{2147483647}).text("batch");
  expect_refused<ProduceRequest>(frame, 3, "beyond the end");
}

namespace {

// A flexible Metadata request for no topics, up to its tagged fields.
Frame metadata_before_tags() {
  Frame frame;
  frame.varint(1).add(int8_t{0}).add(int8_t{0});
  return frame;
}

}  // namespace

TEST_CASE("unknown tagged fields are passed over", "[reader]") {
  Frame frame = metadata_before_tags();
  frame.varint(2).varint(7).varint(3).text("abc").varint(1000).varint(0);
  Arena arena;
  CHECK(decode_bounded<MetadataRequest>(frame, 11, arena));
}

TEST_CASE("a flood of tagged fields is refused", "[reader]") {
  SECTION("more than a struct may have") {
    Frame frame = metadata_before_tags();
    frame.varint(kMaxTaggedFields + 1);
    for (uint32_t tag = 0; tag <= kMaxTaggedFields; ++tag) frame.varint(tag).varint(0);
    expect_refused<MetadataRequest>(frame, 11, "too many tagged fields");
  }
  SECTION("the same one again and again") {
    Frame frame = metadata_before_tags();
    frame.varint(2).varint(5).varint(0).varint(5).varint(0);
    expect_refused<MetadataRequest>(frame, 11, "out of order");
  }
  SECTION("more than there are bytes") {
    Frame frame = metadata_before_tags();
    frame.varint(200);
    expect_refused<MetadataRequest>(frame, 11, "cut off");
  }
  SECTION("longer than the message") {
    Frame frame = metadata_before_tags();
    frame.varint(1).varint(5).varint(0xffffffff);
    expect_refused<MetadataRequest>(frame, 11, "longer than the message");
  }
}

TEST_CASE("a known tagged field fills its size exactly", "[reader]") {
  // Fetch's cluster_id has tag 0.
  const auto fetch = [](auto fill) {
    Frame frame;
    frame.add(int32_t{-1}).add(int32_t{0}).add(int32_t{0}).add(int32_t{0}).add(int8_t{0}).add(int32_t{0});
    frame.add(int32_t{-1}).varint(1).varint(1).varint(1).varint(1).varint(0);
    fill(frame);
    return frame;
  };
  Arena arena;
  const Frame exact = fetch([](Frame& frame) { frame.varint(3).varint(3).text("ab"); });
  const auto decoded = decode_bounded<FetchRequest>(exact, 12, arena);
  REQUIRE(decoded);
  CHECK(decoded->cluster_id == "ab");
  expect_refused<FetchRequest>(fetch([](Frame& frame) { frame.varint(4).varint(3).text("abc"); }), 12,
                               "longer than its value");
  expect_refused<FetchRequest>(fetch([](Frame& frame) { frame.varint(2).varint(3).text("ab"); }), 12,
                               "beyond the end");
}

TEST_CASE("the arena's limit ends a message that grows too much in memory", "[reader]") {
  Frame frame;
  frame.add(int32_t{1000});
  for (int i = 0; i < 1000; ++i) frame.add(int16_t{0});
  Arena small(1000);
  const auto refused = decode_bounded<MetadataRequest>(frame, 0, small);
  REQUIRE_FALSE(refused);
  CHECK_THAT(refused.error().message, Catch::Contains("more elements than a message may have"));
  Arena suitable(Arena::limit_for_frame(frame.out.size()));
  CHECK(decode_bounded<MetadataRequest>(frame, 0, suitable));
}

TEST_CASE("variable-length numbers end in time and fit", "[varint]") {
  const auto read = [](std::initializer_list<int> values) -> std::optional<uint32_t> {
    Buffer bytes;
    for (int value : values) bytes.push_back(static_cast<std::byte>(value));
    uint32_t value = 0;
    const std::byte* end = bytes.data() + bytes.size();
    const std::byte* after = read_varint(bytes.data(), end, value);
    if (after == nullptr || after != end) return std::nullopt;
    return value;
  };
  CHECK(read({0x00}) == 0u);
  CHECK(read({0x7f}) == 127u);
  CHECK(read({0x80, 0x01}) == 128u);
  CHECK(read({0xff, 0xff, 0xff, 0xff, 0x0f}) == 0xffffffffu);
  CHECK_FALSE(read({0xff, 0xff, 0xff, 0xff, 0x1f}));
  CHECK_FALSE(read({0x80, 0x80, 0x80, 0x80, 0x80, 0x00}));
  CHECK_FALSE(read({0x80}));
  CHECK_FALSE(read({}));
}

TEST_CASE("numbers of either sign survive zigzag and varint", "[varint]") {
  for (int64_t value : {int64_t{0}, int64_t{-1}, int64_t{1}, int64_t{63}, int64_t{-64}, int64_t{64},
                        std::numeric_limits<int64_t>::max(), std::numeric_limits<int64_t>::min()}) {
    std::byte bytes[kMaxVarint64Size];
    const std::byte* end = write_varint(bytes, zigzag(value));
    CHECK(static_cast<size_t>(end - bytes) == varint_size(zigzag(value)));
    uint64_t read = 0;
    CHECK(read_varint(bytes, end, read) == end);
    CHECK(unzigzag(read) == value);
  }
  CHECK(zigzag(int32_t{-1}) == 1);
  CHECK(unzigzag(zigzag(std::numeric_limits<int32_t>::min())) == std::numeric_limits<int32_t>::min());
}
