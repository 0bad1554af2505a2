#include "broker/metadata/cluster_image.h"

#include <catch2/catch.hpp>
#include <map>

#include "broker/metadata/metadata_codec.h"
#include "broker/metadata/topic_config.h"
#include "broker/runtime/random.h"

using namespace millrace;
using namespace millrace::metadata;

namespace {

Event put(std::string key, std::string value, int64_t revision) {
  return {false, {std::move(key), std::move(value), revision, revision, 1, kNoLease}};
}
Event removed(std::string key, int64_t revision) {
  return {true, {.key = std::move(key), .mod_revision = revision}};
}

const Uuid kFirst = Uuid::from_random(1, 1);
const Uuid kSecond = Uuid::from_random(2, 2);

ImagePtr empty_image() { return std::make_shared<const ClusterImage>(); }

}  // namespace

TEST_CASE("What the codec writes it reads, and nothing else") {
  const PartitionImage partition{{1, 2, 3}, {1, 2}, 2, 7, 9};
  CHECK(*decode_partition(encode_partition(partition)) == partition);
  const ConfigMap configs{{"a", "1"}, {"b", "\"quoted\"\n"}, {"c", ""}};
  CHECK(*decode_configs(encode_configs(configs)) == configs);
  CHECK(*decode_id(encode_id(kFirst)) == kFirst);
  CHECK(*decode_producer_ids(encode_producer_ids(kMaxLong)) == kMaxLong);
  BrokerImage broker{.incarnation = kFirst, .endpoints = {{"IN", "::1", 9092, "PLAINTEXT"}}, .rack = "r"};
  CHECK(*decode_broker(encode_broker(broker)) == broker);
  for (const char* bad : {"", "{", "[]", "1", "{}", R"({"v":2,"id":"x"})", R"({"v":1})", R"({"v":"1"})",
                          R"({"v":1,"id":5,"values":[],"broker":1e99,"next":-1,"endpoints":[{}]})"}) {
    INFO(bad);
    CHECK(!decode_partition(bad));
    CHECK(!decode_configs(bad));
    CHECK(!decode_id(bad));
    CHECK(!decode_controller(bad));
    CHECK(!decode_producer_ids(bad));
    CHECK(!decode_broker(bad));
  }
  CHECK(parse_partition_key(partition_key({kFirst, 12}).substr(kPartitionsPrefix.size())) ==
        TopicIdPartition{kFirst, 12});
  CHECK(!parse_partition_key("x/1"));
  CHECK(!parse_partition_key(kFirst.to_string() + "/-1"));
}

TEST_CASE("Events fold in any order within a revision, and a topic of an old name is a new topic") {
  ImageBuilder builder(empty_image());
  const std::string value = encode_partition({{1}, {1}, 1, 0, 0});
  const std::vector<Event> events = {
      put(topic_config_key("t"), encode_configs({{"retention.ms", "1"}}), 1),
      put(partition_key({kFirst, 1}), value, 1),
      put(partition_key({kFirst, 0}), value, 1),
      put(topic_key("t"), encode_id(kFirst), 1),
      removed(topic_config_key("t"), 2),
      removed(partition_key({kFirst, 0}), 2),
      removed(partition_key({kFirst, 1}), 2),
      removed(topic_key("t"), 2),
      put(partition_key({kSecond, 0}), value, 3),
      put(topic_key("t"), encode_id(kSecond), 3),
  };
  REQUIRE(builder.fold(std::span(events).first(4), 1));
  const ImagePtr first = builder.build();
  CHECK(first->topic("t")->partitions.size() == 2);
  CHECK(first->topic("t")->configs.size() == 1);
  ImageBuilder next(first);
  REQUIRE(next.fold(std::span(events).subspan(4), 3));
  const ImagePtr second = next.build();
  CHECK(second->topic("t")->id == kSecond);
  CHECK(second->topic("t")->configs.empty());
  CHECK(second->topic(kFirst) == nullptr);
  CHECK(second->partition_count() == 1);
  const ImageDelta delta = next.delta();
  REQUIRE(delta.topics.size() == 1);
  CHECK(delta.topics[0].before->id == kFirst);
  CHECK(delta.topics[0].after->id == kSecond);
  // The old image is as it was.
  CHECK(first->topic("t")->id == kFirst);
  CHECK(first->partition_count() == 2);
}

