// What clients that misbehave can do to a coordinator: they get the protocol's error, memory stays bounded,
// and no other group notices.
#include <algorithm>
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "broker/coordinator/group_record_codec.h"
#include "tests/broker/coordinator/group_driver.h"

namespace millrace::coordinator {
namespace {

using Code = ErrorCode;

constexpr int kMany = 3'000;
// Long enough for sessions to end and for the next look at what can go.
constexpr int64_t kQuietMs = 2 * 600'000;

ConsumerHeartbeat beat(std::string_view group, std::string_view member, int32_t epoch) {
  ConsumerHeartbeat request;
  request.group = group;
  request.member = member;
  request.epoch = epoch;
  if (epoch != kJoiningEpoch) return request;
  request.rebalance_timeout_ms = 60'000;
  request.topics = std::vector<std::string_view>{"t"};
  request.owned.emplace();
  return request;
}

// Two groups that have a member each, one of either protocol, and a simple consumer's position: what the
// storms must leave alone.
class Bystanders {
 public:
  explicit Bystanders(GroupDriver& driver) : driver_(driver) {
    driver.set_topic("t", 3);
    const uint64_t joining = driver.send(join("bystander"));
    driver.advance(GroupSettings{}.initial_rebalance_delay_ms);
    const auto joined = driver.answer<JoinGroupResult>(joining);
    member_ = joined.member;
    SyncGroup sync{.group = "bystander", .member = member_, .generation = joined.generation};
    sync.assignments = {{member_, bytes("mine")}};
    REQUIRE(driver.call<SyncGroupResult>(sync).error == Code::kNone);
    REQUIRE(driver.call<ConsumerHeartbeatResult>(beat("modern", "m", kJoiningEpoch)).error.code ==
            Code::kNone);
    driver.call<OffsetCommitResult>(commit("simple", "t", 0, 42));
  }

