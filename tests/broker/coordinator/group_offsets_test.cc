#include "broker/coordinator/group_offsets.h"

#include <catch2/catch.hpp>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace millrace::coordinator {
namespace {

using Model = std::map<std::pair<std::string, int32_t>, CommittedOffset>;

Model contents(const GroupOffsets& offsets) {
  Model all;
  offsets.for_each([&](std::string_view topic, int32_t partition, const CommittedOffset& offset) {
    CHECK(all.emplace(std::pair(std::string(topic), partition), offset).second);
  });
  return all;
}

class RandomOffsets {
 public:
  explicit RandomOffsets(unsigned seed) : random_(seed) {}

  size_t below(size_t limit) { return random_() % limit; }

  CommittedOffset next() {
    CommittedOffset offset;
    offset.offset = static_cast<int64_t>(random_());
    offset.commit_timestamp_ms = 1'700'000'000'000 + static_cast<int64_t>(below(1000));
    offset.leader_epoch = static_cast<int32_t>(below(4)) - 1;
    // What a log may hold, whoever wrote it.
    if (below(20) == 0) offset.commit_timestamp_ms = below(2) == 0 ? INT64_MAX : INT64_MIN;
    if (below(20) == 0) offset.commit_timestamp_ms = -1;
    if (below(5) == 0) offset.metadata = "said by a client";
    if (below(10) == 0) offset.expire_timestamp_ms = 1'800'000'000'000;
    if (below(2) == 0) offset.topic_id = Uuid::from_random(below(3), 1);
    return offset;
  }

  // Of a few partitions from this one on, or in any order.
  CommittedPositions commit(const std::string& topic, int32_t first) {
    const CommittedOffset common = next();
    CommittedPositions commit{"g", common.commit_timestamp_ms, common.expire_timestamp_ms, {}};
    commit.topics.push_back({topic, common.topic_id, {}});
    // Of another one, or the same once more.
    if (below(3) == 0) commit.topics.push_back({below(2) == 0 ? "other" : topic, common.topic_id, {}});
    const bool in_order = below(2) == 0;
    for (auto& to : commit.topics) {
      for (int32_t i = 0; i < 4; ++i) {
        const CommittedOffset offset = next();
        const int32_t partition = in_order ? first + i : static_cast<int32_t>(below(12));
        to.positions.push_back({partition, offset.leader_epoch, offset.offset, offset.metadata});
      }
    }
    return commit;
  }

 private:
  std::mt19937 random_;
};

}  // namespace

TEST_CASE("positions of any kind are kept as a map would keep them", "[group_offsets]") {
  for (unsigned seed = 1; seed <= 50; ++seed) {
    INFO("seed " << seed);
    RandomOffsets random(seed);
    GroupOffsets offsets;
    Model model;
    for (int step = 0; step < 400; ++step) {
      const std::string topic = "topic-" + std::to_string(random.below(3));
      const auto partition = static_cast<int32_t>(random.below(12)) - 1;
      if (random.below(3) == 0) {
        offsets.erase(topic, partition);
        model.erase({topic, partition});
      } else if (random.below(3) == 0) {
        const CommittedPositions commit = random.commit(topic, partition);
        offsets.put(commit);
        for (const auto& to : commit.topics) {
          for (const auto& position : to.positions)
            model[{to.name, position.partition}] = commit.offset_at(to, position);
        }
      } else {
        const CommittedOffset offset = random.next();
        offsets.put(topic, partition, offset);
        model[{topic, partition}] = offset;
      }
      if (step % 50 == 0) offsets.shrink();
      const auto known = model.find({topic, partition});
      REQUIRE(offsets.find(topic, partition) ==
              (known == model.end() ? std::nullopt : std::optional(known->second)));
    }
    CHECK(contents(offsets) == model);
    CHECK(offsets.empty() == model.empty());
    for (const auto& [key, offset] : model) offsets.erase(key.first, key.second);
    CHECK(offsets.empty());
  }
}

TEST_CASE("the positions of one topic are those of that topic", "[group_offsets]") {
  GroupOffsets offsets;
  offsets.put("b", 3, {.offset = 30});
  offsets.put("b", 1, {.offset = 10});
  offsets.put("a", 2, {.offset = 20});
  std::map<int32_t, int64_t> found;
  offsets.for_each_in("b",
                      [&](int32_t partition, const CommittedOffset& at) { found[partition] = at.offset; });
  CHECK(found == std::map<int32_t, int64_t>{{1, 10}, {3, 30}});
  offsets.for_each_in("c", [&](int32_t, const CommittedOffset&) { FAIL("there is no such topic"); });
}

TEST_CASE("more ids of a topic than have a place are kept all the same", "[group_offsets]") {
  GroupOffsets offsets;
  constexpr int32_t kCount = (1 << 15) + 10;
  for (int32_t p = 0; p < kCount; ++p)
    offsets.put("t", p, {.offset = p, .topic_id = Uuid::from_random(static_cast<uint64_t>(p), 7)});
  for (const int32_t p : {0, 1, kCount - 11, kCount - 10, kCount - 1})
    CHECK(offsets.find("t", p)->topic_id == Uuid::from_random(static_cast<uint64_t>(p), 7));
}

TEST_CASE("what positions take is counted, and given back", "[group_offsets]") {
  GroupOffsets offsets;
  RandomOffsets random(7);
  const std::vector<std::string> topics = {"a", "b", "a topic whose name is longer than others"};
  for (int i = 0; i < 5'000; ++i) {
    const std::string& topic = topics[random.below(topics.size())];
    const auto partition = static_cast<int32_t>(random.below(20));
    random.below(3) == 0 ? offsets.erase(topic, partition) : offsets.put(topic, partition, random.next());
    CHECK((offsets.bytes() == 0) == offsets.empty());
  }
  const size_t before = offsets.bytes();
  CommittedOffset large = random.next();
  large.metadata = std::string(4'000, 'm');
  offsets.put("a", 100, large);
  CHECK(offsets.bytes() - before > 4'000);
  large.metadata.clear();
  large.expire_timestamp_ms = -1;
  large.commit_timestamp_ms = 1;
  offsets.put("a", 100, large);
  CHECK(offsets.bytes() - before < 200);
  for (const auto& [place, offset] : contents(offsets)) offsets.erase(place.first, place.second);
  CHECK(offsets.bytes() == 0);
}

}  // namespace millrace::coordinator
