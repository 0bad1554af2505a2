// The server-side assignors: balance, stickiness, and what they make of targets that make no sense.
#include "broker/coordinator/assignor.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <random>

namespace millrace::coordinator {
namespace {

const Uuid kT = Uuid::from_random(1, 1);
const Uuid kU = Uuid::from_random(2, 2);

struct Members {
  std::vector<std::set<Uuid>> topics;
  std::vector<Assignment> targets;
  std::vector<std::string> ids;

  AssignorInput input(std::map<Uuid, int32_t> partitions) const {
    AssignorInput input{{}, std::move(partitions)};
    for (size_t i = 0; i < ids.size(); ++i) input.members.push_back({ids[i], {}, &topics[i], &targets[i]});
    return input;
  }
  void add(std::set<Uuid> subscribed, Assignment target = {}) {
    ids.push_back("m" + std::to_string(100 + ids.size()));
    topics.push_back(std::move(subscribed));
    targets.push_back(std::move(target));
  }
};

size_t size_of(const Assignment& assignment) {
  size_t size = 0;
  for (const auto& [topic, partitions] : assignment) size += partitions.size();
  return size;
}

// Every partition with subscribers has one owner, who subscribes to it.
void check_complete(const AssignorInput& input, const std::vector<Assignment>& made) {
  std::map<std::pair<Uuid, int32_t>, size_t> owners;
  for (size_t m = 0; m < made.size(); ++m) {
    for (const auto& [topic, partitions] : made[m]) {
      REQUIRE(input.members[m].topics->contains(topic));
      for (const int32_t partition : partitions)
        REQUIRE(owners.emplace(std::pair(topic, partition), m).second);
    }
  }
  size_t wanted = 0;
  for (const auto& [topic, count] : input.partitions) wanted += static_cast<size_t>(count);
  CHECK(owners.size() == wanted);
}

}  // namespace

TEST_CASE("range divides topics of equal size alike") {
  Members members;
  for (int i = 0; i < 3; ++i) members.add({kT, kU});
  const auto made = assign_range(members.input({{kT, 7}, {kU, 7}}));
  CHECK(made[0] == Assignment{{kT, {0, 1, 2}}, {kU, {0, 1, 2}}});
  CHECK(made[1] == Assignment{{kT, {3, 4}}, {kU, {3, 4}}});
  CHECK(made[2] == Assignment{{kT, {5, 6}}, {kU, {5, 6}}});
}

TEST_CASE("uniform balances and moves as little as it can") {
  Members members;
  members.add({kT}, {{kT, {0, 1, 2, 3}}});
  members.add({kT}, {{kT, {4, 5}}});
  members.add({kT});
  const auto made = assign_uniform(members.input({{kT, 7}}));
  CHECK(made[0] == Assignment{{kT, {0, 1, 2}}});
  CHECK(made[1].at(kT).contains(4));
  CHECK(made[1].at(kT).contains(5));
  CHECK(size_of(made[2]) == 2);
  members.targets = made;
  CHECK(assign_uniform(members.input({{kT, 7}})) == made);
}

TEST_CASE("a target that makes no sense is no harm") {
  Members members;
  members.add({kT}, {{kT, {-1, 0, 1, 99}}, {kU, {0}}});
  members.add({kT}, {{kT, {0, 1}}});
  const AssignorInput input = members.input({{kT, 4}});
  check_complete(input, assign_uniform(input));
}

TEST_CASE("random groups get complete assignments, balanced where all subscribe to the same") {
  std::mt19937_64 random(848);
  for (int round = 0; round < 300; ++round) {
    INFO("round " << round);
    const bool same = round % 2 == 0;
    Members members;
    std::map<Uuid, int32_t> partitions;
    const size_t count = 1 + random() % 8;
    for (size_t i = 0; i < count; ++i) {
      std::set<Uuid> topics = {kT, kU};
      if (!same && random() % 2 == 0) topics.erase(random() % 2 == 0 ? kT : kU);
      for (const Uuid& topic : topics) partitions.try_emplace(topic, static_cast<int32_t>(random() % 20));
      members.add(std::move(topics));
    }
    for (const auto* assignor : {find_assignor("uniform"), find_assignor("range")}) {
      for (int again = 0; again < 2; ++again) {
        const AssignorInput input = members.input(partitions);
        const auto made = assignor->assign(input);
        check_complete(input, made);
        if (same && assignor->name == "uniform") {
          const auto sizes = std::minmax_element(
              made.begin(), made.end(), [](const auto& a, const auto& b) { return size_of(a) < size_of(b); });
          CHECK(size_of(*sizes.second) - size_of(*sizes.first) <= 1);
        }
        members.targets = made;
      }
    }
  }
}

TEST_CASE("assignors have names") {
  CHECK(find_assignor("uniform") != nullptr);
  CHECK(find_assignor("range") != nullptr);
  CHECK(find_assignor("sticky") == nullptr);
}

}  // namespace millrace::coordinator