TEST_CASE("A value that can't be read is named and passed over") {
  ImageBuilder builder(empty_image());
  const std::vector<Event> events = {put(topic_key("bad"), "nonsense", 1),
                                     put(topic_key("good"), encode_id(kFirst), 1),
                                     put("later/version", "?", 1)};
  const Result<> folded = builder.fold(events, 1);
  REQUIRE(!folded);
  CHECK(folded.error().message.starts_with("metadata key topics/bad: "));
  CHECK(builder.build()->topic("good"));
}

TEST_CASE("Reading a whole range again forgets what isn't in it") {
  ImageBuilder builder(empty_image());
  REQUIRE(builder.fold(std::vector{put(topic_key("old"), encode_id(kFirst), 1)}, 1));
  ImageBuilder next(builder.build());
  REQUIRE(next.fold_range({{put(topic_key("new"), encode_id(kSecond), 5).entry}, 9}));
  CHECK(next.build()->topics().size() == 1);
  CHECK(next.build()->revision() == 9);
  const ImageDelta delta = next.delta();
  REQUIRE(delta.topics.size() == 2);
  CHECK(!delta.topics[0].before);
  CHECK(!delta.topics[1].after);
}

TEST_CASE("A chunked set is a sorted map, and copies don't change with it") {
  struct Key {
    int operator()(const std::pair<int, int>& item) const { return item.first; }
  };
  using Item = std::shared_ptr<const std::pair<int, int>>;
  using Set = ChunkedSet<Item, Key>;
  runtime::Random random(7);
  Set set;
  std::map<int, int> model;
  std::vector<std::pair<Set, std::map<int, int>>> copies;
  const auto same = [](const Set& set, const std::map<int, int>& model) {
    std::vector<std::pair<int, int>> items;
    set.for_each([&](const Item& item) { items.push_back(*item); });
    return set.size() == model.size() && std::equal(items.begin(), items.end(), model.begin(), model.end(),
                                                    [](const auto& a, const auto& b) {
                                                      return a.first == b.first && a.second == b.second;
                                                    });
  };
  for (int i = 0; i < 20'000; ++i) {
    // Grows, then shrinks.
    const int key = static_cast<int>(random.below(3000));
    if (random.below(10) < (i < 10'000 ? 8u : 2u)) {
      set.set(std::make_shared<const std::pair<int, int>>(key, i));
      model[key] = i;
    } else {
      CHECK(set.erase(key) == (model.erase(key) == 1));
    }
    const int probe = static_cast<int>(random.below(3000));
    const Item* found = set.find(probe);
    REQUIRE((found != nullptr) == model.contains(probe));
    if (found != nullptr) REQUIRE((*found)->second == model[probe]);
    if (i % 1000 == 0) {
      copies.emplace_back(set, model);
      std::vector<int> from;
      set.for_each_from(probe, [&](const Item& item) {
        from.push_back(item->first);
        return from.size() < 5;
      });
      auto at = model.lower_bound(probe);
      for (int key : from) REQUIRE(key == (at++)->first);
    }
  }
  REQUIRE(same(set, model));
  for (const auto& [copy, then] : copies) CHECK(same(copy, then));
}

TEST_CASE("A topic's configuration as values") {
  const BrokerValue none = [](std::string_view) { return std::nullopt; };
  const TopicConfig standard = topic_config({}, none);
  CHECK(standard.log.flush_messages == 1);
  CHECK(standard.log.segment_bytes == 1 << 30);
  CHECK(standard.log.delete_old);
  CHECK(!standard.log.compact);
  CHECK(!standard.log.compression);
  CHECK(!standard.log.gzip_level);
  CHECK(standard.min_insync_replicas == 1);
  const TopicConfig other = topic_config({{"cleanup.policy", "compact"},
                                          {"compression.type", "zstd"},
                                          {"compression.gzip.level", "3"},
                                          {"message.timestamp.type", "LogAppendTime"},
                                          {"internal.segment.bytes", "100"},
                                          {"min.cleanable.dirty.ratio", "0.25"},
                                          {"retention.ms", " -1 "}},
                                         none);
  CHECK(!other.log.delete_old);
  CHECK(other.log.compact);
  CHECK(other.log.compression == protocol::Compression::kZstd);
  CHECK(other.log.gzip_level == 3);
  CHECK(other.log.timestamp_type == protocol::TimestampType::kLogAppendTime);
  CHECK(other.log.segment_bytes == 100);
  CHECK(other.log.min_cleanable_dirty_ratio == 0.25);
  CHECK(other.log.retention_ms == -1);
}
