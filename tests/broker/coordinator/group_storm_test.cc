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
  GroupDriver driver({.max_group_join_bytes = 100'000, .max_join_bytes = 1'000'000});
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
  GroupDriver driver({.max_group_join_bytes = 100'000, .max_join_bytes = 500'000});
  Bystanders bystanders(driver);
  const std::string large(50'000, 'x');
  int refused = 0;
  for (int i = 0; i < kMany; ++i) {
    const std::string id = "greedy-" + std::to_string(i);
    JoinGroup request = join(id);
    if (i % 2 == 0) request.protocols = {{"range", bytes(large)}};
    if (i % 2 == 1) request.client_id = std::string_view(large).substr(0, 30'000);
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
    CHECK(driver.call<OffsetCommitResult>(request).topics.at(0).partitions.at(0).second ==
          Code::kUnknownMemberId);
    OffsetCommit stale = commit("modern", "t", 0, i);
    stale.member = "m";
    stale.generation = 0;
    stale.reports_missing_group = true;
    CHECK(driver.call<OffsetCommitResult>(stale).topics.at(0).partitions.at(0).second ==
          Code::kStaleMemberEpoch);
  }
  CHECK(driver.log().size() == records);
  bystanders.check_alone();
}

}  // namespace millrace::coordinator