  void stay() {
    CHECK(driver_.call<HeartbeatResult>(Heartbeat{.group = "bystander", .member = member_, .generation = 1})
              .error == Code::kNone);
    CHECK(driver_.call<ConsumerHeartbeatResult>(beat("modern", "m", 1)).error.code == Code::kNone);
  }
  // Time passes, and both heartbeat.
  void pass(int64_t ms) {
    for (int64_t t = 0; t < ms; t += 5'000) {
      driver_.advance(5'000);
      stay();
    }
  }
  void check_untouched() {
    stay();
    CHECK(driver_.call<DescribeGroupResult>(DescribeGroup{"bystander"}).state == "Stable");
    CHECK(driver_.call<DescribeConsumerGroupResult>(DescribeConsumerGroup{"modern"}).epoch == 1);
    CHECK(driver_.call<OffsetFetchResult>(fetch("simple", "t", 0)).topics.at(0).partitions.at(0).offset ==
          42);
  }
  // All that may be there once the storm is over.
  void check_alone() {
    check_untouched();
    CHECK(driver_.machine().group_count() == 3);
    CHECK(driver_.machine().open_tickets() == 0);
  }

 private:
  GroupDriver& driver_;
  std::string member_;
};

}  // namespace

TEST_CASE("heartbeats of members and groups that don't exist leave nothing behind") {
  GroupDriver driver;
  Bystanders bystanders(driver);
  const size_t records = driver.log().size();
  for (int i = 0; i < kMany; ++i) {
    const std::string id = "storm-" + std::to_string(i);
    CHECK(driver.call<HeartbeatResult>(Heartbeat{.group = id, .member = id}).error == Code::kUnknownMemberId);
    CHECK(
        driver.call<HeartbeatResult>(Heartbeat{.group = "bystander", .member = id, .generation = 1}).error ==
        Code::kUnknownMemberId);
    CHECK(driver.call<HeartbeatResult>(Heartbeat{.group = "modern", .member = id}).error ==
          Code::kUnknownMemberId);
    CHECK(driver.call<ConsumerHeartbeatResult>(beat(id, id, 1)).error.code == Code::kGroupIdNotFound);
    CHECK(driver.call<ConsumerHeartbeatResult>(beat("modern", id, 1)).error.code == Code::kUnknownMemberId);
    CHECK(driver.call<ConsumerHeartbeatResult>(beat("modern", "m", 1000 + i)).error.code ==
          Code::kFencedMemberEpoch);
    CHECK(driver.call<SyncGroupResult>(SyncGroup{.group = id, .member = id}).error == Code::kUnknownMemberId);
    CHECK(driver.call<OffsetFetchResult>(fetch(id, "t", 0)).error == Code::kNone);
  }
  CHECK(driver.log().size() == records);
  bystanders.check_alone();
}

TEST_CASE("a member's heartbeats cost no record and no memory") {
  GroupDriver driver;
  Bystanders bystanders(driver);
  bystanders.stay();
  const size_t records = driver.log().size();
  for (int i = 0; i < kMany; ++i) bystanders.stay();
  CHECK(driver.log().size() == records);
  bystanders.check_alone();
}

TEST_CASE("clients that ask for an id and vanish are forgotten, and so is their group") {
  GroupDriver driver;
  Bystanders bystanders(driver);
  for (int i = 0; i < kMany; ++i) {
    JoinGroup request = join(i % 2 == 0 ? "crowd" : "bystander");
    request.member_id_required = true;
    CHECK(driver.call<JoinGroupResult>(request).error == Code::kMemberIdRequired);
  }
  bystanders.pass(kQuietMs);
  bystanders.check_alone();
}

TEST_CASE("members that join and vanish are out after their sessions, and their groups go") {
  GroupDriver driver;
  Bystanders bystanders(driver);
  for (int i = 0; i < kMany / 10; ++i) {
    const std::string id = "gone-" + std::to_string(i);
    driver.send(join(id));  // and nobody waits for the answer
    driver.send(join("crowd"));
    driver.call<ConsumerHeartbeatResult>(beat("modern-crowd", id, kJoiningEpoch));
    driver.call<ConsumerHeartbeatResult>(beat("modern-" + id, id, kJoiningEpoch));
  }
  CHECK(driver.machine().group_count() > kMany / 10 * 2);
  bystanders.pass(kQuietMs);
  bystanders.check_alone();
}

TEST_CASE("thousands of empty groups go, those with positions stay until these expire") {
  GroupDriver driver;
  Bystanders bystanders(driver);
  for (int i = 0; i < kMany; ++i) {
    const std::string id = "empty-" + std::to_string(i);
    JoinGroup request = join(id);
    request.member_id_required = true;
    const std::string member = driver.call<JoinGroupResult>(request).member;
    driver.call<LeaveGroupResult>(LeaveGroup{.group = id, .members = {{.member = member}}});
    if (i % 100 == 0) driver.call<OffsetCommitResult>(commit("kept-" + std::to_string(i), "t", 0, i));
  }
  CHECK(driver.machine().group_count() == kMany + kMany / 100 + 3);
  bystanders.pass(kQuietMs);
  CHECK(driver.machine().group_count() == kMany / 100 + 3);
  bystanders.check_untouched();
  // What the log says is the same: a restart brings none of them back.
  driver.restart();
  CHECK(driver.machine().group_count() == kMany / 100 + 3);
}

TEST_CASE("members that come and go without end leave no trace in a group that stays") {
  GroupDriver driver;
  Bystanders bystanders(driver);
  driver.call<ConsumerHeartbeatResult>(beat("busy", "stays", kJoiningEpoch));
  for (int i = 0; i < kMany / 10; ++i) {
    const std::string id = "passes-" + std::to_string(i);
    const auto joined = driver.call<ConsumerHeartbeatResult>(beat("busy", id, kJoiningEpoch));
    CHECK(joined.error.code == Code::kNone);
    CHECK(driver.call<ConsumerHeartbeatResult>(beat("busy", id, kLeavingEpoch)).error.code == Code::kNone);
  }
  const auto group = driver.call<DescribeConsumerGroupResult>(DescribeConsumerGroup{"busy"});
  CHECK(group.members.size() == 1);
  bystanders.check_untouched();
}

TEST_CASE("a full group refuses newcomers of either protocol, and goes on") {
  GroupDriver driver({.max_size = 2, .consumer_max_size = 2});
  driver.set_topic("t", 3);
  driver.send(join("g"));
  driver.send(join("g"));
  driver.advance(2 * GroupSettings{}.initial_rebalance_delay_ms);
  for (int i = 0; i < 100; ++i) {
    const std::string id = std::to_string(i);
    const auto expected = i < 2 ? Code::kNone : Code::kGroupMaxSizeReached;
    CHECK(driver.call<ConsumerHeartbeatResult>(beat("modern", id, kJoiningEpoch)).error.code == expected);
    CHECK(driver.call<JoinGroupResult>(join("g")).error == Code::kGroupMaxSizeReached);
  }
  CHECK(driver.call<DescribeConsumerGroupResult>(DescribeConsumerGroup{"modern"}).members.size() == 2);
}

TEST_CASE("what joins bring is bounded for one group, and only that group notices") {
  GroupDriver driver({.max_group_bytes = 100'000, .max_members_bytes = 1'000'000});
  Bystanders bystanders(driver);
  const std::string large(10'000, 'x');
  JoinGroup request = join("greedy");
  request.protocols = {{"range", bytes(large)}};
  int refused = 0;
  for (int i = 0; i < 100; ++i) {
    const uint64_t ticket = driver.send(request);
    if (!driver.answered(ticket)) continue;
    CHECK(driver.answer<JoinGroupResult>(ticket).error == Code::kGroupMaxSizeReached);
    ++refused;
  }
  CHECK(refused == 91);
  CHECK(driver.call<DescribeGroupResult>(DescribeGroup{"greedy"}).members.size() == 9);
  bystanders.check_untouched();
  // The clients have vanished: their sessions end, and there is room again.
  bystanders.pass(kQuietMs);
  bystanders.check_alone();
  CHECK_FALSE(driver.answered(driver.send(request)));
}

TEST_CASE("what joins bring is bounded for a coordinator, and who is in stays in") {
  GroupDriver driver({.max_group_bytes = 100'000, .max_members_bytes = 500'000});
  Bystanders bystanders(driver);
  const std::string large(50'000, 'x');
  int refused = 0;
  for (int i = 0; i < kMany; ++i) {
    const std::string id = "greedy-" + std::to_string(i);
    JoinGroup request = join(id);
    if (i % 2 == 0) request.protocols = {{"range", bytes(large)}};
    if (i % 2 == 1) request.client_id = std::string_view(large).substr(0, 15'000);
    request.member_id_required = i % 2 == 1;
    const uint64_t ticket = driver.send(request);
    if (!driver.answered(ticket)) continue;
    const auto error = driver.answer<JoinGroupResult>(ticket).error;
    if (error == Code::kMemberIdRequired) continue;
    CHECK(error == Code::kCoordinatorNotAvailable);
    ++refused;
  }
  CHECK(refused > kMany - 20);
  // Members with what they said before are welcome.
  const std::string member =
      driver.call<DescribeGroupResult>(DescribeGroup{"bystander"}).members.at(0).member;
  driver.send(join("bystander", member));
  CHECK(driver.call<DescribeGroupResult>(DescribeGroup{"bystander"}).state != "Empty");
  driver.advance(2 * kQuietMs);
  CHECK_FALSE(driver.answered(driver.send(join("late"))));
}

namespace {

// A consumer's subscription to the topic "t", and more that it says about itself.
std::string subscription(size_t user_data) {
  const std::string four(4, '\0');
  std::string text = std::string(2, '\0') + std::string("\0\0\0\1\0\1t", 7);
  for (int shift = 24; shift >= 0; shift -= 8) text += static_cast<char>(user_data >> shift);
  return text + std::string(user_data, 'u');
}

}  // namespace

TEST_CASE("classic members of a consumer group are bounded like others, and count when it is a classic one") {
  GroupDriver driver({.max_group_bytes = 105'000, .max_members_bytes = 1'000'000});
  Bystanders bystanders(driver);
  REQUIRE(driver.call<ConsumerHeartbeatResult>(beat("greedy", "m", kJoiningEpoch)).error.code == Code::kNone);
  const std::string large = subscription(10'000);
  JoinGroup request = join("greedy");
  request.protocols = {{"range", bytes(large)}};
  request.session_timeout_ms = request.rebalance_timeout_ms = 1'800'000;
  int refused = 0;
  for (int i = 0; i < 100; ++i) {
    const auto error = driver.call<JoinGroupResult>(request).error;
    if (error == Code::kNone) continue;
    CHECK(error == Code::kGroupMaxSizeReached);
    ++refused;
  }
  CHECK(refused == 91);
  CHECK(driver.warning.find("Group greedy has no room") == 0);
  CHECK(driver.call<ConsumerHeartbeatResult>(beat("greedy", "m", kLeavingEpoch)).error.code == Code::kNone);
  CHECK(driver.call<DescribeGroupResult>(DescribeGroup{"greedy"}).members.size() == 9);
  const uint64_t ticket = driver.send(request);
  REQUIRE(driver.answered(ticket));
  CHECK(driver.answer<JoinGroupResult>(ticket).error == Code::kGroupMaxSizeReached);
  // As read from the log it counts, too.
  driver.restart();
  CHECK(driver.memory->members.bytes() > 50'000);
  bystanders.check_untouched();
}

TEST_CASE("what the coordinator assigns counts: a few bytes may ask for thousands of partitions") {
  GroupDriver driver({.max_members_bytes = 2'000'000});
  Bystanders bystanders(driver);
  driver.set_topic("wide", 1'000);
  const auto join_wide = [&](const std::string& group) {
    ConsumerHeartbeat request = beat(group, "m", kJoiningEpoch);
    request.topics = std::vector<std::string_view>{"wide"};
    return driver.call<ConsumerHeartbeatResult>(request).error.code;
  };
  const int64_t before = driver.memory->members.bytes();
  REQUIRE(join_wide("first") == Code::kNone);
  const int64_t one = driver.memory->members.bytes() - before;
  CHECK(one > 100'000);
  int refused = 0;
  for (int i = 0; i < 100; ++i) {
    const auto error = join_wide("greedy-" + std::to_string(i));
    if (error == Code::kNone) continue;
    CHECK(error == Code::kCoordinatorNotAvailable);
    ++refused;
  }
  CHECK(refused > 80);
  CHECK(driver.memory->members.bytes() < 2'000'000 + one);
  const int64_t full = driver.memory->members.bytes();
  driver.restart();
  CHECK(driver.memory->members.bytes() == full);
  CHECK(driver.call<ConsumerHeartbeatResult>(beat("first", "m", kLeavingEpoch)).error.code == Code::kNone);
  CHECK(driver.memory->members.bytes() < full - one / 2);
  bystanders.check_untouched();
}

TEST_CASE("who has been assigned much may not say as much more for it") {
  GroupDriver driver({.max_group_bytes = 300'000});
  Bystanders bystanders(driver);
  driver.set_topic("wide", 1'000);
  ConsumerHeartbeat request = beat("greedy", "m", kJoiningEpoch);
  request.topics = std::vector<std::string_view>{"wide"};
  const auto joined = driver.call<ConsumerHeartbeatResult>(request);
  REQUIRE(joined.error.code == Code::kNone);
  const std::string name(200, 'n');
  std::vector<std::string> names;
  for (int i = 0; i < 700; ++i) names.push_back(name + std::to_string(i));
  ConsumerHeartbeat more = beat("greedy", "m", joined.epoch);
  more.topics.emplace(names.begin(), names.end());
  CHECK(driver.call<ConsumerHeartbeatResult>(more).error.code == Code::kGroupMaxSizeReached);
  CHECK(driver.call<ConsumerHeartbeatResult>(beat("greedy", "m", joined.epoch)).error.code == Code::kNone);
  bystanders.check_untouched();
}

TEST_CASE("assignments are bounded, for one group and for a coordinator") {
  GroupDriver driver({.max_group_bytes = 100'000, .max_members_bytes = 500'000});
  Bystanders bystanders(driver);
  const auto sync = [&](const std::string& group, const std::string& assignment) {
    JoinGroup joining = join(group);
    joining.session_timeout_ms = 1'800'000;
    const uint64_t ticket = driver.send(joining);
    driver.advance(GroupSettings{}.initial_rebalance_delay_ms);
    const auto joined = driver.answer<JoinGroupResult>(ticket);
    REQUIRE(joined.error == Code::kNone);
    SyncGroup request{.group = group, .member = joined.member, .generation = joined.generation};
    request.assignments = {{joined.member, bytes(assignment)}};
    return driver.call<SyncGroupResult>(request).error;
  };
  CHECK(sync("greedy", std::string(110'000, 'a')) == Code::kGroupMaxSizeReached);
  int refused = 0;
  for (int i = 0; i < 40; ++i) {
    bystanders.stay();
    const auto error = sync("greedy-" + std::to_string(i), std::string(40'000, 'a'));
    if (error == Code::kNone) continue;
    CHECK(error == Code::kCoordinatorNotAvailable);
    ++refused;
  }
  CHECK(refused > 25);
  CHECK(refused < 38);
  CHECK(driver.memory->members.bytes() < 500'000);
  bystanders.check_untouched();
}

TEST_CASE("what members of consumer groups say is bounded, for one group and for a coordinator") {
  GroupDriver driver({.max_group_bytes = 100'000, .max_members_bytes = 500'000});
  Bystanders bystanders(driver);
  std::vector<std::string> names;
  for (int i = 0; i < 500; ++i) names.push_back("name-" + std::to_string(i));
  const auto joins = [&](const std::string& group, const std::string& member) {
    ConsumerHeartbeat request = beat(group, member, kJoiningEpoch);
    request.topics->assign(names.begin(), names.end());
    return driver.call<ConsumerHeartbeatResult>(request).error;
  };
  CHECK(joins("one", "a").code == Code::kNone);
  CHECK(joins("one", "b").code == Code::kNone);
  const Error third = joins("one", "c");
  CHECK(third.code == Code::kGroupMaxSizeReached);
  CHECK(third.message.find("subscribe to fewer topics") != std::string::npos);
  // Who is in may say again what it said.
  CHECK(joins("one", "b").code == Code::kNone);
  int refused = 0;
  for (int i = 0; i < 100; ++i) {
    const Code error = joins("of-" + std::to_string(i), "m").code;
    if (error == Code::kNone) continue;
    CHECK(error == Code::kCoordinatorNotAvailable);
    ++refused;
  }
  CHECK(refused > 90);
  bystanders.pass(kQuietMs);
  bystanders.check_alone();
  CHECK(joins("late", "m").code == Code::kNone);
}

TEST_CASE("names of groups count, and groups that are empty make room soon") {
  GroupDriver driver({.max_members_bytes = 1'000'000});
  Bystanders bystanders(driver);
  int refused = 0;
  for (int i = 0; i < 100; ++i) {
    const std::string id = std::string(30'000, 'G') + std::to_string(i);
    JoinGroup request = join(id);
    request.member_id_required = true;
    const auto joined = driver.call<JoinGroupResult>(request);
    if (joined.error == Code::kMemberIdRequired) {
      driver.call<LeaveGroupResult>(LeaveGroup{.group = id, .members = {{.member = joined.member}}});
      continue;
    }
    CHECK(joined.error == Code::kCoordinatorNotAvailable);
    ++refused;
  }
  CHECK(refused > 80);
  CHECK(driver.memory->members.bytes() < 1'000'000);
  driver.advance(1000);
  bystanders.check_alone();
  CHECK(driver.call<OffsetCommitResult>(commit("other", "t", 0, 1)).errors[0] == Code::kNone);
}

TEST_CASE("positions are bounded, and those that are there may always be committed") {
  GroupDriver driver({.max_positions_bytes = 300'000});
  Bystanders bystanders(driver);
  const std::string note(3'000, 'n');
  const auto commits = [&](int i) {
    OffsetCommit request = commit("g", "t", i, 5);
    request.topics[0].partitions[0].metadata = note;
    return driver.call<OffsetCommitResult>(request).errors[0];
  };
  int refused = 0;
  for (int i = 0; i < 200; ++i) refused += commits(i) == Code::kCoordinatorNotAvailable ? 1 : 0;
  CHECK(refused > 90);
  CHECK(refused < 120);
  CHECK(driver.warning.find("Commits of new positions are refused") == 0);
  for (int i = 0; i < 50; ++i) CHECK(commits(i) == Code::kNone);
  bystanders.check_untouched();
  CHECK(driver.call<DeleteGroupResult>(DeleteGroup{"g"}).error == Code::kNone);
  CHECK(commits(0) == Code::kNone);
}

TEST_CASE("large users of a coordinator have room") {
  GroupDriver driver;
  driver.set_topic("t", 100);
  std::vector<std::string> names;
  for (int i = 0; i < 50; ++i) names.push_back("a-topic-with-a-usual-name-" + std::to_string(i));
  for (int i = 0; i < 1'000; ++i) {
    const std::string member = "member-" + std::to_string(i);
    ConsumerHeartbeat request = beat("large", member, kJoiningEpoch);
    request.topics->assign(names.begin(), names.end());
    // One join costs as much as there are members: every fourth is enough to see the memory.
    if (i % 4 == 0) REQUIRE(driver.call<ConsumerHeartbeatResult>(request).error.code == Code::kNone);
  }
  CHECK(driver.memory->members.bytes() < GroupSettings{}.max_group_bytes / 4);
  for (int i = 0; i < 2'000; ++i) {
    const std::string group = "group-" + std::to_string(i);
    OffsetCommit request{.group = group, .topics = {{"t", {}, {}}}};
    for (int p = 0; p < 100; ++p) request.topics[0].partitions.push_back({p, 1, -1, {}});
    REQUIRE(driver.call<OffsetCommitResult>(request).errors[0] == Code::kNone);
  }
  CHECK(driver.memory->positions.bytes() < GroupSettings{}.max_positions_bytes / 20);
}

TEST_CASE("ids of any bytes are kept, stored and found again") {
  GroupDriver driver;
  Bystanders bystanders(driver);
  std::string all;
  for (int i = 0; i < 256; ++i) all += static_cast<char>(i);
  const std::vector<std::string> ids = {
      all, std::string(1, '\0'), "\xff\xfe", "\xed\xa0\x80", std::string(32'767, 'x'), "..", "a/b%00",
  };
  for (const std::string& id : ids) {
    driver.call<OffsetCommitResult>(commit(id, "t", 0, 7));
    CHECK(driver.call<ConsumerHeartbeatResult>(beat("of " + all, id, kJoiningEpoch)).error.code ==
          (id == std::string(1, '\0') ? Code::kInvalidRequest : Code::kNone));
  }
  protocol::Writer writer;
  for (const GroupRecord& record : driver.log()) {
    const auto encoded = encode_record(record, writer);
    REQUIRE(encoded);
    const auto decoded = decode_record(encoded->key, encoded->value);
    REQUIRE(decoded);
    CHECK(**decoded == record);
  }
  driver.restart();
  for (const std::string& id : ids) {
    CHECK(driver.call<OffsetFetchResult>(fetch(id, "t", 0)).topics.at(0).partitions.at(0).offset == 7);
    CHECK(driver.call<DeleteGroupResult>(DeleteGroup{id}).error == Code::kNone);
  }
}

TEST_CASE("commits of the past are refused, however many come") {
  GroupDriver driver;
  Bystanders bystanders(driver);
  const size_t records = driver.log().size();
  for (int i = 0; i < kMany; ++i) {
    OffsetCommit request = commit("bystander", "t", 0, i);
    request.member = "somebody";
    request.generation = 1;
    CHECK(driver.call<OffsetCommitResult>(request).errors.at(0) == Code::kUnknownMemberId);
    OffsetCommit stale = commit("modern", "t", 0, i);
    stale.member = "m";
    stale.generation = 0;
    stale.reports_missing_group = true;
    CHECK(driver.call<OffsetCommitResult>(stale).errors.at(0) == Code::kStaleMemberEpoch);
  }
  CHECK(driver.log().size() == records);
  bystanders.check_alone();
}

}  // namespace millrace::coordinator
